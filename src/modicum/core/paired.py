"""Statistics of paired seeds: the difference, its interval, and how surprising it is."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from modicum.errors import ConfigError

LEVEL = 0.95
_RESAMPLES = 9999


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedDifference:
    """Mean paired difference with its uncertainty; positive means that the first arm is better."""

    values: tuple[float, ...]  # one difference a seed
    mean: float  # of ``values``
    low: float | None  # lower end of the 95 % interval; None for a single seed
    high: float | None  # upper end; None for a single seed
    p_value: float | None  # two-sided; None for a single seed

    @property
    def covers_zero(self) -> bool:
        """Whether the interval leaves open which arm is better; True where there is no interval."""
        return self.low is None or self.high is None or self.low <= 0.0 <= self.high


def paired_difference(ours: Sequence[float], theirs: Sequence[float], *, higher_is_better: bool) -> PairedDifference:
    """Compare two arms that ran on the same seeds."""
    # The interval is a bootstrap of the mean difference: bias-corrected and accelerated (BCa), and where BCa is
    # undefined (no jackknife spread) the percentile interval. The p-value flips the signs of the pairs: all 2^n of them
    # up to 13 seeds, 9,999 random ones beyond. With n seeds it cannot be smaller than 2^(1-n), so three seeds never
    # give less than 0.25. Both are drawn with a fixed seed: the same values give the same numbers.
    if len(ours) != len(theirs) or not ours:
        raise ConfigError(
            f"Paired arms need equally many results, at least one, but there are {len(ours)} and {len(theirs)}.",
            hint="Run both arms on the same seeds.",
        )
    sign = 1.0 if higher_is_better else -1.0
    values = sign * (np.asarray(ours, dtype=float) - np.asarray(theirs, dtype=float))
    mean = float(values.mean())
    listed = tuple(float(value) for value in values)
    if len(values) == 1:
        return PairedDifference(values=listed, mean=mean, low=None, high=None, p_value=None)
    low, high = _interval(values)
    return PairedDifference(values=listed, mean=mean, low=low, high=high, p_value=_p_value(values))


def _interval(values: np.ndarray) -> tuple[float, float]:
    if np.ptp(values) == 0.0:
        return float(values[0]), float(values[0])
    for kind in ("BCa", "percentile"):
        with warnings.catch_warnings():
            # scipy warns and gives NaN where BCa is undefined; the percentile interval then stands in.
            warnings.simplefilter("ignore", category=stats.DegenerateDataWarning)
            with np.errstate(divide="ignore", invalid="ignore"):
                interval = stats.bootstrap(
                    (values,),
                    np.mean,
                    confidence_level=LEVEL,
                    n_resamples=_RESAMPLES,
                    method=kind,
                    rng=np.random.default_rng(0),
                ).confidence_interval
        if np.isfinite([interval.low, interval.high]).all():
            break
    return float(interval.low), float(interval.high)


def _p_value(values: np.ndarray) -> float:
    result = stats.permutation_test(
        (values,),
        np.mean,
        permutation_type="samples",
        n_resamples=_RESAMPLES,
        alternative="two-sided",
        rng=np.random.default_rng(0),
    )
    return float(result.pvalue)
