from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.stats import multivariate_normal
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF

from modicum.core.seeding import numpy_generator
from modicum.errors import ConfigError
from modicum.molecules.predict.gp import TREND_DEVIATION, Numbers, RowKernel, leave_groups_out, trend

NUMBERS = Numbers(signal=0.7, own=0.2, length=80.0, noise=0.05)


def problem(molecules: int = 5, temperatures: int = 3):
    """Random molecules as points of a plane, under a kernel of scikit-learn, and random labels."""
    generator = numpy_generator(0, "problem")
    points = generator.normal(size=(molecules, 2))
    group = np.repeat(np.arange(molecules), temperatures)
    temperature = generator.uniform(250, 450, len(group))
    basis = generator.normal(size=(len(group), 7))
    kernel = RowKernel(NUMBERS, np.asarray(RBF(1.0)(points)), np.ones(molecules))
    return group, generator.normal(size=len(group)), kernel, np.column_stack([group.astype(float), temperature, basis])


def test_the_covariance_is_what_the_equation_says_entry_by_entry() -> None:
    group, _, kernel, rows = problem()
    found = kernel(rows, rows)  # of rows with others there is no noise
    for i, j in ((0, 0), (0, 1), (2, 11)):
        shared = kernel.molecules[group[i], group[j]] + (0.2 if group[i] == group[j] else 0.0)
        expected = 0.7 * shared * np.exp(-0.5 * ((rows[i, 1] - rows[j, 1]) / 80) ** 2)
        expected += TREND_DEVIATION**2 * rows[i, 2:] @ rows[j, 2:]
        assert found[i, j] == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(kernel(rows), found + 0.05 * np.eye(len(rows)), rtol=1e-12)
    np.testing.assert_allclose(np.diag(kernel(rows)), kernel.diag(rows), rtol=1e-12)


def test_the_likelihood_is_that_of_scipys_normal_and_its_slope_is_the_difference_quotient() -> None:
    _, target, kernel, rows = problem()
    regressor: Any = GaussianProcessRegressor
    process = regressor(kernel, alpha=0.01, optimizer=None).fit(rows, target)
    value, slope = process.log_marginal_likelihood(kernel.theta, eval_gradient=True)
    normal = multivariate_normal(np.zeros(len(target)), kernel(rows) + 0.01 * np.eye(len(target)))
    assert value == pytest.approx(normal.logpdf(target), rel=1e-9)
    numeric = approx_fprime(kernel.theta, process.log_marginal_likelihood, 1e-6)
    np.testing.assert_allclose(slope, numeric, rtol=1e-4, atol=1e-4)


def test_leaving_groups_out_equals_refits_without_them() -> None:
    group, target, kernel, rows = problem()
    whole = kernel(rows)
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
