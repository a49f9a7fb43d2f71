"""The scores of sentiment, depression and emotion, with the conventions under which papers report them."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, recall_score, root_mean_squared_error

Task: TypeAlias = Literal["sentiment", "depression", "classes"]

_ZERO_DIVISION: object = 0  # the annotations of scikit-learn know only the values that are text
_RANGES = {"acc7": 3.0, "acc5": 2.0, "acc3": 1.0}
_Series = npt.NDArray[np.float64]


def task_scores(task: Task, truth: npt.NDArray[Any], predicted: npt.NDArray[Any]) -> dict[str, float]:
    """Score predictions by what their task is scored by."""
    if task == "classes":
        return class_scores(truth, predicted.argmax(1))
    score = sentiment_scores if task == "sentiment" else depression_scores
    if truth.ndim == 1:
        return score(truth, predicted)
    each = [score(*pair) for pair in zip(truth.T, predicted.T, strict=True)]
    common = [name for name in each[0] if all(name in scores for scores in each)]
    means = {name: float(np.mean([scores[name] for scores in each])) for name in common}
    return means | {f"{name}_{target}": value for target, scores in enumerate(each) for name, value in scores.items()}


def sentiment_scores(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> dict[str, float]:
    """Score sentiment on the scale from -3 to 3, as MMSA does for CMU-MOSI and CMU-MOSEI."""
    y, guess = _series(truth, predicted)
    scores = {"mae": float(mean_absolute_error(y, guess)), "pearson": pearson(y, guess)}
    for name, end in _RANGES.items():
        classes, guessed = (np.round(np.clip(values, -end, end)) for values in (y, guess))
        scores[name] = float(accuracy_score(classes, guessed))
    scores |= _two_classes("has0", y >= 0, guess >= 0)
    other = y != 0
    return scores | (_two_classes("non0", y[other] > 0, guess[other] > 0) if other.any() else {})


def depression_scores(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> dict[str, float]:
    """Score a severity, or another quantity of which the agreement counts."""
    y, guess = _series(truth, predicted)
    return {
        "ccc": concordance(y, guess, variant="DDS"),
        "ccc_ces": concordance(y, guess, variant="CES"),
        "mae": float(mean_absolute_error(y, guess)),
        "rmse": float(root_mean_squared_error(y, guess)),
        "pearson": pearson(y, guess),
    }


def class_scores(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> dict[str, float]:
    """Score classes."""
    y, guess = (values.astype(np.int64) for values in _series(truth, predicted))
    return {
        "accuracy": float(accuracy_score(y, guess)),
        "balanced_accuracy": float(
            recall_score(y, guess, average="macro", labels=np.unique(y), zero_division=_ZERO_DIVISION)  # type: ignore[arg-type]
        ),
        "f1_weighted": _f1(y, guess, "weighted"),
        "f1_macro": _f1(y, guess, "macro"),
    }


def pearson(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Compute Pearson's correlation."""
    y, guess = _series(truth, predicted)
    if _constant(y) or _constant(guess):
        return 0.0
    return float(stats.pearsonr(y, guess).statistic)


def concordance(truth: npt.ArrayLike, predicted: npt.ArrayLike, *, variant: Literal["DDS", "CES"] = "DDS") -> float:
    """Compute the concordance correlation coefficient."""
    y, guess = _series(truth, predicted)
    if _constant(y) or _constant(guess):
        return 0.0
    ddof = 1 if variant == "CES" else 0
    covariance = float(np.mean((y - y.mean()) * (guess - guess.mean())))
    spread = float(y.var(ddof=ddof) + guess.var(ddof=ddof) + (y.mean() - guess.mean()) ** 2)
    return 2 * covariance / spread


def _two_classes(convention: str, truth: npt.NDArray[np.bool_], guess: npt.NDArray[np.bool_]) -> dict[str, float]:
    return {
        f"acc2_{convention}": float(accuracy_score(truth, guess)),
        f"f1_{convention}": _f1(truth, guess, "weighted"),
    }


def _f1(truth: npt.NDArray[np.generic], guess: npt.NDArray[np.generic], average: Literal["weighted", "macro"]) -> float:
    return float(f1_score(truth, guess, average=average, zero_division=_ZERO_DIVISION))  # type: ignore[arg-type]


def _constant(values: _Series) -> bool:
    return bool(values.min() == values.max())


def _series(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> tuple[_Series, _Series]:
    return np.asarray(truth, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
