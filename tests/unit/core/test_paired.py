from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from modicum.core.paired import paired_difference
from modicum.errors import ConfigError

NUMBERS = st.floats(-1e3, 1e3).map(lambda value: round(value, 6))


def test_mean_and_signs_follow_the_direction_of_the_metric() -> None:
    up = paired_difference([3.0, 5.0], [1.0, 2.0], higher_is_better=True)
    down = paired_difference([3.0, 5.0], [1.0, 2.0], higher_is_better=False)
    assert up.values == (2.0, 3.0)
    assert up.mean == 2.5
    assert down.values == (-2.0, -3.0)
    assert down.mean == -2.5


@pytest.mark.parametrize("count", [2, 3, 5, 8, 13])
def test_p_value_is_exact_for_one_sided_pairs(count: int) -> None:
    # All n signs agree: of the 2^n sign patterns only this one and its mirror are as extreme.
    result = paired_difference([1.0 + place for place in range(count)], [0.0] * count, higher_is_better=True)
    assert result.p_value == pytest.approx(2.0 ** (1 - count))


def test_p_value_agrees_with_the_exact_wilcoxon_logic_on_ranks() -> None:
    # On values +-1..+-n the sign-flip distribution of the sum is that of the signed-rank statistic.
    values = [1.0, -2.0, 3.0, 4.0, 5.0, -6.0, 7.0, 8.0]
    ours = paired_difference(values, [0.0] * 8, higher_is_better=True).p_value
    assert ours == pytest.approx(stats.wilcoxon(values, method="exact").pvalue)


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    # 20 pairs from a skewed distribution of mean 1: BCa should cover in 88 % to 98 % of 200 repetitions.
    draw = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        result = paired_difference(list(draw.exponential(1.0, 20)), [0.0] * 20, higher_is_better=True)
        assert result.low is not None
        assert result.high is not None
        hits += result.low <= 1.0 <= result.high
    assert 176 <= hits <= 196


def test_equal_arms_have_no_difference() -> None:
    result = paired_difference([0.5, 0.7], [0.5, 0.7], higher_is_better=True)
    assert (result.mean, result.low, result.high, result.p_value) == (0.0, 0.0, 0.0, 1.0)
    assert result.covers_zero


def test_one_seed_has_no_interval_and_shows_nothing() -> None:
    result = paired_difference([0.9], [0.1], higher_is_better=True)
    assert result.low is result.high is result.p_value is None
    assert result.covers_zero


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=8))
def test_swapping_the_arms_mirrors_everything(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = zip(*pairs, strict=True)
    there = paired_difference(ours, theirs, higher_is_better=True)
    back = paired_difference(theirs, ours, higher_is_better=True)
    assert back.mean == pytest.approx(-there.mean)
    assert back.p_value == there.p_value
    assert there.low is not None
    assert there.high is not None
    assert math.isfinite(there.low)
    assert there.low <= there.high
    assert paired_difference(ours, theirs, higher_is_better=True) == there


@pytest.mark.parametrize(("ours", "theirs"), [([], []), ([1.0], [1.0, 2.0])])
def test_unpaired_results_are_refused(ours: list[float], theirs: list[float]) -> None:
    with pytest.raises(ConfigError, match="Paired arms need equally many results"):
        paired_difference(ours, theirs, higher_is_better=True)
