"""A trained system: a model, how texts are prepared for it, and how its outputs become probabilities and labels."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit

from modicum.core.files import new_folder
from modicum.core.storage import Format
from modicum.errors import ConfigError, DataError
from modicum.sarcasm.data.examples import Example, Language, Pair
from modicum.sarcasm.data.preparation import Preparation
from modicum.sarcasm.decisions import Decision
from modicum.sarcasm.models import TextModel, compare_texts
from modicum.sarcasm.stack import DESCRIPTION, StackedModel

if TYPE_CHECKING:
    from modicum.sarcasm.explanation import Share


_DOCUMENT, _MODEL = "system.json", "model"
_FORMAT = Format(
    name="modicum.sarcasm",
    version=1,
    what="sarcasm system",
    hint="Give a folder that save_pretrained or `modicum sarcasm train` wrote, complete.",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Readings:
    """What is made of n texts.

    Args:
        probabilities: of "sarcastic", calibrated on held-out training texts, shape (n,).
        labels: 0 or 1, shape (n,).
        category_probabilities: shape (n, 6); None where the model knows no categories.
        category_labels: 0 or 1, shape (n, 6); None likewise.
    """

    probabilities: np.ndarray
    labels: np.ndarray
    category_probabilities: np.ndarray | None = None
    category_labels: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SarcasmSystem:
    """Reads texts and pairs of texts.

    Args:
        model: fitted.
        preparation: of texts, as it was when the model was fitted.
        decision: chosen on texts that the model had not seen.
        preset: with which it was fitted; empty where it was put together otherwise.
        why: that preset was chosen, in words; empty where it was named.
    """

    model: TextModel
    preparation: Preparation
    decision: Decision
    preset: str = ""
    why: str = ""

    def read(self, examples: Sequence[Example]) -> Readings:
        """Give probabilities and labels; labels that texts carry are not looked at.

        Args:
            examples: in any order and number.

        Returns:
            The readings, in their order.

        Raises:
            ConfigError: if there is no threshold for a language.
        """
        outputs = self.model([self.preparation.text(it) for it in examples])
        languages = self._languages(examples)
        knows = outputs.categories is not None and self.decision.categories is not None
        return Readings(
            probabilities=self.decision.probabilities(outputs, languages),
            labels=self.decision.labels(outputs, languages),
            category_probabilities=self.decision.category_probabilities(outputs, languages) if knows else None,
            category_labels=self.decision.category_labels(outputs, languages) if knows else None,
        )

    def _languages(self, examples: Sequence[Example]) -> list[Language]:
        """Give the language that each text is read as: a few strays are read as the only one that was trained."""
        spoken: list[Language] = [it.language for it in examples]
        strays = [it for it in examples if it.language not in self.decision.thresholds]
        if not strays or len(self.decision.thresholds) > 1 or 4 * len(strays) >= len(examples):
            return spoken
        (only,) = self.decision.thresholds
        warnings.warn(
            f"{len(strays)} of {len(examples)} texts are taken for {strays[0].language!r}, such as "
            f"{strays[0].text[:40]!r}; the system was trained on {only!r} alone and reads them as that.",
            stacklevel=3,
        )
        return [only for _ in spoken]

    def compare(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Give the probability that the second text of each pair is the sarcastic one.

        Args:
            pairs: of texts that mean the same.

        Returns:
            Shape (n,); exchanging the texts of a pair gives one minus it.

        Raises:
            ConfigError: if the model was fitted without a rephrase.
        """
        prepared = [self.preparation.pair(pair).texts for pair in pairs]
        return expit(compare_texts(self.model, prepared))

    def rank(self, examples: Sequence[Example]) -> np.ndarray:
        """Score texts that mean the same, in one pass each: the highest is the most sarcastic.

        Args:
            examples: n wordings.

        Returns:
            Shape (n,); sigmoid(b - a) is the probability that `compare` gives.

        Raises:
            ConfigError: if the model was fitted without a rephrase.
        """
        rank = self.model([self.preparation.text(it) for it in examples]).rank
        if rank is None:
            raise ConfigError("The model cannot rank single texts.", hint="Compare pairs, or fit on rephrases.")
        return rank

    def explain(self, example: Example) -> list[Share]:
        """Say what each piece of a text adds to the logit of "sarcastic".

        Words of n-grams, tokens of an encoder, words of both together. The shares of n-grams sum up to the logit less
        its intercept, those of an encoder to the logit less that of an empty text, up to the error that
        `encoder.explanation` reports.

        Args:
            example: to be read.

        Returns:
            The pieces in the order of the prepared text.

        Raises:
            ModelError: if the model is a frozen encoder's.
        """
        from modicum.sarcasm.explanation import shares_of

        return shares_of(self.model, self.preparation.text(example), head="sarcastic")

    def explain_pair(self, pair: Pair) -> tuple[list[Share], list[Share]]:
        """Say what each piece of two texts adds to the logit that the second is the sarcastic one.

        That logit is the second text's score less the first one's: the shares in the score of the second count as they
        are, those of the first with the opposite sign. Of n-grams all shares together sum up to the logit, exactly. Of
        an encoder they sum up to what is left of it without the lengths of the texts: less the logit of two texts of
        as many tokens that are all padding, which is 0 where both have equally many. To that come the errors that
        `encoder.explanation` reports of each.

        Args:
            pair: of texts that mean the same.

        Returns:
            The pieces of the first and of the second text, each in the order of the prepared text. To exchange the
            texts exchanges the lists and changes all signs.

        Raises:
            ModelError: if the model ranks no texts, or is a frozen encoder's.
        """
        from modicum.sarcasm.explanation import shares_of

        first, second = (shares_of(self.model, text, head="rank") for text in self.preparation.pair(pair).texts)
        return [replace(it, share=-it.share) for it in first], second

    def save(self, folder: Path) -> None:
        """Write a new folder: system.json and the model, without a pickle.

        Args:
            folder: not there yet, or empty.

        Raises:
            ConfigError: if the folder has something in it, or cannot be written.
        """
        with new_folder(folder) as part:
            self.model.save(part / _MODEL)
            told = {"preset": self.preset, "why": self.why}
            content = {"preparation": asdict(self.preparation), "decision": self.decision.to_dict()}
            _FORMAT.write(part / _DOCUMENT, content | told)

    @classmethod
    def load(cls, folder: Path) -> SarcasmSystem:
        """Read what `save` wrote.

        Args:
            folder: of the system.

        Raises:
            ConfigError: if there is no such folder.
            DataError: if it holds no system, or one of another version, or a damaged one.
            MissingExtraError: if a library that its model needs is not installed.
            ModelError: if the encoder in it cannot be read.
        """
        path = folder / _DOCUMENT
        if not path.is_file():
            raise ConfigError(f"{folder} holds no sarcasm system: there is no {_DOCUMENT}.", hint=_FORMAT.hint)
        read = _FORMAT.read(path, _Written)
        try:
            decision = Decision.from_dict(read.decision)
        except DataError as error:
            raise DataError(f"{path}: {error.what}", hint=_FORMAT.hint) from error
        model = _model(folder / _MODEL)
        return cls(model=model, preparation=read.preparation, decision=decision, preset=read.preset, why=read.why)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Written:
    preparation: Preparation
    decision: dict[str, Any]
    preset: str = ""
    why: str = ""


def _model(folder: Path) -> TextModel:
    if (folder / DESCRIPTION).is_file():
        return StackedModel.load(folder, load=_model)
    if (folder / "weights.safetensors").is_file():
        from modicum.sarcasm.linear import LinearModel

        return LinearModel.load(folder)
    if not folder.is_dir():
        raise DataError(f"{folder} is missing.", hint=_FORMAT.hint)
    from modicum.sarcasm.encoder.model import EncoderModel, EnsembleModel

    single = (folder / "config.json").is_file()
    return EnsembleModel((EncoderModel.load(folder),)) if single else EnsembleModel.load(folder)
