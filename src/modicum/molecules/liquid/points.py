"""From samples of a liquid to its values at one temperature, and from those to the curves over temperature.

Energies are per mole of molecules. "Inter" is the potential energy between molecules: that of the liquid less that
of the same molecules, in the same shapes, alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from modicum.errors import SimulationError
from modicum.molecules.data.labels import StatePoint
from modicum.molecules.functional import FloatArray
from modicum.molecules.liquid.simulation import INTERVAL, Series
from modicum.molecules.liquid.trappe import GAS_CONSTANT

FEWEST_POINTS = 5  # official code (aimstools)
LEAST_R_SQUARED = 0.98  # official code (aimstools)


def vaporisation_enthalpy(inter: FloatArray, temperature: FloatArray) -> FloatArray:
    """Give the enthalpy of vaporisation, RT - E_inter."""
    return GAS_CONSTANT * temperature - inter


def volume_term(
    density: FloatArray, density_slope: FloatArray, *, molar_mass: float, pressure: float = 1.0
) -> FloatArray:
    """Give the part of the heat capacity that expands the liquid, P dV/dT = -M P (d rho/dT) / rho^2."""
    # M in g/mol is 1e-3 kg/mol and P in bar is 1e5 Pa, so the factor is 100 for densities in kg/m3 (and 0.1, that of
    # the official code, for g/mL).
    return -100.0 * molar_mass * pressure * density_slope / density**2


def heat_capacity(inter_slope: FloatArray, molecular: FloatArray, volume: FloatArray) -> FloatArray:
    """Give the heat capacity at constant pressure, dE_inter/dT + C_v of the lone molecule + P dV/dT."""
    return 1e3 * inter_slope + molecular + volume


@dataclass(frozen=True, slots=True)
class Quadratic:
    """A quadratic in temperature."""

    coefficients: FloatArray  # of (T - centre)^0, ^1, ^2, shape (3,)
    centre: float  # K; powers of T itself would be badly conditioned
    covariance: FloatArray  # of the coefficients, shape (3, 3)

    def value(self, temperature: FloatArray) -> FloatArray:
        """Evaluate it at temperatures of shape (n,)."""
        return self._powers(temperature) @ self.coefficients

    def error(self, temperature: FloatArray) -> FloatArray:
        """Give the standard error of `value`, shape (n,)."""
        return self._spread(self._powers(temperature))

    def slope(self, temperature: FloatArray) -> FloatArray:
        """Evaluate its derivative, shape (n,)."""
        return self._slopes(temperature) @ self.coefficients

    def slope_error(self, temperature: FloatArray) -> FloatArray:
        """Give the standard error of `slope`, shape (n,)."""
        return self._spread(self._slopes(temperature))

    def _spread(self, rows: FloatArray) -> FloatArray:
        return np.sqrt(np.einsum("ni,ij,nj->n", rows, self.covariance, rows))

    def _powers(self, temperature: FloatArray) -> FloatArray:
        return np.vander(temperature - self.centre, 3, increasing=True)

    def _slopes(self, temperature: FloatArray) -> FloatArray:
        shifted = temperature - self.centre
        return np.stack([np.zeros_like(shifted), np.ones_like(shifted), 2 * shifted], axis=1)


def fit_quadratic(
    temperature: FloatArray, value: FloatArray, error: FloatArray, *, name: str, rising: bool
) -> Quadratic:
    """Fit a quadratic in temperature by least squares, and refuse what is no smooth curve of a liquid."""
    if len(temperature) < FEWEST_POINTS:
        raise SimulationError(
            f"not enough points: {name} is known at {len(temperature)} temperatures, {FEWEST_POINTS} are needed.",
            hint="Ask for more temperatures at which the liquid is stable.",
        )
    centre = float(temperature.mean())
    solver = np.linalg.pinv(np.vander(temperature - centre, 3, increasing=True))
    fit = Quadratic(solver @ value, centre, (solver * error**2) @ solver.T)
    residual = value - fit.value(temperature)
    total = float(np.sum((value - value.mean()) ** 2))
    r_squared = 1.0 - float(residual @ residual) / total if total else 0.0
    ends = fit.slope(np.array([temperature.min(), temperature.max()]))  # a straight line between them
    monotone = bool(np.all(ends > 0 if rising else ends < 0))
    if r_squared <= LEAST_R_SQUARED or not monotone:
        raise SimulationError(
            f"not smooth: {name} must {'rise' if rising else 'fall'} with temperature along a quadratic with R2 above "
            f"{LEAST_R_SQUARED}; R2 is {r_squared:.3f} and the slope at the ends {ends[0]:.3g} and {ends[1]:.3g}.",
            hint="Simulate longer, or at temperatures where the liquid is stable.",
        )
    return fit


BLOCKS = 5  # official code (aimstools)
TOLERATED = 0.002  # of the mean: a drift below it is small against the force field's own error


def block_error(series: FloatArray, *, blocks: int = BLOCKS) -> float:
    """Give the standard error of the mean of a correlated series, from the means of its blocks."""
    length = len(series) // blocks
    means = series[: length * blocks].reshape(blocks, length).mean(axis=1)
    return float(means.std(ddof=1) / math.sqrt(blocks))


def drifts(series: FloatArray) -> bool:
    """Say whether the halves of a series differ: by more than 3 standard errors and by more than 0.2 %."""
    first, second = np.array_split(series, 2)
    gap = abs(float(first.mean() - second.mean()))
    error = math.hypot(block_error(first), block_error(second))
    return gap > max(3 * error, TOLERATED * abs(float(series.mean())))


def diffusion(centres: FloatArray, edges: FloatArray, *, interval: float) -> float:
    """Estimate the self-diffusion of molecules from the slope of their mean-square displacement, MSD = 6 D t."""
    # Displacements are followed in units of the edge and through the periodic walls, so that a box that breathes does
    # not count as motion; the drift of the whole box is taken out.
    steps = np.diff(centres / edges[:, None, None], axis=0)
    steps -= np.round(steps)
    paths = np.cumsum(steps - steps.mean(axis=1, keepdims=True), axis=0) * edges.mean()
    lags = np.unique(np.linspace(len(paths) // 4, 3 * len(paths) // 4, 8, dtype=int))  # past the rattling in a cage
    moved = [float(np.mean(np.sum((paths[lag:] - paths[:-lag]) ** 2, axis=2))) for lag in lags]
    slope = np.polyfit(lags * interval, moved, 1)[0]
    return float(slope) / 6 * 1e-2  # nm2/ps is 1e-2 cm2/s


FROZEN = 1e-8  # cm2/s, official code (aimstools)


@dataclass(frozen=True, slots=True)
class Point:
    """Means over a simulation at one temperature, with standard errors."""

    temperature: float  # K
    density: float  # kg/m3
    density_error: float  # kg/m3
    inter: float  # energy between molecules, kJ/mol
    inter_error: float  # kJ/mol


def converge(sample: Callable[[float], Series], *, picoseconds: float, extensions: int, temperature: float) -> Series:
    """Sample until the halves of the sample agree; a first half that differs counts as equilibration."""
    series = sample(picoseconds)
    for _ in range(extensions):
        if not _drifts(series):
            return series
        series = series.later_half().then(sample(len(series) // 2 * INTERVAL))
    if _drifts(series):
        raise SimulationError(
            f"not converged: at {temperature:g} K density or energy still drift after {extensions} extensions.",
            hint="Simulate longer (ns, extensions).",
        )
    return series


def _drifts(series: Series) -> bool:
    return drifts(series.density) or drifts(series.inter)


def judge(series: Series, *, temperature: float) -> Point:
    """Average a sample, unless it is one of a solid."""
    motion = diffusion(series.centres, series.edges, interval=INTERVAL)
    if motion < FROZEN:
        raise SimulationError(
            f"froze: at {temperature:g} K the molecules diffuse by {motion:.1e} cm2/s, less than {FROZEN:g}.",
            hint="Ask for higher temperatures.",
        )
    return Point(
        temperature,
        float(series.density.mean()),
        block_error(series.density),
        float(series.inter.mean()),
        block_error(series.inter),
    )


def check_enough(found: int, missing: Mapping[str, str], *, asked: int) -> None:
    """See that the temperatures that gave a liquid are enough for a label."""
    needed = FEWEST_POINTS if asked >= FEWEST_POINTS else 1
    if missing and found < needed:
        raise SimulationError(
            f"{next(iter(missing.values()))} {found} of {asked} temperatures gave a liquid, {needed} needed.",
            hint="Ask for other temperatures, or simulate longer.",
        )


def plain(point: Point) -> StatePoint:
    """Give the properties of one point as they are."""
    hvap = vaporisation_enthalpy(np.array(point.inter), np.array(point.temperature))
    return StatePoint(
        temperature=point.temperature,
        density=point.density,
        density_error=point.density_error,
        hvap=float(hvap),
        hvap_error=point.inter_error,
    )


def smooth(points: Sequence[Point], *, molar_mass: float, molecular: Sequence[float] | None) -> tuple[StatePoint, ...]:
    """Fit density and energy by quadratics in temperature, and derive the properties from those."""
    temperature, density, density_error, inter, inter_error = np.array(
        [[p.temperature, p.density, p.density_error, p.inter, p.inter_error] for p in points]
    ).T
    dense = fit_quadratic(temperature, density, density_error, name="density", rising=False)
    energy = fit_quadratic(temperature, inter, inter_error, name="the energy between molecules", rising=True)
    rho = dense.value(temperature)
    columns = {
        "temperature": temperature,
        "density": rho,
        "density_error": dense.error(temperature),
        "hvap": vaporisation_enthalpy(energy.value(temperature), temperature),
        "hvap_error": energy.error(temperature),
    }
    if molecular is not None:
        volume = volume_term(rho, dense.slope(temperature), molar_mass=molar_mass)
        alone = np.vander(temperature, len(molecular), increasing=True) @ np.array(molecular, dtype=float)
        columns["cp"] = heat_capacity(energy.slope(temperature), alone, volume)
        columns["cp_error"] = 1e3 * energy.slope_error(temperature)
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return tuple(StatePoint(**dict(zip(columns, row, strict=True))) for row in rows)
