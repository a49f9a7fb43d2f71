"""A trained system (a model, how features are scaled for it, what its outputs are scored by), and several as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from modicum.core.devices import check_device
from modicum.core.extras import quiet_transformers
from modicum.core.files import new_folder
from modicum.core.pretrained import open_folder
from modicum.core.storage import Format
from modicum.errors import ConfigError, DataError
from modicum.fusion.batches import Collator, Items, Scaling, WordTokenizer, open_tokenizer, split_words
from modicum.fusion.configuration import CubeMLPConfig
from modicum.fusion.metrics import Task, task_scores
from modicum.fusion.modeling import CubeMLPForPrediction
from modicum.fusion.recordings import FloatArray, Recordings
from modicum.fusion.training import Training, compute_logits, with_text_states

_DOCUMENT, _MODEL, _TOKENIZER = "system.json", "model", "tokenizer"
_HINT = "Give a folder that FusionSystem.save or `modicum fusion train` wrote, complete."
_FORMAT = Format(name="modicum.fusion", version=1, what="fusion system", hint=_HINT)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Written:
    task: Task
    classes: tuple[str, ...]
    max_words: int
    scaling: Scaling


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
        return self.model.config

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
        return self.predict_items(items.with_present(present), batch=batch)

    def score(self, recordings: Recordings, *, present: npt.ArrayLike | None = None) -> dict[str, float]:
        """Compare estimates with labels, by the scores of the task; ``present`` is that of `predict`.

        Raises:
            ConfigError: if the streams or classes are others than in training.
            DataError: if a sample cannot be read, or there are no labels.
        """
        return self.score_items(self.items(recordings).with_present(present))

    def items(self, recordings: Recordings) -> Items:
        """Prepare recordings once, to ask for several subsets of their modalities."""
        if recordings.classes and recordings.classes != self.classes:
            raise ConfigError(
                f"The classes are {', '.join(recordings.classes)}, but the system tells apart "
                f"{', '.join(self.classes) or 'none'}.",
                hint="Give labels of the same classes in the same order.",
            )
        items = prepare(self.config, self.scaling, recordings, tokenizer=self.tokenizer, max_words=self.max_words)
        return with_text_states(self.model, items, Collator.of(self.tokenizer), device=str(self.model.device))

    def predict_items(self, items: Items, *, batch: int = 64) -> FloatArray:
        """Estimate as `predict` does, from what `items` prepared."""
        logits = compute_logits(self.model, items, Collator.of(self.tokenizer), batch=batch)
        if self.task == "classes":
            return logits.softmax(1).numpy()
        return (logits.squeeze(1) if self.config.outputs == 1 else logits).numpy()

    def score_items(self, items: Items) -> dict[str, float]:
        """Score as `score` does, what `items` prepared."""
        if items.labels is None or not len(items):
            raise DataError("The recordings have no labels to score by.", hint="Give one for each sample.")
        return task_scores(self.task, items.labels, self.predict_items(items))

    def save(self, folder: Path) -> None:
        """Write a new folder: system.json, the model as safetensors and the tokenizer, without a pickle.

        Raises:
            ConfigError: if the folder has something in it, or cannot be written.
        """
        written = _Written(task=self.task, classes=self.classes, max_words=self.max_words, scaling=self.scaling)
        with new_folder(folder) as part, quiet_transformers():
            self.model.save_pretrained(part / _MODEL)
            if self.tokenizer is not None:
                self.tokenizer.save_pretrained(part / _TOKENIZER)
            _FORMAT.write(part / _DOCUMENT, asdict(written))

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu") -> FusionSystem:
        """Read what `save` wrote, for a device.

        Raises:
            ConfigError: if there is no such folder or device, its tokenizer cannot be read, or its parts do not fit.
            DataError: if it holds no system, or one of another version, or a part of one.
            ModelError: if its weights are damaged, incomplete or of other sizes.
        """
        check_device(device)
        if not folder.is_dir():
            raise ConfigError(f"There is no folder {folder}.", hint=_HINT)
        read = _FORMAT.read(folder / _DOCUMENT, _Written)
        model: Any = open_folder(CubeMLPForPrediction, Path(_part(folder, _MODEL)), hint=_HINT)
        wanted = {stream.name: stream.size for stream in model.modalities if not stream.text}
        for values in (read.scaling.means, read.scaling.deviations):
            if (sizes := {name: len(each) for name, each in values.items()}) != wanted:
                raise DataError(f"A scaling has the sizes {sizes}, but the model's streams {wanted}.", hint=_HINT)
        model.to(device)
        tokenizer = None if model.text is None else open_tokenizer(_part(folder, _TOKENIZER), model.text.encoder)
        known = {"task": read.task, "classes": read.classes, "max_words": read.max_words}
        return cls(model=model, scaling=read.scaling, tokenizer=tokenizer, **known)


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """One score over seeds."""

    mean: float  # over the seeds
    std: float  # of the sample, with n - 1; 0 for one seed
    values: tuple[float, ...]  # of each seed

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Measure the scores of all seeds."""
        std = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        return cls(mean=float(np.mean(values)), std=std, values=tuple(values))


@dataclass(frozen=True, slots=True)
class FusionEnsemble:
    """Systems of the same configuration and other seeds; what it predicts is their mean.

    Args:
        systems: by seed, at least one.
    """

    systems: Mapping[int, FusionSystem]

    def predict(self, recordings: Recordings, *, present: npt.ArrayLike | None = None) -> FloatArray:
        """Give the mean of what the systems predict; see `FusionSystem.predict`."""
        return np.mean([system.predict(recordings, present=present) for system in self.systems.values()], axis=0)

    def score(self, recordings: Recordings) -> dict[str, Spread]:
        """Score each system on its own; of the mean of the systems nothing is said. See `FusionSystem.score`."""
        scores = [system.score(recordings) for system in self.systems.values()]
        return {name: Spread.of([score[name] for score in scores]) for name in scores[0]}

    def save(self, folder: Path) -> None:
        """Write a new folder with one of a system for each seed; see `FusionSystem.save`."""
        with new_folder(folder) as part:
            for seed, system in self.systems.items():
                system.save(part / f"seed-{seed}")

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu") -> FusionEnsemble:
        """Read what `save` wrote, or a single system; see `FusionSystem.load`."""
        parts = {int(part.name[5:]): part for part in folder.glob("seed-*") if part.name[5:].isdecimal()}
        if not parts:
            return cls({0: FusionSystem.load(folder, device=device)})
        return cls({seed: FusionSystem.load(parts[seed], device=device) for seed in sorted(parts)})


def prepare(
    config: CubeMLPConfig, scaling: Scaling, recordings: Recordings, *, tokenizer: WordTokenizer | None, max_words: int
) -> Items:
    """Scale recordings and split their words, as a model of that configuration takes them."""
    pieces = None
    if config.text_encoder is not None:
        if tokenizer is None:
            hint = "Give that of its text encoder."
            raise ConfigError("The model reads text, but there is no tokenizer.", hint=hint)
        if recordings.words is not None:
            pieces = split_words(tokenizer, recordings.words, max_words=max_words)
    return Items(config, recordings, scaling=scaling, pieces=pieces, max_words=max_words)


def _part(folder: Path, name: str) -> str:
    # transformers would look for a folder that is not there on the hub.
    if not (folder / name).is_dir():
        raise DataError(f"{folder} has no folder {name}.", hint=_HINT)
    return str(folder / name)
