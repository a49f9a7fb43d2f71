"""From samples of a liquid to its values at one temperature, and from those to the curves over temperature."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from modicum.errors import SimulationError
from modicum.molecules.labeller import StatePoint
from modicum.molecules.liquid.analysis import block_error, diffusion, drifts
from modicum.molecules.liquid.simulation import INTERVAL, Series
from modicum.molecules.thermodynamics import (
    FEWEST_POINTS,
    fit_quadratic,
    heat_capacity,
    vaporisation_enthalpy,
    volume_term,
)

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
