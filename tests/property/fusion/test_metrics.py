"""Scores against counting sample by sample, on values that lie on borders."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modicum.fusion.metrics import concordance, pearson, sentiment_scores

# Quarters hit every border and every tie; the scale is left on both sides.
_VALUES = st.integers(-18, 18).map(lambda quarters: quarters / 4)
_PAIRS = st.lists(st.tuples(_VALUES, _VALUES), min_size=1, max_size=25)
Pairs = Sequence[tuple[float, float]]


def share(hits: Sequence[bool]) -> float:
    return sum(hits) / len(hits)


def nearest(value: float, end: int) -> int:
    """Give the nearest integer, ties to even, by looking at all that there are."""
    inside = min(max(value, -end), end)
    return min(range(-end, end + 1), key=lambda candidate: (abs(candidate - inside), candidate % 2))


def weighted_f1(pairs: Sequence[tuple[bool, bool]]) -> float:
    total = 0.0
    for label in (False, True):
        both = sum(truth == guess == label for truth, guess in pairs)
        either = sum(truth == label for truth, _ in pairs) + sum(guess == label for _, guess in pairs)
        total += (2 * both / either if either else 0.0) * share([truth == label for truth, _ in pairs])
    return total


@settings(deadline=None, max_examples=50)
@given(_PAIRS)
def test_sentiment_scores_are_what_counting_gives(pairs: Pairs) -> None:  # CUBEMLP-C8
    scores = sentiment_scores(*zip(*pairs, strict=True))
    for end in (3, 2, 1):
        expected = share([nearest(truth, end) == nearest(guess, end) for truth, guess in pairs])
        assert scores[f"acc{2 * end + 1}"] == pytest.approx(expected)
    has0 = [(truth >= 0, guess >= 0) for truth, guess in pairs]
    assert scores["acc2_has0"] == pytest.approx(share([truth == guess for truth, guess in has0]))
    assert scores["f1_has0"] == pytest.approx(weighted_f1(has0))
    non0 = [(truth > 0, guess > 0) for truth, guess in pairs if truth != 0]
    assert ("acc2_non0" in scores) == bool(non0)
    if non0:
        assert scores["acc2_non0"] == pytest.approx(share([truth == guess for truth, guess in non0]))
        assert scores["f1_non0"] == pytest.approx(weighted_f1(non0))
    assert scores["mae"] == pytest.approx(sum(abs(truth - guess) for truth, guess in pairs) / len(pairs))


@settings(deadline=None, max_examples=50)
@given(_PAIRS)
def test_concordance_is_symmetric_and_never_above_the_correlation(pairs: Pairs) -> None:  # CUBEMLP-C9
    truth, guess = zip(*pairs, strict=True)
    assert concordance(truth, guess) == pytest.approx(concordance(guess, truth))
    assert abs(concordance(truth, guess)) <= abs(pearson(truth, guess)) + 1e-12
    assert abs(concordance(truth, guess, variant="CES")) <= abs(concordance(truth, guess)) + 1e-12
