"""From numbers to words: what may be said of a difference, and what may not."""

from __future__ import annotations

from collections.abc import Sequence

from modicum.core.method import Metric
from modicum.core.paired import PairedDifference
from modicum.core.report.model import Difference, Verdict
from modicum.core.report.words import measure_difference

SIGNIFICANT = 0.05
_AGAINST_CONTROLS: dict[Verdict, str] = {
    "better": "Better than control:",
    "worse": "Worse than control:",
    "no difference shown": "No difference shown to control:",
    "too few seeds": "Too few seeds to tell it from control:",
}


def judge(difference: PairedDifference) -> Verdict:
    """Judge a paired difference."""
    # An interval from three seeds is easily too narrow, so an interval that excludes zero is not enough: the exact
    # p-value has to agree, and with fewer than six seeds it cannot.
    if difference.p_value is None:
        return "too few seeds"
    if difference.covers_zero:
        return "no difference shown"
    if difference.p_value > SIGNIFICANT:
        return "too few seeds"
    return "better" if difference.mean > 0 else "worse"


def sentence(arm: str, differences: Sequence[Difference], *, metric: Metric, baseline: str) -> str:
    """Say in words how a method arm did against the baseline and against each control."""
    # The verdict against the baseline itself is left to the reader of `Difference.verdict`, since every renderer puts
    # it before the sentence.
    own = {item.versus: item for item in differences if item.arm == arm}
    words = f"{measure_difference(own.pop(baseline), metric)}."
    for verdict, text in _AGAINST_CONTROLS.items():
        names = [name for name, item in own.items() if item.verdict == verdict]
        if names:
            words += f" {text} {', '.join(names)}."
    return words
