"""Intervals of scores: against the scorers draw by draw, against the formulas of large samples, and where none is."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest
from tests.unit.sarcasm.votes import read_votes

from modicum.core import catalogue
from modicum.errors import ConfigError, DataError
from modicum.sarcasm.data.examples import Language
from modicum.sarcasm.data.isarcasm import Task
from modicum.sarcasm.evaluate.scores import (
    MAIN_SCORES,
    difference_interval,
    resampled_score,
    score_a,
    score_b,
    score_c,
    score_interval,
)

SCORERS: dict[Task, Any] = {"A": score_a, "B": score_b, "C": score_c}
TASKS = list(SCORERS)
Labels = np.ndarray


def drawn(task: Task, count: int = 1400, *, seed: int = 0) -> tuple[Labels, Labels]:
    generator = np.random.default_rng(seed)
    shape = (count, 6) if task == "B" else (count,)
    gold = generator.random(shape) < 0.15
    return gold.astype(int), (generator.random(shape) < np.where(gold, 0.5, 0.2)).astype(int)


def main_score(task: Task, gold: Labels, predicted: Labels) -> float:
    return getattr(SCORERS[task](gold, predicted), MAIN_SCORES[task])


@pytest.mark.parametrize("task", TASKS)
def test_each_draw_has_the_score_of_the_scorer(task: Task) -> None:
    gold, predicted = drawn(task, 40)
    rows = np.random.default_rng(1).integers(0, 40, (5, 8, 30))
    scored = resampled_score(task, gold, predicted)(rows)
    assert scored.shape == (5, 8)
    wanted = [[main_score(task, gold[it], predicted[it]) for it in some] for some in rows]
    np.testing.assert_allclose(scored, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("task", TASKS)
def test_the_score_is_that_of_all_texts_and_lies_within(task: Task) -> None:
    gold, predicted = drawn(task)
    found = score_interval(task, gold, predicted)
    assert found.value == pytest.approx(main_score(task, gold, predicted), abs=1e-12)
    assert 0 < found.low < found.value < found.high < 1


def test_the_interval_of_an_accuracy_is_that_of_wilson() -> None:
    gold, predicted = np.zeros(200, dtype=int), np.repeat([0, 1], [154, 46])
    found, share, z = score_interval("C", gold, predicted), 0.77, 1.959964
    middle, half = share + z**2 / 400, z * math.sqrt(share * (1 - share) / 200 + z**2 / 160_000)
    assert found.low == pytest.approx((middle - half) / (1 + z**2 / 200), abs=0.006)
    assert found.high == pytest.approx((middle + half) / (1 + z**2 / 200), abs=0.006)


def test_the_interval_of_an_f1_is_that_of_the_delta_method() -> None:
    gold, predicted = drawn("A")
    found = score_interval("A", gold, predicted)
    both = gold + predicted  # F1 = sum of 2 gold predicted / sum of both, a ratio of means
    residuals = 2 * gold * predicted - found.value * both
    error = residuals.std() / both.mean() / math.sqrt(len(gold))
    assert found.low == pytest.approx(found.value - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(found.value + 1.96 * error, abs=0.1 * error)


def test_a_difference_is_paired() -> None:
    gold, ours = drawn("A")
    theirs = ours.copy()
    theirs[:10] ^= 1
    found = difference_interval("A", gold, ours, theirs)
    apart = [score_interval("A", gold, it) for it in (ours, theirs)]
    assert found.value == pytest.approx(apart[0].value - apart[1].value, abs=1e-12)
    assert found.high - found.low < 0.3 * min(it.high - it.low for it in apart)
    back = difference_interval("A", gold, theirs, ours)
    assert (back.value, back.low, back.high) == pytest.approx((-found.value, -found.high, -found.low), abs=2e-3)


def test_a_difference_covers_zero_where_none_is_shown() -> None:
    gold, ours = drawn("C", 200)
    theirs = ours.copy()
    ours[:3], theirs[:3] = gold[:3] ^ [0, 0, 1], gold[:3] ^ [1, 1, 0]  # two texts speak for ours, one for theirs
    found = difference_interval("C", gold, ours, theirs)
    assert found.value == pytest.approx(1 / 200)
    assert found.covers_zero
    assert not difference_interval("C", gold, gold, 1 - gold).covers_zero
    assert not difference_interval("C", gold, 1 - gold, gold).covers_zero


@pytest.mark.parametrize("task", TASKS)
def test_against_itself_nothing_differs(task: Task) -> None:
    gold, ours = drawn(task, 200)
    found = difference_interval(task, gold, ours, ours)
    assert (found.value, found.low, found.high) == (0, 0, 0)
    assert found.covers_zero


@pytest.mark.parametrize("task", ["A", "B"])
def test_never_sarcastic_scores_zero_without_a_warning(task: Task) -> None:
    gold, predicted = drawn(task, 300)
    found = score_interval(task, gold, np.zeros_like(predicted))
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_a_perfect_score_and_a_single_text_leave_nothing_open() -> None:
    gold, _ = drawn("A", 300)
    perfect, single = score_interval("A", gold, gold), score_interval("A", [1], [1])
    assert (perfect.value, perfect.low, perfect.high) == (single.value, single.low, single.high) == (1, 1, 1)


def test_the_same_labels_give_the_same_numbers() -> None:
    gold, predicted = drawn("A", 300)
    assert score_interval("A", gold, predicted) == score_interval("A", gold.tolist(), predicted.astype(bool))


def test_an_interval_takes_a_moment() -> None:
    gold, predicted = drawn("B")
    start = time.process_time()
    difference_interval("B", gold, predicted, drawn("B", seed=1)[1])
    assert time.process_time() - start < 1.5


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(DataError, match=r"predicted labels have the shape \(1,\), expected \(2,\)"):
        score_interval("A", [0, 1], [0])
    with pytest.raises(DataError, match=r"predicted labels have the shape \(3,\), expected \(2,\)"):
        difference_interval("C", [0, 1], [0, 1], [0, 1, 1])
    with pytest.raises(DataError, match=r"gold labels have the shape \(2,\), expected \(2, 6\)"):
        score_interval("B", [0, 1], [0, 1])
    with pytest.raises(ConfigError, match=r"There is no task 'D'. Use one of: A, B, C"):
        score_interval("D", [0, 1], [0, 1])  # pyright: ignore[reportArgumentType]


@pytest.mark.data("isarcasmeval")
@pytest.mark.parametrize(("language", "wanted"), [("en", 0.6133), ("ar", 0.6652)])
def test_the_readers_score_has_an_interval(language: Language, wanted: float) -> None:  # XPUDU-C2
    votes = read_votes(catalogue.fetch("isarcasmeval"), "A", language)
    found = score_interval("A", votes.labels, votes.votes >= 3)
    assert found.value == pytest.approx(wanted, abs=5e-5)
    assert 0.04 < found.value - found.low < 0.07
    assert 0.04 < found.high - found.value < 0.07
