"""F1 of sarcastic (task A), macro-F1 of the categories (B), accuracy (C), and how far other texts would move them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from modicum.errors import ConfigError, DataError
from modicum.sarcasm.data.examples import CATEGORIES, Category
from modicum.sarcasm.data.isarcasm import Task

# The annotations of scikit-learn know only the values that are text.
_ZERO: Any = 0
_EACH: Any = None
MAIN_SCORES: Mapping[Task, str] = {"A": "f1", "B": "macro_f1", "C": "accuracy"}  # what each task ranks by
_BATCH = 100  # 1,400 texts then stay in the cache
_Floats: TypeAlias = npt.NDArray[np.float64]
_Rows: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """How well 0 and 1 were told apart, each score from 0 to 1."""

    f1: float  # of class 1 alone, the main score of task A; macro-F1 is a far higher number
    precision: float  # of class 1
    recall: float  # of class 1
    accuracy: float  # the main score of task C; on task A, "never sarcastic" has .857
    macro_f1: float  # mean of the F1 of the two classes


@dataclass(frozen=True, kw_only=True, slots=True)
class CategoryScores:
    """How well the six categories were found."""

    macro_f1: float  # mean of the six, the main score of task B
    f1: Mapping[Category, float]  # of each category; 0 where it was neither there nor predicted


def score_a(gold: npt.ArrayLike, predicted: npt.ArrayLike) -> Scores:
    """Score task A: is the text sarcastic?"""
    from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

    truth, guess = paired_labels(gold, predicted, columns=None)
    return Scores(
        f1=float(f1_score(truth, guess, average="binary", pos_label=1, zero_division=_ZERO)),
        precision=float(precision_score(truth, guess, average="binary", pos_label=1, zero_division=_ZERO)),
        recall=float(recall_score(truth, guess, average="binary", pos_label=1, zero_division=_ZERO)),
        accuracy=float(accuracy_score(truth, guess)),
        macro_f1=float(f1_score(truth, guess, average="macro", zero_division=_ZERO)),
    )


def score_b(gold: npt.ArrayLike, predicted: npt.ArrayLike) -> CategoryScores:
    """Score task B: which categories does the text have?"""
    from sklearn.metrics import f1_score

    truth, guess = paired_labels(gold, predicted, columns=len(CATEGORIES))
    each = np.asarray(f1_score(truth, guess, average=_EACH, zero_division=_ZERO), dtype=float)
    return CategoryScores(macro_f1=float(each.mean()), f1=dict(zip(CATEGORIES, each.tolist(), strict=True)))


def score_c(gold: npt.ArrayLike, predicted: npt.ArrayLike) -> Scores:
    """Score task C: which of the two texts is the sarcastic one?"""
    return score_a(gold, predicted)


def paired_labels(
    gold: npt.ArrayLike, predicted: npt.ArrayLike, *, columns: int | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Take true and predicted labels that belong to the same texts."""
    truth, guess = (whole_labels(values, name) for values, name in ((gold, "gold"), (predicted, "predicted")))
    rows = truth.shape[:1] or (1,)
    shape = rows if columns is None else (*rows, columns)
    for labels, name in ((truth, "gold"), (guess, "predicted")):
        if labels.shape != shape or not labels.size:
            raise DataError(
                f"The {name} labels have the shape {labels.shape}, expected {shape} with at least one row.",
                hint="Give one row for each text, in the same order.",
            )
    return truth, guess


def whole_labels(values: npt.ArrayLike, name: str) -> npt.NDArray[np.int64]:
    """Take labels of 0 and 1, and nothing that is merely near them."""
    try:
        labels = np.asarray(values)
    except ValueError as error:  # rows of different lengths
        raise DataError(f"The {name} labels are no table ({error}).", hint="Give rows of one length.") from error
    if labels.dtype.kind in "biuf" and np.isin(labels, (0, 1)).all():
        return labels.astype(np.int64)
    # Labels may come as objects: pandas has such where rows without one were left out.
    for index, value in enumerate(labels.ravel().tolist()):
        if not isinstance(value, Real | np.bool_) or value not in {0, 1}:
            raise DataError(
                f"A {name} label is {value!r}, at index {index}.", hint="Give 0 or 1 for each, not a probability."
            )
    return labels.astype(np.int64)


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A score or a difference of two, with its 95 % interval."""

    value: float  # on all texts
    low: float  # lower end
    high: float  # upper end

    @property
    def covers_zero(self) -> bool:
        """Whether the interval of a difference leaves open which of the two is better."""
        return self.low <= 0.0 <= self.high


def score_interval(task: Task, gold: npt.ArrayLike, predicted: npt.ArrayLike) -> Interval:
    """Give the score that a task ranks by, with the interval that the choice of texts leaves."""
    # Texts are drawn anew with replacement 9,999 times, and with a fixed seed: the same labels give the same numbers.
    # The ends are bias-corrected and accelerated (BCa), or percentiles where that is undefined, as where every draw has
    # one score. Of a single text both ends are its score. Where a category has a handful of texts (task B), an interval
    # promises more than it keeps: it cannot know texts that were not drawn. Of many texts the time grows with the
    # square of their number.
    return _bootstrapped(resampled_score(task, gold, predicted), len(np.asarray(gold)))


def difference_interval(task: Task, gold: npt.ArrayLike, ours: npt.ArrayLike, theirs: npt.ArrayLike) -> Interval:
    """Give by how much one set of predictions scores above another for the same texts, with its interval."""
    # The draws are paired: both are scored on the same ones, so that what makes texts hard for both cancels.
    first, second = (resampled_score(task, gold, predicted) for predicted in (ours, theirs))
    return _bootstrapped(lambda rows: first(rows) - second(rows), len(np.asarray(gold)))


def resampled_score(task: Task, gold: npt.ArrayLike, predicted: npt.ArrayLike) -> Callable[[_Rows], _Floats]:
    """Prepare the score that a task ranks by for any draw of its texts."""
    if task not in MAIN_SCORES:
        raise ConfigError(f"There is no task {task!r}.", hint=f"Use one of: {', '.join(MAIN_SCORES)}.")
    truth, guess = paired_labels(gold, predicted, columns=len(CATEGORIES) if task == "B" else None)
    truth, guess = (labels.reshape(len(labels), -1).astype(float) for labels in (truth, guess))
    # Each score is a mean of ratios of sums over texts: F1 is 2 hits / (sarcastic + said to be), accuracy right / all.
    if task == "C":
        above, below = (truth == guess).astype(float), np.ones_like(truth)
    else:
        above, below = 2 * truth * guess, truth + guess

    def score(rows: _Rows) -> _Floats:
        drawn = _times_drawn(rows, len(truth))
        hits, all_of_them = drawn @ above, drawn @ below
        return np.divide(hits, all_of_them, out=np.zeros_like(hits), where=all_of_them > 0).mean(-1)

    return score


def _times_drawn(rows: _Rows, count: int) -> _Floats:
    draws = rows.reshape(-1, rows.shape[-1])
    cells = draws + count * np.arange(len(draws))[:, None]
    times = np.bincount(cells.ravel(), minlength=count * len(draws))
    return times.reshape(*rows.shape[:-1], count).astype(float)


def _bootstrapped(score: Callable[[_Rows], _Floats], count: int) -> Interval:
    from modicum.core.intervals import bootstrap_interval
    from modicum.core.seeding import derive  # and torch, which scores do without

    value = float(score(np.arange(count)))
    if count == 1:
        return Interval(value=value, low=value, high=value)
    low, high = bootstrap_interval(
        np.arange(count),
        lambda rows, axis: score(np.moveaxis(rows, axis, -1)),
        seed=derive(0, "bootstrap"),
        batch=_BATCH,
    )
    return Interval(value=value, low=low, high=high)
