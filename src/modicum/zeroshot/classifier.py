"""Answers in the shape of Hugging Face's zero-shot pipeline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias, overload

import torch
from torch import Tensor

from modicum.errors import ConfigError
from modicum.zeroshot.calibration import Calibration, check_calibration, corrected
from modicum.zeroshot.encoder import EncoderPredictor
from modicum.zeroshot.scoring import WordPredictor
from modicum.zeroshot.task import Task
from modicum.zeroshot.tuner import GoTuner, written

Tuned: TypeAlias = GoTuner | EncoderPredictor | WordPredictor
Labels: TypeAlias = str | Sequence[str] | None
Result: TypeAlias = dict[str, Any]


class ZeroShotClassifier:
    """Score texts against candidate labels, as ``pipeline("zero-shot-classification")`` does.

    Each text is encoded once, whatever the number of labels. Labels of the tuned task have its scores. If another one
    is among the candidates, all are scored by their words or names: by cosine where the model is a plain encoder, by
    rows of the vocabulary where it predicts words; what was learnt then helps through the encoder alone.

    Args:
        tuned: a `GoTuner`, fitted or not, or one of the ``predictors`` of a `MultiTaskGoTuner`.
        calibration: "none"; "content-free" subtracts the scores of an empty text, which can cost much; "batch-mean"
            takes all classes for equally frequent among the texts of a call. Both warn.

    Raises:
        ConfigError: if there is no such calibration, or ``tuned`` is something else.

    Example:
        >>> from modicum.zeroshot import GoTuner, Task, ZeroShotClassifier
        >>> classify = ZeroShotClassifier(GoTuner(task=Task(["sports", "politics"])))
        >>> classify("The match ended 2 to 1.", ["sports", "politics"])["labels"][0]  # doctest: +SKIP
        'sports'
    """

    def __init__(self, tuned: Tuned, *, calibration: Calibration = "none") -> None:
        check_calibration(calibration)
        if not isinstance(tuned, GoTuner | EncoderPredictor | WordPredictor):  # pyright: ignore[reportUnnecessaryIsInstance] - callers are not typed
            raise ConfigError(
                f"A GoTuner was expected, got {type(tuned).__name__}.",
                hint="Of a MultiTaskGoTuner give the predictor of one task, predictors[0].",
            )
        self.tuned = tuned
        self.calibration: Calibration = calibration

    @overload
    def __call__(self, sequences: str, candidate_labels: Labels = None, *, multi_label: bool = False) -> Result: ...
    @overload
    def __call__(
        self, sequences: list[str] | tuple[str, ...], candidate_labels: Labels = None, *, multi_label: bool = False
    ) -> list[Result]: ...
    def __call__(
        self, sequences: str | Sequence[str], candidate_labels: Labels = None, *, multi_label: bool = False
    ) -> Result | list[Result]:
        """Score one text or several.

        Args:
            sequences: a text, or a list of texts.
            candidate_labels: two labels or more, in a list or with commas between them; by default those of the task.
            multi_label: several labels may be true: each score is then the probability of a label against the mean of
                all others, and they do not add up to 1.

        Returns:
            For a text a dictionary with ``sequence``, ``labels`` and ``scores``, the best first; a list of them for a
            list.

        Raises:
            ConfigError: if there are fewer than two labels, or one comes twice.
            DataError: if a text is missing, empty or no text.
        """
        texts = written([sequences] if isinstance(sequences, str) else sequences)
        given = self.tuned.task.labels if candidate_labels is None else candidate_labels
        names = [name.strip() for name in given.split(",")] if isinstance(given, str) else list(given)
        Task(names)  # two or more, and none twice
        scores = self._scores(texts, names) if texts else torch.zeros(0, len(names))
        chances = against_others(scores) if multi_label else scores.softmax(1)
        order = chances.argsort(dim=1, descending=True, stable=True)
        results: list[Result] = [
            {"sequence": text, "labels": [names[at] for at in ranks], "scores": row[ranks].tolist()}
            for text, row, ranks in zip(texts, chances, order.tolist(), strict=True)
        ]
        return results[0] if isinstance(sequences, str) else results

    def _scores(self, texts: Sequence[str], names: Sequence[str]) -> Tensor:
        # A tuner refuses an empty text, and so the content-free one; what answers for it does not.
        tuned = self.tuned.predictor if isinstance(self.tuned, GoTuner) else self.tuned
        known = {label: at for at, label in enumerate(tuned.task.labels)}
        if all(name in known for name in names):
            columns = [known[name] for name in names]
            return corrected(lambda each: tuned.scores(each)[:, columns], texts, self.calibration)
        return corrected(lambda each: tuned.name_scores(each, names), texts, self.calibration)


def against_others(scores: Tensor) -> Tensor:
    """Give the probability of each label against the mean of all others, (N, K)."""
    count = scores.shape[1]
    others = scores[:, None, :].expand(-1, count, -1).masked_fill(torch.eye(count, dtype=torch.bool), -math.inf)
    return (scores - others.logsumexp(2) + math.log(count - 1)).sigmoid()
