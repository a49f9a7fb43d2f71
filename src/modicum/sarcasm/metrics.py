"""The scores of the shared task: F1 of the sarcastic class (A), macro-F1 of the categories (B), accuracy (C)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from modicum.errors import DataError
from modicum.sarcasm.examples import CATEGORIES, Category

# The annotations of scikit-learn know only the values that are text.
_ZERO: Any = 0
_EACH: Any = None


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
    if labels.dtype.kind not in "biuf" or not np.isin(labels, (0, 1)).all():
        odd = next((value for value in labels.ravel().tolist() if value not in {0, 1}), None)
        raise DataError(f"A {name} label is {odd!r}.", hint="Give 0 or 1 for each, not a probability.")
    return labels.astype(np.int64)
