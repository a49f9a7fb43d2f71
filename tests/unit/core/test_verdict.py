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

from modicum.core.compare import paired_differences
from modicum.core.intervals import holm
from modicum.core.method import Metric
from modicum.core.report import ArmResult, Difference, load

NUMBERS = st.floats(-1e3, 1e3).map(lambda value: round(value, 6))


def arm(name: str, values: Sequence[float], items: Sequence[float] = ()) -> ArmResult:
    return ArmResult(
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
        items=tuple(items),
    )


def paired(
    ours: Sequence[float], theirs: Sequence[float], *, higher_is_better: bool = True, margin: float | None = None
) -> Difference:
    metric = Metric(name="accuracy", higher_is_better=higher_is_better, margin=margin)
    [found] = paired_differences([(arm("ours", ours), arm("theirs", theirs))], metric)
    return found


def test_mean_and_signs_follow_the_direction_of_the_metric() -> None:
    up = paired([3.0, 5.0], [1.0, 2.0])
    down = paired([3.0, 5.0], [1.0, 2.0], higher_is_better=False)
    assert (up.arm, up.versus, up.values, up.mean) == ("ours", "theirs", (2.0, 3.0), 2.5)
    assert (down.values, down.mean) == ((-2.0, -3.0), -2.5)


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_the_spread_of_common_test_items_is_in_interval_and_p_value(higher_is_better: bool) -> None:
    draw = np.random.default_rng(0)
    scores, zeros = draw.normal(0, 0.02, (8, 1)) + draw.normal(0.1, 0.4, 50) + draw.normal(0, 0.1, (8, 50)), [0.0] * 50
    metric = Metric(name="accuracy", higher_is_better=higher_is_better)
    values, items = scores.mean(1), scores.mean(0)
    pair = lambda items: (arm("ours", values.tolist(), items), arm("theirs", zeros[:8], zeros[: len(items)]))
    (crossed,) = paired_differences([pair(items.tolist())], metric)
    (alone,) = paired_differences([pair([])], metric)
    assert crossed.low is not None
    assert crossed.high is not None
    assert alone.low is not None
    assert alone.high is not None
    half = 1.96 * items.std(ddof=1) / math.sqrt(50)  # Student's quantile is larger
    for end, seeds_alone in ((crossed.low, alone.low), (crossed.high, alone.high)):
        assert abs(end - crossed.mean) == pytest.approx(math.hypot(seeds_alone - alone.mean, half), rel=0.03)
    assert crossed.mean == pytest.approx(scores.mean() if higher_is_better else -scores.mean())
    assert crossed.p_value is not None
    assert alone.p_value is not None
    assert crossed.p_value > alone.p_value


def test_the_p_value_of_common_items_is_the_level_of_the_interval_that_ends_at_zero() -> None:
    draw, ends = np.random.default_rng(2), []
    for _ in range(100):
        scores = draw.normal(0.06, 0.06, (6, 1)) + draw.normal(0, 0.4, 100) + draw.normal(0, 0.2, (6, 100))
        pair = (arm("ours", scores.mean(1).tolist(), scores.mean(0).tolist()), arm("theirs", [0.0] * 6, [0.0] * 100))
        (found,) = paired_differences([pair], Metric(name="accuracy"))
        ends.append((found.low or 0, found.high or 0, found.p_value or 0))
    excludes = [low > 0 or high < 0 for low, high, _ in ends]
    assert 5 < sum(excludes) < 95
    assert excludes == [p <= 0.05 for *_, p in ends]


def test_arms_that_never_differ_on_an_item_are_not_called_equivalent() -> None:
    pair = (arm("ours", [0.5] * 6, [1.0, 0.0] * 20), arm("theirs", [0.5] * 6, [1.0, 0.0] * 20))
    (found,) = paired_differences([pair], Metric(name="accuracy", margin=0.01))
    assert found.verdict == "no difference shown"


def test_copies_of_one_value_are_no_evidence_though_their_last_bits_differ() -> None:
    ours = [0.6 + place * 1e-16 for place in range(8)]
    found = paired(ours, [0.5 - place * 1e-16 for place in range(8)])
    assert (found.low, found.verdict) == (None, "too few seeds")


def test_without_spread_of_seeds_common_items_have_students_test() -> None:
    items = np.random.default_rng(1).normal(0.2, 1.0, 40)
    pair = (arm("ours", [items.mean()] * 8, items.tolist()), arm("theirs", [0.0] * 8, [0.0] * 40))
    (found,) = paired_differences([pair], Metric(name="accuracy"))
    expected = stats.ttest_1samp(items, 0)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert found.p_value == pytest.approx(max(expected.pvalue, 2**-7))


@pytest.mark.parametrize("count", [2, 3, 5])
def test_few_pairs_have_the_interval_and_p_value_of_students_test(count: int) -> None:
    ours = np.random.default_rng(count).normal(0.3, 1.0, count)
    expected = stats.ttest_rel(ours, np.zeros(count))
    result = paired(list(ours), [0.0] * count)
    assert result.p_value == pytest.approx(expected.pvalue)
    assert (result.low, result.high) == pytest.approx(tuple(expected.confidence_interval()))


@pytest.mark.parametrize("count", [6, 20, 50])
def test_more_pairs_have_the_wider_of_students_and_the_studentised_bootstrap(count: int) -> None:
    # An independent bootstrap-t, sample by sample: skewed values need more room on the side of their long tail.
    values = np.random.default_rng(count).exponential(size=count)
    draw, error = np.random.default_rng(1), values.std(ddof=1) / math.sqrt(count)
    found: list[float] = []
    for _ in range(20_000):
        drawn = draw.choice(values, count)
        if not np.ptp(drawn):
            continue
        found.append((drawn.mean() - values.mean()) / (drawn.std(ddof=1) / math.sqrt(count)))
    below, above = np.quantile(found, (0.025, 0.975))
    student = stats.t.interval(0.95, count - 1, values.mean(), error)
    result = paired(list(values), [0.0] * count)
    assert result.low == pytest.approx(min(student[0], values.mean() - above * error), abs=0.15 * error)
    assert result.high == pytest.approx(max(student[1], values.mean() - below * error), abs=0.5 * error)
    assert (result.p_value or 1.0) >= stats.ttest_1samp(values, 0.0).pvalue


@pytest.mark.parametrize("kind", ["normal", "exponential", "tied"])
def test_intervals_cover_the_truth_about_as_often_as_they_say(kind: str) -> None:
    draw = np.random.default_rng(0)
    ways = {"normal": draw.normal, "exponential": lambda size: draw.exponential(size=size) - 1}
    values = ways[kind](size=(400, 8)) if kind in ways else draw.choice([-1.0, 0.0, 0.0, 0.0, 1.0], (400, 8))
    found = [paired(list(each), [0.0] * 8) for each in values]
    assert (
        sum((each.low or 0) <= 0.0 <= (each.high or 0) for each in found) >= 0.93 * 400 - 8
    )  # two errors of the draws


def test_the_interval_excludes_zero_where_p_is_below_a_twentieth() -> None:
    values = np.random.default_rng(0).normal(0.5, 1.0, (200, 9))
    found = [paired(list(each), [0.0] * 9) for each in values]
    agree = [((each.low or 0) > 0 or (each.high or 0) < 0) == ((each.p_value or 0) <= 0.05) for each in found]
    assert np.mean(agree) > 0.98  # ties of the bootstrap can part them in the fourth digit


def test_p_values_are_adjusted_as_holm_says() -> None:
    # Holm 1979 by hand: 4 x .005, 3 x .01, 2 x .03 and 1 x .04, which may not fall below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_a_verdict_is_one_of_all_pairs_of_a_report() -> None:
    # p of .03 alone: better; with nine pairs that show nothing, it is not.
    values = np.random.default_rng(0).normal(size=8)
    ours = arm("ours", values - values.mean() + 1.0 * values.std(ddof=1))
    nothing = [arm(str(row), [0.1 * (-1) ** place * (row + 1) for place in range(8)]) for row in range(9)]
    base, metric = arm("base", [0.0] * 8), Metric(name="accuracy")
    [alone] = paired_differences([(ours, base)], metric)
    among = paired_differences([(each, base) for each in (ours, *nothing)], metric)[0]
    assert alone.verdict == "better"
    assert among.verdict == "no difference shown"
    assert among.p_value == alone.p_value == alone.adjusted
    assert among.adjusted == pytest.approx(10 * (among.p_value or 0))


def test_committed_evidence_is_what_the_code_gives() -> None:
    for report in load(Path(__file__).parents[3] / "evidence" / "rapq-demo.json"):
        arms = {arm.name: arm for arm in report.arms}
        pairs = [(arms[each.arm], arms[each.versus]) for each in report.differences]
        assert paired_differences(pairs, report.metric) == report.differences


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([0.1], "too few seeds"),
        ([0.1, 0.11, 0.12], "too few seeds"),
        ([0.1, -0.2, 0.3, 0.0, 0.1], "too few seeds"),
        ([0.1, -0.2, 0.3, 0.0, 0.1, -0.1], "no difference shown"),
        ([0.1, 0.2, 0.3, 0.2, 0.1, 0.2], "better"),
        ([-0.1, -0.2, -0.3, -0.2, -0.1, -0.2], "worse"),
    ],
)
def test_a_verdict_needs_the_interval_and_enough_seeds(values: list[float], verdict: str) -> None:
    assert paired(values, [0.0] * len(values)).verdict == verdict


def test_arms_within_the_margin_are_equivalent() -> None:
    values = [0.001, -0.002, 0.003, 0.0, 0.001, -0.001]
    assert paired(values, [0.0] * 6, margin=0.01).verdict == "equivalent"
    assert paired(values, [0.0] * 6, margin=0.002).verdict == "no difference shown"
    assert paired(values[:5], [0.0] * 5, margin=0.01).verdict == "too few seeds"
    assert paired([each + 0.1 for each in values], [0.0] * 6, margin=0.01).verdict == "better"


def test_equal_arms_have_no_difference() -> None:
    result = paired([0.5, 0.7] * 3, [0.5, 0.7] * 3)
    assert (result.mean, result.low, result.high, result.p_value) == (0.0, 0.0, 0.0, 1.0)
    assert result.verdict == "no difference shown"


def test_equal_differences_are_as_sure_as_their_signs() -> None:
    # In floats .8 - .7 and .7 - .6 differ in their last bits.
    result = paired([0.7, 0.8, 0.7, 0.8, 0.7, 0.8], [0.6, 0.7, 0.6, 0.7, 0.6, 0.7])
    assert result.p_value == 2.0**-5


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
    assert (there.low is None) == (there.high is None) == (len({*ours}) == len({*theirs}) == 1)
    if there.low is not None and there.high is not None:
        assert math.isfinite(there.low)
        assert there.low <= there.high
    assert paired(ours, theirs) == there
