"""From the values of two arms on the same seeds to a difference, its uncertainty and the word for it."""

from __future__ import annotations

import numpy as np

from modicum.core.intervals import bootstrap_interval, sign_flip_p_value
from modicum.core.results import ArmResult, Difference, Verdict

SIGNIFICANT = 0.05


def paired_difference(arm: ArmResult, versus: ArmResult, *, higher_is_better: bool) -> Difference:
    """Compare two arms seed by seed; positive means that ``arm`` is better."""
    values = (1.0 if higher_is_better else -1.0) * (np.array(arm.values, float) - np.array(versus.values, float))
    low = high = p_value = None
    if len(values) > 1:
        same = float(values[0]) if np.ptp(values) == 0.0 else None
        low, high = bootstrap_interval(values, np.mean) if same is None else (same, same)
        p_value = sign_flip_p_value(values)
    mean = float(values.mean())
    return Difference(
        arm=arm.name,
        versus=versus.name,
        values=tuple(values.tolist()),
        mean=mean,
        low=low,
        high=high,
        p_value=p_value,
        verdict=_judge(mean, low, high, p_value),
    )


def _judge(mean: float, low: float | None, high: float | None, p_value: float | None) -> Verdict:
    # An interval from three seeds is easily too narrow, so an interval that excludes zero is not enough: the exact
    # p-value has to agree, and with fewer than six seeds it cannot.
    if low is None or high is None or p_value is None:
        return "too few seeds"
    if low <= 0.0 <= high:
        return "no difference shown"
    if p_value > SIGNIFICANT:
        return "too few seeds"
    return "better" if mean > 0 else "worse"
