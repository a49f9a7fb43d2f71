from __future__ import annotations

import numpy as np
import pytest
from numpy.polynomial import Polynomial

from modicum.errors import SimulationError
from modicum.molecules.liquid.points import (
    GAS_CONSTANT,
    fit_quadratic,
    heat_capacity,
    vaporisation_enthalpy,
    volume_term,
)

T = np.linspace(250.0, 450.0, 16)
NONE = np.zeros_like(T)


def fit(temperature: np.ndarray, value: np.ndarray, *, rising: bool = True):
    return fit_quadratic(temperature, value, np.zeros_like(value), name="energy", rising=rising)


def test_a_quadratic_energy_gives_the_closed_forms() -> None:  # GPRMGK-G14
    a, b, c = -50.0, 0.06, 2e-5
    energy = fit(T, a + b * T + c * T**2)
    hvap = vaporisation_enthalpy(energy.value(T), T)
    np.testing.assert_allclose(hvap, GAS_CONSTANT * T - a - b * T - c * T**2, rtol=1e-12)
    # With rho = r0 - r1 T and C_v of the lone molecule linear in T, C_p is b + 2 c T + C_v + 100 M P r1 / rho^2.
    rho, molar_mass, pressure = 900.0 - 0.9 * T, 86.178, 3.0
    dense = fit(T, rho, rising=False)
    volume = volume_term(dense.value(T), dense.slope(T), molar_mass=molar_mass, pressure=pressure)
    cp = heat_capacity(energy.slope(T), 30 + 0.4 * T, volume)
    expected = 1e3 * (b + 2 * c * T) + 30 + 0.4 * T + 100 * molar_mass * pressure * 0.9 / rho**2
    np.testing.assert_allclose(cp, expected, rtol=1e-10)


def test_the_volume_term_is_the_derivative_of_pressure_times_molar_volume() -> None:
    molar_mass, pressure, step = 86.178e-3, 1e5, 1e-3  # kg/mol, Pa
    density = Polynomial([950.0, -0.9, -1e-4])
    numeric = pressure * molar_mass * (1 / density(T + step) - 1 / density(T - step)) / (2 * step)
    ours = volume_term(density(T), density.deriv()(T), molar_mass=86.178, pressure=1.0)
    np.testing.assert_allclose(ours, numeric, rtol=1e-7)
    # The official code has g/mL and bar, and the factor 0.1.
    official = -86.178 * 1.0 * (density.deriv()(T) / 1000) / (density(T) / 1000) ** 2 * 0.1
    np.testing.assert_allclose(ours, official, rtol=1e-12)


def test_errors_of_the_fit_are_those_of_repeated_noise() -> None:
    generator, noise = np.random.default_rng(0), np.linspace(0.5, 2.0, len(T))
    truth = 800.0 - 0.8 * T - 2e-4 * T**2
    fits = [
        fit_quadratic(T, truth + noise * generator.standard_normal(len(T)), noise, name="density", rising=False)
        for _ in range(4000)
    ]
    # 4000 draws know a standard deviation to 1.1 %; 5 % is more than four times that.
    spread = np.std([one.value(T) for one in fits], axis=0)
    np.testing.assert_allclose(fits[0].error(T), spread, rtol=0.05)
    slopes = np.std([one.slope(T) for one in fits], axis=0)
    np.testing.assert_allclose(fits[0].slope_error(T), slopes, rtol=0.05)


def test_too_few_points_are_refused() -> None:
    with pytest.raises(SimulationError, match=r"not enough points: energy is known at 4 temperatures, 5 are needed"):
        fit(T[:4], T[:4])
    fit(T[:5], T[:5])


def test_scattered_points_are_refused() -> None:
    noise = np.where(np.arange(len(T)) % 2, 20.0, -20.0)
    with pytest.raises(SimulationError, match=r"not smooth: energy must rise .* R2 is 0\.9"):
        fit(T, T + noise)
    with pytest.raises(SimulationError, match=r"R2 is 0\.000"):
        fit(T, np.full_like(T, 3.0))


@pytest.mark.parametrize(("value", "rising"), [(-T, True), (T, False), ((T - 400.0) ** 2, False)])
def test_a_curve_that_turns_is_refused(value: np.ndarray, rising: bool) -> None:
    with pytest.raises(SimulationError, match=f"must {'rise' if rising else 'fall'} with temperature"):
        fit(T, value, rising=rising)
