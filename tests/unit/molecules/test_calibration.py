from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from modicum.core.seeding import numpy_generator
from modicum.errors import ConfigError
from modicum.molecules.predict.scores import LEVELS, calibrate, reliability


def normal_quantiles(count: int) -> np.ndarray:
    """A sample whose distribution is normal as exactly as it can be."""
    return norm.ppf((np.arange(count) + 0.5) / count)


def names(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))


def test_normal_residuals_are_covered_as_promised() -> None:
    curve = reliability(normal_quantiles(4000), np.ones(4000), names(4000))
    np.testing.assert_allclose(curve.coverage, LEVELS, atol=1e-3)
    assert curve.error < 1e-3


def test_too_narrow_intervals_cover_what_the_normal_law_says() -> None:
    curve = reliability(2 * normal_quantiles(4000), np.ones(4000), names(4000))
    np.testing.assert_allclose(curve.coverage, 2 * norm.cdf(norm.ppf((1 + LEVELS) / 2) / 2) - 1, atol=1e-3)
    assert curve.error == pytest.approx(np.abs(curve.coverage - LEVELS).mean())


def test_the_factor_is_the_one_that_was_missing() -> None:
    spread = numpy_generator(0, "spread").uniform(0.5, 2.0, 4000)
    residual = 1.7 * spread * normal_quantiles(4000)
    assert calibrate(residual, spread, names(4000)) == pytest.approx(1.7, rel=2e-3)
    assert reliability(residual, 1.7 * spread, names(4000)).error < 1e-3


def test_the_factor_is_the_most_likely_one() -> None:
    generator = numpy_generator(0, "calibration")
    residual, spread = generator.standard_t(4, 300), generator.uniform(0.5, 2.0, 300)
    factor = calibrate(residual, spread, names(300))
    likelihood = [
        np.sum(norm.logpdf(residual, scale=scale * spread)) for scale in (factor / 1.01, factor, factor * 1.01)
    ]
    assert likelihood[1] == max(likelihood)


def test_a_molecule_counts_once_however_many_rows_it_has() -> None:
    residual = np.append(np.zeros(98), [10.0, 10.0])
    groups = ("crowd",) * 98 + ("first", "second")
    assert reliability(residual, np.ones(100), groups).coverage == pytest.approx(np.full(19, 1 / 3))
    assert calibrate(residual, np.ones(100), groups) == pytest.approx(np.sqrt(200 / 3))


def test_bad_arguments_are_named() -> None:
    for check in (reliability, calibrate):
        with pytest.raises(ConfigError, match="as many std and molecules as residuals"):
            check(np.zeros(2), np.ones(2), ("a",))
        with pytest.raises(ConfigError, match="one at least"):
            check(np.zeros(0), np.ones(0), ())
        with pytest.raises(ConfigError, match=r"Each std must be > 0, got 0\.0"):
            check(np.zeros(2), np.array([1.0, 0.0]), ("a", "b"))
