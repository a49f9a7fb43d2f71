"""A trained system: a model, how features are scaled for it, and what its outputs are scored by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from modicum.core.devices import check_device
from modicum.core.extras import quiet_transformers
from modicum.core.files import new_folder
from modicum.core.pretrained import open_folder
from modicum.core.storage import Format
from modicum.errors import ConfigError, DataError
from modicum.fusion.batches import Collator, Items
from modicum.fusion.configuration import CubeMLPConfig
from modicum.fusion.metrics import class_scores, depression_scores, sentiment_scores
from modicum.fusion.modeling import CubeMLPForPrediction
from modicum.fusion.recordings import FloatArray, Recordings
from modicum.fusion.scaling import Lists, Scaling
from modicum.fusion.training import Training, compute_logits, with_text_states
from modicum.fusion.words import WordTokenizer, open_tokenizer, split_words

Task: TypeAlias = Literal["sentiment", "depression", "classes"]

_DOCUMENT, _MODEL, _TOKENIZER = "system.json", "model", "tokenizer"
_HINT = "Give a folder that FusionSystem.save or `modicum fusion train` wrote, complete."
_FORMAT = Format(name="modicum.fusion", version=1, what="fusion system", hint=_HINT)
_SCORES = {"sentiment": sentiment_scores, "depression": depression_scores}


@dataclass(frozen=True, kw_only=True, slots=True)
class FusionSystem:
    """Estimates from recordings; what a stream is called and in which order they come is in the model's configuration.

    Args:
        model: trained, in evaluation mode.
        scaling: of the features, measured on the training split.
        task: by which `score` scores.
        classes: their names in the order of the outputs; empty where there are none.
        tokenizer: of the text encoder; None without text.
        max_words: of a text that are read.
        training: what the training took; None for a system that was loaded.

    Raises:
        ConfigError: if the task or the names of the classes are not those of the model's outputs.
    """

    model: CubeMLPForPrediction
    scaling: Scaling
    task: Task
    classes: tuple[str, ...] = ()
    tokenizer: WordTokenizer | None = None
    max_words: int = 100
    training: Training | None = None

    def __post_init__(self) -> None:
        if (self.task == "classes") != (self.config.loss == "cross_entropy"):
            raise ConfigError(
                f"The task is {self.task!r}, but the model was made for the loss {self.config.loss!r}.",
                hint='Use "classes" with "cross_entropy", and another task with another loss.',
            )
        if self.classes and len(self.classes) != self.config.outputs:
            raise ConfigError(
                f"There are {len(self.classes)} names of classes for {self.config.outputs} outputs.",
                hint="Give each output its name.",
            )

    @property
    def config(self) -> CubeMLPConfig:
        """That of the model."""
        config: Any = self.model.config
        return config

    def predict(self, recordings: Recordings, *, present: npt.ArrayLike | None = None, batch: int = 64) -> FloatArray:
        """Estimate; labels that recordings carry are not looked at.

        Args:
            recordings: as they were read, not scaled.
            present: which modalities are used, shape (n, M) in the order of the configuration; None uses all.
            batch: samples at once, of no influence on the result beyond rounding.

        Returns:
            Targets, shape (n,) or (n, targets); for classes their probabilities, shape (n, classes).

        Raises:
            ConfigError: if the streams are others than in training.
            DataError: if a sample cannot be read.
        """
        items = self.items(replace(recordings, labels=None, classes=()))
        return self.predict_items(items if present is None else items.with_present(present), batch=batch)

    def score(self, recordings: Recordings, *, present: npt.ArrayLike | None = None) -> dict[str, float]:
        """Compare estimates with labels.

        Args:
            recordings: with labels.
            present: as for `predict`.

        Returns:
            The scores of the task; see `task_scores`.

        Raises:
            ConfigError: if the streams or classes are others than in training.
            DataError: if a sample cannot be read, or there are no labels.
        """
        items = self.items(recordings)
        return self.score_items(items if present is None else items.with_present(present))

    def items(self, recordings: Recordings) -> Items:
        """Prepare recordings once, to ask for several subsets of their modalities.

        Args:
            recordings: as they were read.

        Returns:
            The samples, scaled and split into pieces, with what frozen layers make of these.

        Raises:
            ConfigError: if the streams or classes are others than in training.
            DataError: if a sample cannot be read.
        """
        if recordings.classes and recordings.classes != self.classes:
            raise ConfigError(
                f"The classes are {', '.join(recordings.classes)}, but the system tells apart "
                f"{', '.join(self.classes) or 'none'}.",
                hint="Give labels of the same classes in the same order.",
            )
        items = prepare(self.config, self.scaling, recordings, tokenizer=self.tokenizer, max_words=self.max_words)
        return with_text_states(self.model, items, self.collator, device=str(self.model.device))

    def predict_items(self, items: Items, *, batch: int = 64) -> FloatArray:
        """Estimate as `predict` does, from what `items` prepared."""
        logits = compute_logits(self.model, items, self.collator, batch=batch)
        if self.task == "classes":
            return logits.softmax(1).numpy()
        return (logits.squeeze(1) if self.config.outputs == 1 else logits).numpy()

    def score_items(self, items: Items) -> dict[str, float]:
        """Score as `score` does, what `items` prepared.

        Args:
            items: with labels.

        Returns:
            The scores.

        Raises:
            DataError: if there are no labels.
        """
        if items.labels is None:
            raise DataError("The recordings have no labels to score by.", hint="Give one for each sample.")
        return task_scores(self.task, items.labels, self.predict_items(items))

    @property
    def collator(self) -> Collator:
        """Makes batches of the items."""
        return collator_for(self.tokenizer)

    def save(self, folder: Path) -> None:
        """Write a new folder: system.json, the model as safetensors and the tokenizer, without a pickle.

        Args:
            folder: not there yet, or empty.

        Raises:
            ConfigError: if the folder has something in it, or cannot be written.
        """
        document = {
            "task": self.task,
            "classes": list(self.classes),
            "max_words": self.max_words,
            "scaling": self.scaling.to_lists(),
        }
        with new_folder(folder) as part, quiet_transformers():
            self.model.save_pretrained(part / _MODEL)
            if self.tokenizer is not None:
                self.tokenizer.save_pretrained(part / _TOKENIZER)
            _FORMAT.write(part / _DOCUMENT, document)

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu") -> FusionSystem:
        """Read what `save` wrote.

        Args:
            folder: of the system.
            device: where the model shall run.

        Raises:
            ConfigError: if there is no such folder or device, its tokenizer cannot be read, or its parts do not fit.
            DataError: if it holds no system, or one of another version, or a part of one.
            ModelError: if its weights are damaged, incomplete or of other sizes.
        """
        check_device(device)
        if not folder.is_dir():
            raise ConfigError(f"There is no folder {folder}.", hint=_HINT)
        read = _FORMAT.read(folder / _DOCUMENT, _Written)
        scaling = Scaling.from_lists(read.scaling)
        model: Any = open_folder(CubeMLPForPrediction, Path(_part(folder, _MODEL)), hint=_HINT)
        model.to(device)
        tokenizer = None if model.config.text_encoder is None else open_tokenizer(_part(folder, _TOKENIZER))
        return cls(
            model=model,
            scaling=scaling,
            task=read.task,
            classes=read.classes,
            tokenizer=tokenizer,
            max_words=read.max_words,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Written:
    task: Task
    classes: tuple[str, ...]
    max_words: int
    scaling: Lists


def prepare(
    config: CubeMLPConfig,
    scaling: Scaling,
    recordings: Recordings,
    *,
    tokenizer: WordTokenizer | None,
    max_words: int,
) -> Items:
    """Scale recordings and split their words, as a model of that configuration takes them."""
    if config.text_encoder is not None and tokenizer is None:
        raise ConfigError("The model reads text, but there is no tokenizer.", hint="Give that of its text encoder.")
    pieces = None
    if config.text_encoder is not None and tokenizer is not None and recordings.words is not None:
        pieces = split_words(tokenizer, recordings.words, max_words=max_words)
    return Items(config, scaling.apply(recordings), pieces=pieces, max_words=max_words)


def collator_for(tokenizer: WordTokenizer | None) -> Collator:
    """Make the collator that goes with a tokenizer."""
    return Collator(padding=0 if tokenizer is None else int(tokenizer.pad_token_id))


def task_scores(task: Task, truth: npt.NDArray[Any], predicted: npt.NDArray[Any]) -> dict[str, float]:
    """Score predictions by what their task is scored by."""
    if task == "classes":
        return class_scores(truth, predicted.argmax(1))
    score = _SCORES[task]
    if truth.ndim == 1:
        return score(truth, predicted)
    each = [score(*pair) for pair in zip(truth.T, predicted.T, strict=True)]
    common = [name for name in each[0] if all(name in scores for scores in each)]
    means = {name: float(np.mean([scores[name] for scores in each])) for name in common}
    return means | {f"{name}_{place}": value for place, scores in enumerate(each) for name, value in scores.items()}


def _part(folder: Path, name: str) -> str:
    # transformers would look for a folder that is not there on the hub.
    if not (folder / name).is_dir():
        raise DataError(f"{folder} has no folder {name}.", hint=_HINT)
    return str(folder / name)
