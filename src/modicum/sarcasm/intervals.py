"""How far the score of a task would move had other texts been asked: bootstrap intervals over the texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from modicum.core.intervals import bootstrap_interval
from modicum.core.seeding import derive
from modicum.errors import ConfigError
from modicum.sarcasm.examples import CATEGORIES
from modicum.sarcasm.isarcasm import Task
from modicum.sarcasm.metrics import paired_labels

MAIN_SCORES: Mapping[Task, str] = {"A": "f1", "B": "macro_f1", "C": "accuracy"}  # what each task ranks by

_BATCH = 100  # 1,400 texts then stay in the cache

_Floats: TypeAlias = npt.NDArray[np.float64]
_Rows: TypeAlias = npt.NDArray[np.int64]


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
