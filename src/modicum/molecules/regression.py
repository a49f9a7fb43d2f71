"""Gaussian-process regression over molecules and temperatures: the equations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve, cholesky

from modicum.errors import ConfigError
from modicum.molecules.table import FloatArray

IntArray: TypeAlias = npt.NDArray[np.int64]

TREND_DEVIATION = 10.0  # ours: in units of the spread of the labels, so that the trend is as good as free


@dataclass(frozen=True, kw_only=True, slots=True)
class Numbers:
    """What marginal likelihood chooses; variances are in units of the variance of the labels."""

    signal: float  # variance that similar molecules share
    own: float  # variance that a molecule shares with no other, as a part of `signal`
    length: float  # of the squared exponential in T, K
    noise: float  # variance of a single row

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be > 0, got {getattr(self, name)}.", hint="Give a positive number.")


def trend(sizes: FloatArray, temperature: FloatArray) -> FloatArray:
    """Give the seven terms of the trend: 1, n, 1/n, T, T^2, nT, T/n."""
    # The specification asks for seven terms in n and T without naming them; these are ours. 1/n is the share of chain
    # ends, T/n its change with temperature.
    n, t = sizes, temperature / 300
    return np.column_stack([np.ones_like(t), n, 1 / n, t, t**2, n * t, t / n])


def covariance(
    numbers: Numbers, molecules: FloatArray, same: FloatArray, gap: FloatArray, basis: tuple[FloatArray, FloatArray]
) -> FloatArray:
    """Give the covariance of rows without the noise of the single row."""
    # b^2 h h' + signal (k + own [same molecule]) exp(-(T - T')^2 / 2 length^2), where b is `TREND_DEVIATION`: a linear
    # trend with a wide normal prior is one more kernel, and everything else stays the plain formulas.
    product = molecules + numbers.own * same
    product *= numbers.signal * np.exp(-0.5 * (gap / numbers.length) ** 2)
    product += TREND_DEVIATION**2 * (basis[0] @ basis[1].T)
    return product


def prior_variance(numbers: Numbers, molecules: FloatArray, basis: FloatArray) -> FloatArray:
    """Give the diagonal of `covariance` of rows with themselves."""
    return numbers.signal * (molecules + numbers.own) + TREND_DEVIATION**2 * (basis**2).sum(axis=1)


def negative_log_likelihood(
    logarithms: FloatArray,
    target: FloatArray,
    molecules: FloatArray,
    same: FloatArray,
    gap: FloatArray,
    basis: FloatArray,
    variance: FloatArray,
) -> tuple[float, FloatArray]:
    """Give minus the logarithm of the marginal likelihood, and its slope."""
    signal, own, length, noise = np.exp(logarithms)
    smooth = signal * np.exp(-0.5 * (gap / length) ** 2)
    shared, alone = smooth * molecules, smooth * (own * same)
    full = shared + alone + TREND_DEVIATION**2 * (basis @ basis.T)
    full[np.diag_indices_from(full)] += noise + variance
    lower = cholesky(full, lower=True, overwrite_a=True, check_finite=False)
    inverse = cho_solve((lower, True), np.eye(len(target)), check_finite=False)
    weights = inverse @ target
    value = 0.5 * target @ weights + np.log(np.diag(lower)).sum() + 0.5 * len(target) * np.log(2 * np.pi)
    inverse -= np.outer(weights, weights)
    both = shared + alone
    slopes = [
        np.vdot(inverse, both),
        np.vdot(inverse, alone),
        np.vdot(inverse, both * (gap / length) ** 2),
        noise * np.trace(inverse),
    ]
    return float(value), 0.5 * np.array(slopes)


def leave_groups_out(full: FloatArray, target: FloatArray, groups: IntArray) -> tuple[FloatArray, FloatArray]:
    """Predict each group of rows from all others, without a refit."""
    # With P the inverse of the covariance and I the rows of a group, the rows' labels given all others are normal with
    # mean y_I - (P_II)^-1 (P y)_I and covariance (P_II)^-1: the block of the joint precision is the precision of the
    # conditional. For groups of one row these are the formulas of Rasmussen and Williams 2006, eqs. 5.12.
    inverse = cho_solve(cho_factor(full, lower=True, check_finite=False), np.eye(len(target)), check_finite=False)
    weights = inverse @ target
    mean, deviation = np.empty_like(target), np.empty_like(target)
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        conditional = np.linalg.inv(inverse[np.ix_(rows, rows)])
        mean[rows] = target[rows] - conditional @ weights[rows]
        deviation[rows] = np.sqrt(np.diag(conditional))
    return mean, deviation
