"""How sure a number is: the mean of a few paired differences, any statistic of many rows, several tests at once."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

LEVEL = 0.95
FEWEST = 6  # paired differences for a verdict
_TAIL = (1 - LEVEL) / 2
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


def alike(values: npt.ArrayLike) -> bool:
    """Tell whether values are copies of one, but for the last bits."""
    return bool(np.ptp(values) <= 1e-12 * np.abs(values).max())


def mean_interval(values: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Give the 95 % interval of a mean of two or more values, and the two-sided p-value of a mean of zero."""
    # The wider of Student's t and, from six values on, the studentised bootstrap (Efron and Tibshirani 1993, 12.5),
    # and the larger p-value: of what benchmarks/intervals.py compares, the one that covers enough of skewed values too.
    count, mean = len(values), float(values.mean())
    if alike(values):
        # No spread to go by: as likely as that all signs agree by chance.
        return mean, mean, 2.0 ** (1 - count) if mean else 1.0
    error, drawn = float(values.std(ddof=1)) / math.sqrt(count), _studentised(values)
    below, above = _quantiles(drawn, count, _TAIL)
    p_value = 2 * stats.t.sf(abs(mean) / error, count - 1)
    if len(drawn):
        beyond = min(np.sum(drawn >= mean / error), np.sum(drawn <= mean / error))
        p_value = max(p_value, min(1.0, 2 * (1 + beyond) / (1 + len(drawn))))
    return mean - above * error, mean - below * error, float(p_value)


def _studentised(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Draw t of bootstrap samples; none of few values."""
    count = len(values)
    if count < FEWEST:
        return np.empty(0)
    shares, centred = _drawn_shares(count), values - values.mean()
    means = shares @ centred
    errors = np.sqrt((shares @ centred**2 - means**2).clip(min=0) / (count - 1))
    some = errors > 1e-6 * values.std(ddof=1) / math.sqrt(count)  # one value again and again says nothing of the spread
    return means[some] / errors[some]


def _quantiles(drawn: npt.NDArray[np.float64], count: int, tail: float) -> tuple[float, float]:
    """Give the wider of the quantiles of Student's t and of the drawn ones, on both sides."""
    above = float(stats.t.ppf(1 - tail, count - 1))
    if not len(drawn):
        return -above, above
    return min(-above, float(np.quantile(drawn, tail))), max(above, float(np.quantile(drawn, 1 - tail)))


def crossed_interval(values: npt.NDArray[np.float64], items: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Give interval and p-value of a mean over seeds (values) and over the test items that all seeds share."""
    # Seeds and items are crossed random effects, and each item is a mean over the seeds. The variance of the mean is
    # that over seeds plus that over items: what is of one seed and one item alone is in both, so that the sum is a
    # little too large. So are the squares of the two half-widths, and the p-value is the level of the interval that
    # ends at zero.
    low, high, p_value = mean_interval(values)
    mean, count = float(values.mean()), len(values)
    of_seeds, of_items = (float(each.std(ddof=1)) / math.sqrt(len(each)) for each in (values, items))
    if of_items == 0:
        return low, high, p_value
    drawn = np.empty(0) if alike(values) else _studentised(values)

    def halves(tail: float) -> list[float]:  # above the mean, and below it
        each = float(stats.t.ppf(1 - tail, len(items) - 1)) * of_items
        return [math.hypot(side * of_seeds, each) for side in _quantiles(drawn, count, tail)]

    def beyond_zero(tail: float) -> float:
        return abs(mean) - halves(tail)[mean > 0]

    least = 1e-12
    if beyond_zero(0.5) <= 0:
        p_value = 1.0
    elif beyond_zero(least) < 0:
        p_value = max(p_value, 2 * optimize.brentq(beyond_zero, least, 0.5))
    upper, lower = halves(_TAIL)
    return mean - lower, mean + upper, p_value


@cache
def _drawn_shares(count: int) -> npt.NDArray[np.float64]:
    """Give the share that each of some values has in each bootstrap sample; the same values give the same numbers."""
    return np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), _RESAMPLES) / count


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number, so that one of true null hypotheses is at most 0.05 in 5 % of families."""
    # Holm 1979: the smallest times their number, the next times one less, and none below the one before it.
    ordered = np.argsort(p_values)
    steps = np.asarray(p_values, float)[ordered] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[ordered] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted.tolist()
