"""A fitted linear model of the three tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modicum.errors import ModelError
from modicum.sarcasm.linear.features import Features, Matrix
from modicum.sarcasm.scoring import Outputs

__all__ = ["Head", "LinearModel", "Ranker"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """A linear map of features to logits.

    Args:
        weights: shape (k, d).
        intercept: shape (k,).
    """

    weights: np.ndarray
    intercept: np.ndarray

    def __call__(self, rows: Matrix) -> np.ndarray:
        """Give logits, shape (n, k), from features, shape (n, d)."""
        return np.asarray(rows @ self.weights.T) + self.intercept


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranker:
    """Scores by whose difference two texts are compared.

    Args:
        features: its own n-grams, or those of the model.
        weights: shape (d,); an intercept would cancel.
    """

    features: Features
    weights: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True)
class LinearModel:
    """Logistic regressions for the three tasks; a `TextModel`.

    Args:
        features: of the first two heads.
        sarcastic: the first head, of one logit.
        categories: the second, of six; None where there was nothing to learn them from.
        ranker: the third; None where there was no pair.
    """

    features: Features
    sarcastic: Head
    categories: Head | None = None
    ranker: Ranker | None = None

    def __call__(self, texts: Sequence[str]) -> Outputs:
        """Give the outputs, in the order of the texts and independent of what else is asked for.

        Args:
            texts: n, prepared as those it was fitted on.

        Returns:
            The outputs of the heads that it has.

        Raises:
            ModelError: if the encoder gives other columns than the one that the model was fitted on.
        """
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
        """Write it to a new folder: ``model.json`` with the n-grams, ``weights.safetensors`` with the numbers.

        Of a frozen encoder only the place is kept; a function of your own is given to `load` again.

        Args:
            folder: made if it is missing.

        Raises:
            ConfigError: if there is something in the folder, or it cannot be written.
            MissingExtraError: if safetensors is not installed.
        """
        from modicum.sarcasm.linear.storage import save

        save(self, folder)

    def _ranks(self, texts: Sequence[str], rows: Matrix) -> np.ndarray | None:
        if self.ranker is None:
            return None
        shared = self.ranker.features is self.features
        return np.asarray((rows if shared else self.ranker.features(texts)) @ self.ranker.weights)
