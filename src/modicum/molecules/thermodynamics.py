"""From energies and densities of a simulated liquid to what is measured: pure equations.

Energies are per mole of molecules. "Inter" is the potential energy between molecules: that of the liquid less that
of the same molecules, in the same shapes, alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from modicum.errors import SimulationError

FloatArray: TypeAlias = npt.NDArray[np.float64]

GAS_CONSTANT = 8.314462618e-3  # kJ/mol/K, CODATA 2018
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
