from __future__ import annotations

import numpy as np
import pytest

from modicum.molecules.liquid.points import block_error, diffusion, drifts


def correlated(length: int, *, seed: int, memory: float = 0.9) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(length)
    series = np.empty(length)
    series[0] = noise[0] / np.sqrt(1 - memory**2)
    for place in range(1, length):
        series[place] = memory * series[place - 1] + noise[place]
    return series


def test_the_block_error_is_that_of_a_correlated_series() -> None:
    # The standard error of the mean of this series is 1 / (1 - memory) / sqrt(n) = 10 / sqrt(2000); that of
    # independent numbers with its variance would be 2.3 / sqrt(2000).
    errors = [block_error(correlated(2000, seed=seed)) for seed in range(200)]
    rms = np.sqrt(np.mean(np.square(errors)))
    assert rms == pytest.approx(10 / np.sqrt(2000), rel=0.15)  # 800 degrees of freedom: 2.5 %, and finite blocks


def test_equilibrium_does_not_drift_and_a_ramp_does() -> None:
    still = [drifts(650 + correlated(500, seed=seed)) for seed in range(100)]
    assert sum(still) <= 5  # 3 standard errors of 4 degrees of freedom each
    assert all(drifts(650 + correlated(500, seed=seed) + np.linspace(0, 60, 500)) for seed in range(20))


def test_a_drift_too_small_to_matter_is_let_pass() -> None:
    assert not drifts(650 + np.linspace(0, 2, 500))  # halves differ by 1 of 650
    assert drifts(650 + np.linspace(0, 4, 500))


def walk(step: float, *, edge: float, times: int = 400, molecules: int = 200) -> np.ndarray:
    generator = np.random.default_rng(1)
    return np.cumsum(generator.normal(0, step, (times, molecules, 3)), axis=0) + generator.uniform(0, edge, 3)


@pytest.mark.parametrize("wrap", [False, True])
def test_a_random_walk_diffuses_as_einstein_says(wrap: bool) -> None:
    step, interval, edge = 0.05, 0.4, 3.0
    centres, edges = walk(step, edge=edge), np.full(400, edge)
    centres = centres + np.linspace(0, 20, 400)[:, None, None]  # the box as a whole drifts
    exact = 3 * step**2 / (6 * interval) * 1e-2  # MSD of one step is 3 step^2; nm2/ps in cm2/s
    found = diffusion(centres % edge if wrap else centres, edges, interval=interval)
    assert found == pytest.approx(exact, rel=0.1)  # 200 walkers with overlapping lags: about 3 %


def test_a_solid_that_rattles_and_breathes_does_not_diffuse() -> None:
    generator = np.random.default_rng(2)
    sites = generator.uniform(0, 1, (200, 3))
    edges = 3.0 + 0.03 * generator.standard_normal(1000)
    centres = sites * edges[:, None, None] + generator.normal(0, 0.03, (1000, 200, 3))
    assert abs(diffusion(centres, edges, interval=0.4)) < 1e-8  # cm2/s, the official threshold
