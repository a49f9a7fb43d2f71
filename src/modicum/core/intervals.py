"""How sure a number is: bootstrap intervals, and the exact test of a mean by sign flips."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

LEVEL = 0.95
_RESAMPLES = 9999


def bootstrap_interval(
    data: npt.NDArray[Any], statistic: Callable[..., Any], *, seed: int = 0, batch: int | None = None
) -> tuple[float, float]:
    """Give the 95 % bootstrap interval of a statistic: BCa, or percentiles where that is undefined."""
    low = high = np.nan
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
            # scipy warns and gives NaN where BCa is undefined: no jackknife spread, or one value in every draw.
            warnings.simplefilter("ignore", category=stats.DegenerateDataWarning)
            low, high = stats.bootstrap(
                (data,),
                statistic,
                n_resamples=_RESAMPLES,
                batch=batch,
                confidence_level=LEVEL,
                method=method,
                rng=np.random.default_rng(seed),  # the same data give the same numbers
            ).confidence_interval
        if np.isfinite([low, high]).all():
            break
    return float(low), float(high)


def sign_flip_p_value(differences: npt.NDArray[np.float64]) -> float:
    """Test whether the mean of paired differences is zero, two-sided."""
    # All 2^n signs up to 13 pairs, 9,999 random ones beyond. With n pairs it cannot be smaller than 2^(1-n), so three
    # never give less than 0.25.
    result = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=_RESAMPLES, rng=np.random.default_rng(0)
    )
    return float(result.pvalue)
