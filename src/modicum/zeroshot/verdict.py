"""What a user may believe of a tuned model: without labels how it differs, and with some whether it is better."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from modicum.core.extras import require
from modicum.core.intervals import bootstrap_interval
from modicum.errors import DataError, MissingExtraError
from modicum.zeroshot.task import Task

Predicted: TypeAlias = npt.NDArray[np.int64]

if TYPE_CHECKING:
    from modicum.zeroshot.tuner import GoTuner

_SHOWN = 3  # texts whose label changed
_FEW = 30  # labelled texts, below which hardly any difference can be shown


@dataclass(frozen=True, kw_only=True)
class Change:
    """How a tuned model differs from cosine on texts without labels."""

    texts: int
    changed: int  # texts with another label
    shares: dict[str, tuple[float, float]]  # of each label, by cosine and by the tuned model
    examples: list[tuple[str, str, str]]  # a text, its label by cosine, and that of the tuned model

    def __str__(self) -> str:
        moved = ", ".join(f"{label} {100 * a:.0f} % to {100 * b:.0f} %" for label, (a, b) in self.shares.items())
        lines = [f"Tuning changed the label of {self.changed:,} of {self.texts:,} texts ({moved})."]
        return "\n".join([*lines, *(f"  {old} to {new}: {text}" for text, old, new in self.examples)])


@dataclass(frozen=True, kw_only=True)
class Rival:
    """A comparison on labelled texts."""

    name: str
    accuracy: float
    difference: float  # of the model to it, in accuracy
    low: float  # ends of its 95 % interval
    high: float
    p_value: float  # of McNemar's exact test

    @property
    def word(self) -> str:
        """What may be said."""
        if self.low <= 0 <= self.high or self.p_value > 0.05:
            return "no difference shown"
        return "better" if self.difference > 0 else "worse"

    def __str__(self) -> str:
        return (
            f"Against {self.name} ({self.accuracy:.3f}): {100 * self.difference:+.1f} points, 95 % interval "
            f"{100 * self.low:+.1f} to {100 * self.high:+.1f}, p = {self.p_value:.2g}: {self.word}."
        )


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How well a model does on labelled texts, and against what needs no tuning."""

    rows: int
    accuracy: float
    macro_f1: float
    confusion: list[list[int]]  # by true label, then by predicted one, in the order of the task
    rivals: list[Rival]

    @property
    def few(self) -> list[str]:
        """A sentence where the texts are too few to say much, or none."""
        return [f"Fewer than {_FEW} texts say little: give some 50."] if self.rows < _FEW else []

    def __str__(self) -> str:
        first = f"{self.rows:,} labelled texts: accuracy {self.accuracy:.3f}, macro-F1 {self.macro_f1:.3f}."
        return "\n".join([first, *map(str, self.rivals), *self.few])


def change(tuner: GoTuner, texts: Sequence[str]) -> Change:
    """Compare the answers of a tuned model with those of cosine."""
    labels = tuner.task.labels
    both = (tuner.baseline().scores(texts), tuner.scores(texts))
    before, after = ([int(best) for best in scores.argmax(1)] for scores in both)
    shares = [np.bincount(found, minlength=len(labels)) / len(texts) for found in (before, after)]
    moved = [at for at, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    return Change(
        texts=len(texts),
        changed=len(moved),
        shares={label: (float(shares[0][at]), float(shares[1][at])) for at, label in enumerate(labels)},
        examples=[(texts[at], labels[before[at]], labels[after[at]]) for at in moved[:_SHOWN]],
    )


def evaluate(tuner: GoTuner, texts: Sequence[str], labels: Sequence[str]) -> Evaluation:
    """Score a model on labelled texts, against cosine and, where the task is sentiment, VADER."""
    from sklearn.metrics import confusion_matrix, f1_score

    truth = numbers_of(tuner.task, labels)
    found = tuner.scores(texts).argmax(1).numpy()
    rivals: dict[str, Predicted] = {}
    if tuner.route is not None:
        name = "the model before tuning" if tuner.route in {"mlm", "seq2seq"} else "cosine"
        rivals[name] = tuner.baseline().scores(texts).argmax(1).numpy()
    try:
        vader = vader_scores(tuner.task, texts)
    except MissingExtraError as error:
        logging.getLogger(__name__).warning("No comparison with VADER, the lexicon to beat in sentiment. %s", error)
        vader = None
    if vader is not None:
        rivals["VADER"] = vader.argmax(1).numpy()
    every = list(range(len(tuner.task.labels)))
    return Evaluation(
        rows=len(truth),
        accuracy=float((found == truth).mean()),
        macro_f1=float(f1_score(truth, found, labels=every, average="macro", zero_division=0.0)),  # pyright: ignore[reportArgumentType]
        confusion=confusion_matrix(truth, found, labels=every).tolist(),
        rivals=[_rival(name, truth, found, other) for name, other in rivals.items()],
    )


def numbers_of(task: Task, labels: Sequence[str], rows: Sequence[str] = ()) -> Predicted:
    """Give the number of each label, as a file has them; ``rows`` say where each stands."""
    numbers = {label: number for number, label in enumerate(task.labels)}
    for row, label in enumerate(labels):
        if label not in numbers:
            raise DataError(
                f"{rows[row] if rows else f'labels[{row}]'} has the label {label!r}, which the task does not have.",
                hint=f"Its labels are {', '.join(task.labels)}.",
            )
    return np.array([numbers[label] for label in labels], dtype=np.int64)


def vader_scores(task: Task, texts: Sequence[str]) -> Tensor | None:
    """Give VADER's scores, (N, 2), or None where its lexicon does not oppose two labels."""
    if len(task.labels) != 2:
        return None
    library = require("vaderSentiment.vaderSentiment", extra="sentiment", purpose="VADER")
    analyzer = library.SentimentIntensityAnalyzer()
    valence = [
        sum(analyzer.lexicon.get(word, 0.0) for word in (label.lower(), *task.verbalizer[label]))
        for label in task.labels
    ]
    if min(valence) >= 0 or max(valence) <= 0:
        return None
    sign = 2.0 * torch.arange(2) - 1 if valence[1] > valence[0] else 1 - 2.0 * torch.arange(2)
    # What has no valence is negative, whichever label that is.
    compound = torch.tensor([analyzer.polarity_scores(text)["compound"] or -1e-6 for text in texts])
    return compound[:, None] * sign


def mcnemar(truth: Predicted, found: Predicted, other: Predicted) -> float:
    """Give the p-value of McNemar's exact test; 1 where both are right in the same rows."""
    from scipy.stats import binomtest

    gains = (found == truth).astype(int) - (other == truth)
    won, lost = int((gains > 0).sum()), int((gains < 0).sum())
    return float(binomtest(won, won + lost).pvalue) if won or lost else 1.0


def _rival(name: str, truth: Predicted, found: Predicted, other: Predicted) -> Rival:
    gains = (found == truth).astype(float) - (other == truth)
    low = high = 0.0  # the same answers have no difference, and no interval
    if gains.any():
        low, high = bootstrap_interval(gains, np.mean) if np.ptp(gains) else (gains[0], gains[0])
    return Rival(
        name=name,
        accuracy=float((other == truth).mean()),
        difference=float(gains.mean()),
        low=float(low),
        high=float(high),
        p_value=mcnemar(truth, found, other),
    )
