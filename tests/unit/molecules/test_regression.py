from __future__ import annotations

from dataclasses import astuple, replace

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.stats import multivariate_normal
from sklearn.gaussian_process.kernels import RBF

from modicum.core.seeding import numpy_generator
from modicum.errors import ConfigError
from modicum.molecules.predict.gp import (
    TREND_DEVIATION,
    Numbers,
    covariance,
    leave_groups_out,
    negative_log_likelihood,
    prior_variance,
    trend,
)

NUMBERS = Numbers(signal=0.7, own=0.2, length=80.0, noise=0.05)


def problem(molecules: int = 5, temperatures: int = 3):
    """Random molecules as points of a plane, under a kernel of scikit-learn, and random labels."""
    generator = numpy_generator(0, "problem")
    points = generator.normal(size=(molecules, 2))
    group = np.repeat(np.arange(molecules), temperatures)
    temperature = generator.uniform(250, 450, len(group))
    basis = generator.normal(size=(len(group), 7))
    kernel = np.asarray(RBF(1.0)(points))[np.ix_(group, group)]
    same = (group[:, None] == group).astype(float)
    target = generator.normal(size=len(group))
    return group, target, kernel, same, temperature[:, None] - temperature, basis


def full(numbers: Numbers) -> np.ndarray:
    _, target, kernel, same, gap, basis = problem()
    return covariance(numbers, kernel, same, gap, (basis, basis)) + numbers.noise * np.eye(len(target))


def test_the_covariance_is_what_the_equation_says_entry_by_entry() -> None:
    group, _, kernel, same, gap, basis = problem()
    found = covariance(NUMBERS, kernel, same, gap, (basis, basis))
    for i, j in ((0, 0), (0, 1), (2, 11)):
        shared = kernel[i, j] + (0.2 if group[i] == group[j] else 0.0)
        expected = 0.7 * shared * np.exp(-0.5 * (gap[i, j] / 80) ** 2) + TREND_DEVIATION**2 * basis[i] @ basis[j]
        assert found[i, j] == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(np.diag(found), prior_variance(NUMBERS, np.diag(kernel), basis), rtol=1e-12)


def test_the_likelihood_is_that_of_scipys_normal_and_its_slope_is_the_difference_quotient() -> None:
    _, target, kernel, same, gap, basis = problem()
    rest = (target, kernel, same, gap, basis, np.full(len(target), 0.01))
    place = np.log(astuple(NUMBERS))
    value, slope = negative_log_likelihood(place, *rest)
    normal = multivariate_normal(np.zeros(len(target)), full(NUMBERS) + 0.01 * np.eye(len(target)))
    assert value == pytest.approx(-normal.logpdf(target), rel=1e-9)
    numeric = approx_fprime(place, lambda it: negative_log_likelihood(it, *rest)[0], 1e-6)
    np.testing.assert_allclose(slope, numeric, rtol=1e-4, atol=1e-4)


def test_leaving_groups_out_equals_refits_without_them() -> None:
    group, target, *_ = problem()
    whole = full(NUMBERS)
    mean, deviation = leave_groups_out(whole, target, group)
    for left in range(5):
        inside, outside = group == left, group != left
        gain = np.linalg.solve(whole[np.ix_(outside, outside)], whole[np.ix_(outside, inside)])
        np.testing.assert_allclose(mean[inside], gain.T @ target[outside], rtol=1e-7, atol=1e-9)
        variance = whole[np.ix_(inside, inside)] - whole[np.ix_(inside, outside)] @ gain
        np.testing.assert_allclose(deviation[inside], np.sqrt(np.diag(variance)), rtol=1e-7)


def test_the_trend_has_its_seven_terms() -> None:
    np.testing.assert_allclose(trend(np.array([4.0]), np.array([600.0])), [[1, 4, 0.25, 2, 4, 8, 0.5]])


@pytest.mark.parametrize("name", ["signal", "own", "length", "noise"])
def test_numbers_are_positive(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be > 0, got 0"):
        replace(NUMBERS, **{name: 0.0})
