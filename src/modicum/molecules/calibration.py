"""Whether intervals hold what they promise, and one factor that corrects their width."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from modicum.errors import ConfigError
from modicum.molecules.table import FloatArray

LEVELS = np.linspace(0.05, 0.95, 19)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reliability:
    """A reliability curve."""

    levels: FloatArray  # nominal probabilities of central intervals, shape (k,)
    coverage: FloatArray  # share of labels that lie in them, shape (k,)
    error: float  # mean absolute difference of the two; 0 is perfect, 0.5 the worst


def reliability(residual: FloatArray, deviation: FloatArray, groups: tuple[str, ...]) -> Reliability:
    """Compare the coverage of central normal intervals with their nominal levels."""
    standardised, weights = _standardise(residual, deviation, groups)
    bounds = norm.ppf((1 + LEVELS) / 2)
    coverage = np.array([weights[standardised <= bound].sum() for bound in bounds])
    return Reliability(levels=LEVELS.copy(), coverage=coverage, error=float(np.abs(coverage - LEVELS).mean()))


def calibrate(residual: FloatArray, deviation: FloatArray, groups: tuple[str, ...]) -> float:
    """Learn the factor that makes intervals as wide as they should be."""
    # The residuals must be of molecules that were left out of training, all rows of one together: a model that has seen
    # a molecule at one temperature knows it at the next. The factor is the root of the mean square of residual /
    # deviation, the most likely one if the residuals are normal. Molecules that active learning has chosen are far from
    # each other, so those left out say more of the deviation far from the labels than of that near by.
    standardised, weights = _standardise(residual, deviation, groups)
    return float(np.sqrt(weights @ standardised**2))


def _standardise(residual: FloatArray, deviation: FloatArray, groups: tuple[str, ...]) -> tuple[FloatArray, FloatArray]:
    if residual.shape != deviation.shape or residual.shape != (len(groups),) or not groups:
        raise ConfigError(
            f"There must be as many std and molecules as residuals, one at least, got {residual.shape}, "
            f"{deviation.shape} and {len(groups)}.",
            hint="Give one of each a row.",
        )
    if not (deviation > 0).all():
        raise ConfigError(f"Each std must be > 0, got {deviation.min()}.", hint="Leave rows without noise out.")
    _, group, count = np.unique(np.array(groups), return_inverse=True, return_counts=True)
    return np.abs(residual) / deviation, 1 / (len(count) * count[group])
