"""Differences of two arms, their intervals, p-values and verdicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from modicum.core.compare import paired_difference
from modicum.core.report import ArmResult, Difference, load

NUMBERS = st.floats(-1e3, 1e3).map(lambda value: round(value, 6))


def paired(ours: Sequence[float], theirs: Sequence[float], *, higher_is_better: bool = True) -> Difference:
    one, other = (
        ArmResult(
            name=name,
            role="method",
            summary="",
            values=tuple(values),
            mean=0.0,
            std=None,
            seconds=0.0,
            memory=0.0,
            secondary={},
            costs={},
        )
        for name, values in (("ours", ours), ("theirs", theirs))
    )
    return paired_difference(one, other, higher_is_better=higher_is_better)


def test_mean_and_signs_follow_the_direction_of_the_metric() -> None:
    up = paired([3.0, 5.0], [1.0, 2.0])
    down = paired([3.0, 5.0], [1.0, 2.0], higher_is_better=False)
    assert (up.arm, up.versus, up.values, up.mean) == ("ours", "theirs", (2.0, 3.0), 2.5)
    assert (down.values, down.mean) == ((-2.0, -3.0), -2.5)


@pytest.mark.parametrize("count", [2, 3, 5, 8, 13])
def test_p_value_is_exact_for_one_sided_pairs(count: int) -> None:
    # All n signs agree: of the 2^n sign patterns only this one and its mirror are as extreme.
    result = paired([1.0 + place for place in range(count)], [0.0] * count)
    assert result.p_value == pytest.approx(2.0 ** (1 - count))


def test_p_value_agrees_with_the_exact_wilcoxon_logic_on_ranks() -> None:
    # On values +-1..+-n the sign-flip distribution of the sum is that of the signed-rank statistic.
    values = [1.0, -2.0, 3.0, 4.0, 5.0, -6.0, 7.0, 8.0]
    assert paired(values, [0.0] * 8).p_value == pytest.approx(stats.wilcoxon(values, method="exact").pvalue)


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    # 20 pairs from a skewed distribution of mean 1: BCa should cover in 85 % to 100 % of 60 repetitions.
    draw = np.random.default_rng(0)
    found = [paired(list(draw.exponential(1.0, 20)), [0.0] * 20) for _ in range(60)]
    assert 51 <= sum((each.low or math.inf) <= 1.0 <= (each.high or -math.inf) for each in found) <= 60


def test_committed_evidence_is_what_the_code_gives() -> None:
    for report in load(Path(__file__).parents[3] / "evidence" / "rapq-demo.json"):
        arms = {arm.name: arm for arm in report.arms}
        for each in report.differences:
            found = paired_difference(
                arms[each.arm], arms[each.versus], higher_is_better=report.metric.higher_is_better
            )
            assert found == each


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([0.1], "too few seeds"),
        ([0.1, 0.2, 0.3], "too few seeds"),
        ([0.1, -0.2, 0.3, 0.0, 0.1, -0.1], "no difference shown"),
        ([0.1, 0.2, 0.3, 0.2, 0.1, 0.2], "better"),
        ([-0.1, -0.2, -0.3, -0.2, -0.1, -0.2], "worse"),
    ],
)
def test_a_verdict_needs_the_interval_and_enough_seeds(values: list[float], verdict: str) -> None:
    assert paired(values, [0.0] * len(values)).verdict == verdict


def test_equal_arms_have_no_difference() -> None:
    result = paired([0.5, 0.7], [0.5, 0.7])
    assert (result.mean, result.low, result.high, result.p_value) == (0.0, 0.0, 0.0, 1.0)
    assert result.verdict == "no difference shown"


def test_one_seed_has_no_interval() -> None:
    result = paired([0.9], [0.1])
    assert result.low is result.high is result.p_value is None


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=8))
def test_swapping_the_arms_mirrors_everything(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = zip(*pairs, strict=True)
    there, back = paired(ours, theirs), paired(theirs, ours)
    assert back.mean == pytest.approx(-there.mean)
    assert back.p_value == there.p_value
    assert there.low is not None
    assert there.high is not None
    assert math.isfinite(there.low)
    assert there.low <= there.high
    assert paired(ours, theirs) == there
