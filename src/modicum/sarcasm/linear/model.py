"""A fitted linear model of the three tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modicum.errors import ModelError
from modicum.sarcasm.linear.features import Features, Matrix
from modicum.sarcasm.scoring import Outputs


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """A linear map of features to logits."""

    weights: np.ndarray  # shape (k, d)
    intercept: np.ndarray  # shape (k,)

    def __call__(self, rows: Matrix) -> np.ndarray:
        """Give logits, shape (n, k), from features, shape (n, d)."""
        return np.asarray(rows @ self.weights.T) + self.intercept


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranker:
    """Scores by whose difference two texts are compared."""

    features: Features  # its own n-grams, or those of the model
    weights: np.ndarray  # shape (d,); an intercept would cancel


@dataclass(frozen=True, kw_only=True, slots=True)
class LinearModel:
    """Logistic regressions for the three tasks; a `TextModel`."""

    features: Features  # of the first two heads
    sarcastic: Head  # the first head, of one logit
    categories: Head | None = None  # the second, of six; None where there was nothing to learn them from
    ranker: Ranker | None = None  # the third; None where there was no pair

    def __call__(self, texts: Sequence[str]) -> Outputs:
        """Give the outputs, in the order of the texts and independent of what else is asked for."""
        rows = self.features(texts)
        columns = self.sarcastic.weights.shape[1]
        if rows.shape[1] != columns:
            raise ModelError(
                f"The encoder gives {rows.shape[1]} columns, but the model was fitted on {columns}.",
                hint="Load the model with the encoder that it was fitted on.",
            )
        return Outputs(
            sarcastic=self.sarcastic(rows)[:, 0],
            categories=self.categories(rows) if self.categories else None,
            rank=self._ranks(texts, rows),
        )

    def save(self, folder: Path) -> None:
        """Write it to a new folder: ``model.json`` with the n-grams, ``weights.safetensors`` with the numbers."""
        # Of a frozen encoder only the place is kept; a function of your own is given to `load` again.
        from modicum.sarcasm.linear.storage import save

        save(self, folder)

    def _ranks(self, texts: Sequence[str], rows: Matrix) -> np.ndarray | None:
        if self.ranker is None:
            return None
        shared = self.ranker.features is self.features
        return np.asarray((rows if shared else self.ranker.features(texts)) @ self.ranker.weights)
