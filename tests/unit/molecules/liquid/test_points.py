from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from modicum.errors import SimulationError
from modicum.molecules.liquid.points import Point, check_enough, converge, judge, plain, smooth
from modicum.molecules.liquid.simulation import INTERVAL, Series

R = 8.314462618e-3  # kJ/mol/K
GENERATOR = np.random.default_rng(0)


def series(density: np.ndarray, *, step: float = 0.05) -> Series:
    """Molecules that walk at random, with some density."""
    times = len(density)
    walks = np.cumsum(np.random.default_rng(5).normal(0, step, (times, 60, 3)), axis=0)
    noise = np.random.default_rng(6).normal(0, 0.1, times)
    return Series(density, -30 + noise, walks, np.full(times, 3.0))


def settling(slope: float):
    """A density that comes to rest after 200 samples, sampled piece by piece."""
    time = 0

    def sample(picoseconds: float) -> Series:
        nonlocal time
        now = time + np.arange(round(picoseconds / INTERVAL))
        time += len(now)
        return series(650 + slope * np.maximum(200 - now, 0) + np.random.default_rng(time).normal(0, 1, len(now)))

    return sample


def test_a_sample_that_does_not_drift_is_taken_as_it_is() -> None:
    assert len(converge(settling(0.0), picoseconds=40.0, extensions=0, temperature=300.0)) == 100


def test_a_sample_that_drifts_loses_its_first_half_until_it_does_not() -> None:
    kept = converge(settling(0.5), picoseconds=40.0, extensions=6, temperature=300.0)
    assert len(kept) == 100
    assert kept.density.mean() == pytest.approx(650, abs=1)
    assert np.all(np.diff(kept.edges) == 0)


def test_a_sample_that_drifts_for_ever_is_not_converged() -> None:
    with pytest.raises(SimulationError, match=r"not converged: at 300 K density or energy still drift after 2 ext"):
        converge(settling(0.5), picoseconds=40.0, extensions=2, temperature=300.0)


def test_a_liquid_gives_means_with_errors() -> None:
    density = 650 + np.random.default_rng(1).normal(0, 5, 500)
    point = judge(series(density), temperature=300.0)
    assert point.density == pytest.approx(density.mean())
    assert point.density_error == pytest.approx(5 / np.sqrt(500), rel=1)  # 4 degrees of freedom
    assert plain(point).hvap == pytest.approx(R * 300 - point.inter)


def test_molecules_that_stay_where_they_are_froze() -> None:
    solid = series(np.full(500, 650.0))
    rattling = Series(solid.density, solid.inter, GENERATOR.normal(0, 0.02, (500, 60, 3)), solid.edges)
    with pytest.raises(SimulationError, match=r"froze: at 150 K the molecules diffuse by .* cm2/s, less than 1e-08"):
        judge(rattling, temperature=150.0)


T = np.linspace(200.0, 450.0, 8)
POINTS = [Point(t, 900 - 0.8 * t, 0.5, -45 + 0.05 * t + 1e-5 * t**2, 0.1) for t in T]


def test_quadratics_over_temperature_give_all_three_properties() -> None:  # GPRMGK-G14
    rows = [asdict(state) for state in smooth(POINTS, molar_mass=86.178, molecular=[20.0, 0.3])]
    found = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    density = 900 - 0.8 * T
    np.testing.assert_allclose(found["density"], density, rtol=1e-10)
    np.testing.assert_allclose(found["hvap"], R * T + 45 - 0.05 * T - 1e-5 * T**2, rtol=1e-10)
    cp = 1e3 * (0.05 + 2e-5 * T) + 20 + 0.3 * T + 100 * 86.178 * 0.8 / density**2
    np.testing.assert_allclose(found["cp"], cp, rtol=1e-8)
    assert np.all((found["density_error"] > 0) & (found["density_error"] < 0.5))  # a fit knows more than one point
    assert np.all(found["cp_error"] > 0)


def test_without_the_lone_molecule_there_is_no_heat_capacity() -> None:
    assert all(state.cp is None for state in smooth(POINTS, molar_mass=86.178, molecular=None))


@pytest.mark.parametrize(("found", "asked", "needed"), [(0, 2, 1), (4, 16, 5)])
def test_too_few_temperatures_fail_with_the_first_reason(found: int, asked: int, needed: int) -> None:
    missing = {"200 K": "froze: at 200 K.", "500 K": "vaporized: at 500 K."}
    message = f"^froze: at 200 K. {found} of {asked} temperatures gave a liquid, {needed} needed"
    with pytest.raises(SimulationError, match=message):
        check_enough(found, missing, asked=asked)
    check_enough(needed, missing, asked=asked)


def test_a_density_that_does_not_fall_is_refused() -> None:
    odd = [Point(p.temperature, 500 + p.temperature, 0.5, p.inter, 0.1) for p in POINTS]
    with pytest.raises(SimulationError, match="not smooth: density must fall with temperature"):
        smooth(odd, molar_mass=86.178, molecular=None)
