"""What a fitted model gives for a text, and what fits one: the seam between linear models and encoders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from modicum.errors import ConfigError
from modicum.sarcasm.data.examples import Example


@dataclass(frozen=True, kw_only=True, slots=True)
class Outputs:
    """What the three heads give for n texts, before calibration."""

    sarcastic: np.ndarray  # logit of "sarcastic", float64, shape (n,)
    categories: np.ndarray | None = None  # logits of the six categories *given* that the text is sarcastic, shape
    rank: np.ndarray | None = None  # of two texts, the one with the higher number is the sarcastic one, shape (n,)


class TextModel(Protocol):
    """A fitted model. Texts come as they were trained on: cleaned, with the dialect in front if there is to be one."""

    def __call__(self, texts: Sequence[str]) -> Outputs:
        """Give the outputs, in the order of the texts and independent of what else is asked for."""
        ...

    def save(self, folder: Path) -> None:
        """Write it to a new folder, without a pickle."""
        ...


@runtime_checkable
class PairModel(Protocol):
    """A fitted model with a way of its own to compare texts."""

    def compare(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """Give logits that the second text is the sarcastic one, shape (n,); exchanging the texts changes the sign."""
        ...


class Learner(Protocol):
    """Fits a model of all three tasks."""

    # From examples with a label it learns the first head, from those with categories the second, and from those with a
    # rephrase the third. Texts, rephrases too, are prepared already.

    def fit(self, examples: Sequence[Example], *, seed: int) -> TextModel:
        """Fit a new model."""
        ...


def compare_texts(model: TextModel, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
    """Compare two texts each, as the model does it: in a way of its own, or by the difference of their ranks."""
    if isinstance(model, PairModel):
        return model.compare(pairs)
    rank = model([text for pair in pairs for text in pair]).rank
    if rank is None:
        raise ConfigError("The model cannot compare texts.", hint="Fit it on examples that have a rephrase.")
    return rank[1::2] - rank[::2]
