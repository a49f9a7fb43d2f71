"""The scores against hand-made tables, trivial answers and the votes of readers on the real test texts.

The submission files of another team, by which XPUDU-C1 knows five more scores, are not in the catalogue: those are not
checked here.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from tests.unit.sarcasm.votes import read_votes

from modicum.core import catalogue
from modicum.errors import DataError
from modicum.sarcasm.data.examples import CATEGORIES, Language
from modicum.sarcasm.data.isarcasm import read_categories, read_texts
from modicum.sarcasm.evaluate.scores import score_a, score_b, score_c


def test_task_a_is_scored_on_the_sarcastic_class() -> None:
    # 2 hits, 1 false alarm, 2 misses, 3 right rejections
    scores = score_a([1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 1, 0, 0, 0])
    assert scores.precision == pytest.approx(2 / 3)
    assert scores.recall == pytest.approx(1 / 2)
    assert scores.f1 == pytest.approx(4 / 7)
    assert scores.accuracy == pytest.approx(5 / 8)
    assert scores.macro_f1 == pytest.approx((4 / 7 + 6 / 9) / 2)


def test_never_sarcastic_has_no_f1_however_accurate_it_is() -> None:
    scores = score_a([1] + [0] * 6, [0] * 7)
    assert (scores.f1, scores.precision, scores.recall) == (0, 0, 0)
    assert scores.accuracy == pytest.approx(6 / 7)


def test_no_positive_anywhere_scores_zero_without_a_warning() -> None:
    assert score_a([0, 0], [0, 0]).f1 == 0


def test_task_b_counts_a_category_that_is_nowhere_as_zero() -> None:
    gold = np.zeros((4, 6), dtype=int)
    gold[:2, 0] = 1
    gold[2, 1] = 1
    predicted = np.zeros((4, 6), dtype=int)
    predicted[0, 0] = 1
    scores = score_b(gold, predicted)
    assert scores.f1 == pytest.approx({"sarcasm": 2 / 3} | dict.fromkeys(CATEGORIES[1:], 0.0))
    assert scores.macro_f1 == pytest.approx(2 / 3 / 6)


def test_task_b_scores_a_single_row() -> None:
    assert score_b([[1, 0, 0, 0, 0, 1]], [[1, 0, 0, 0, 0, 1]]).macro_f1 == pytest.approx(2 / 6)


def test_swapping_the_texts_of_every_pair_keeps_the_accuracy() -> None:
    gold, predicted = np.array([0, 1, 1, 0, 1]), np.array([0, 1, 0, 0, 0])
    assert score_c(gold, predicted).accuracy == score_c(1 - gold, 1 - predicted).accuracy == pytest.approx(3 / 5)


@pytest.mark.parametrize(
    ("gold", "predicted", "message"),
    [
        ([0, 1], [0], r"The predicted labels have the shape \(1,\), expected \(2,\)"),
        ([], [], r"The gold labels have the shape \(0,\), expected \(0,\) with at least one row"),
        ([0, 1], [0, 2], r"A predicted label is 2, at index 1. Give 0 or 1 for each"),
        ([0, 1], [0, 0.3], r"A predicted label is 0.3"),
        ([0, 1], [0, math.nan], r"A predicted label is nan"),
        ([0, None], [0, 1], r"A gold label is None"),
        (["0", "1"], [0, 1], r"A gold label is '0'"),
        (np.array([True, "no"], dtype=object), [0, 1], r"A gold label is 'no', at index 1"),
        ([[0], [1]], [0, 1], r"The gold labels have the shape \(2, 1\), expected \(2,\)"),
        ([[0], [1, 0]], [0, 1], r"The gold labels are no table"),
        (0, [0], r"The gold labels have the shape \(\), expected \(1,\)"),
    ],
)
def test_labels_that_do_not_go_together_are_refused(gold: Any, predicted: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        score_a(gold, predicted)


@pytest.mark.parametrize("values", [[True, False], [np.bool_(1), 0], [1, 0.0]])
def test_labels_may_be_objects(values: list[Any]) -> None:
    assert score_a(np.array(values, dtype=object), [1, 0]).f1 == 1


def test_task_b_wants_six_columns() -> None:
    with pytest.raises(DataError, match=r"The gold labels have the shape \(1, 5\), expected \(1, 6\)"):
        score_b([[0] * 5], [[0] * 5])
    with pytest.raises(DataError, match=r"The gold labels have the shape \(2,\), expected \(2, 6\)"):
        score_b([0, 1], [0, 1])


@pytest.mark.data("isarcasmeval")
@pytest.mark.parametrize("language", ["en", "ar"])
def test_always_sarcastic_is_the_published_trivial_score_of_task_a(language: Language) -> None:  # XPUDU-C1, XPUDU-C11
    gold = np.array([it.sarcastic for it in read_texts(catalogue.fetch("isarcasmeval"), language)])
    scores = score_a(gold, np.ones(1400, dtype=int))
    assert scores.f1 == pytest.approx(0.25)
    assert scores.accuracy == pytest.approx(200 / 1400)
    assert score_a(gold, np.zeros(1400, dtype=int)).accuracy == pytest.approx(0.857, abs=5e-4)


@pytest.mark.data("isarcasmeval")
def test_trivial_scores_of_task_b() -> None:  # XPUDU-C1, XPUDU-C11
    gold = np.array([it.categories for it in read_categories(catalogue.fetch("isarcasmeval"))])
    assert score_b(gold, np.ones_like(gold)).macro_f1 == pytest.approx(0.0591, abs=5e-5)
    told = gold.any(axis=1, keepdims=True).astype(int)  # an oracle of task A
    assert score_b(gold, told * [1, 0, 0, 0, 0, 0]).macro_f1 == pytest.approx(0.158, abs=5e-4)
    assert score_b(gold, told * np.ones(6, dtype=int)).macro_f1 == pytest.approx(0.289, abs=5e-4)


@pytest.mark.data("isarcasmeval")
@pytest.mark.parametrize(
    ("language", "wanted"),
    [("en", [0.3879, 0.5180, 0.6133, 0.6716, 0.6168]), ("ar", [0.4411, 0.5825, 0.6652, 0.5882, 0.3411])],
)
def test_readers_score_as_measured_by_the_votes_they_need(language: Language, wanted: list[float]) -> None:  # XPUDU-C2
    votes = read_votes(catalogue.fetch("isarcasmeval"), "A", language)
    scored = [score_a(votes.labels, votes.votes >= least).f1 for least in range(1, 6)]
    assert scored == pytest.approx(wanted, abs=5e-5)


@pytest.mark.data("isarcasmeval")
@pytest.mark.parametrize(("language", "wanted"), [("en", 0.970), ("ar", 0.935)])
def test_readers_tell_pairs_apart_as_measured(language: Language, wanted: float) -> None:  # XPUDU-C2
    votes = read_votes(catalogue.fetch("isarcasmeval"), "C", language)
    assert score_c(votes.labels, votes.aggregated).accuracy == pytest.approx(wanted, abs=1e-12)
