"""mgo: one model that is tuned on several tasks at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

import torch
from torch import Tensor

from modicum.core.devices import check_device
from modicum.core.pretrained import OFFLINE
from modicum.core.settings import as_json
from modicum.core.storage import Format
from modicum.errors import ConfigError, StateError
from modicum.zeroshot.configuration import FitSettings
from modicum.zeroshot.encoder import EncoderPredictor, TextEncoder, tune_encoder
from modicum.zeroshot.generative import Part, tune_words
from modicum.zeroshot.head import GoHead, fit_head
from modicum.zeroshot.scoring import WORD_MODELS, open_word_model
from modicum.zeroshot.storage import DOCUMENT, Predictor, load, save
from modicum.zeroshot.task import Task
from modicum.zeroshot.tuner import written

SharedRoute: TypeAlias = Literal["encoder", "mlm", "seq2seq"]

_FORMAT = Format(
    name="modicum.zeroshot.multitask",
    version=1,
    what="model of several tasks",
    hint="Give a folder that MultiTaskGoTuner.save_pretrained wrote.",
)


@dataclass(frozen=True, slots=True)
class _Saved:
    tasks: list[dict[str, Any]]
    route: SharedRoute
    settings: dict[str, Any]


class MultiTaskGoTuner:
    """One small model for several tasks, each with its own labels.

    Args:
        model: a hub id, a folder, or "offline" for the packaged MiniLM.
        settings: of `fit`; the share that ``drop`` leaves out must be 0.
        temperature: a task of n rows is drawn in proportion to n ** (1 / temperature): 1 takes all rows alike, and the
            larger it is, the more alike are the tasks.
        device: "cpu" or "cuda", for training.

    Raises:
        ConfigError: if the temperature is not above 0, ``drop`` is not 0 or there is no such device.

    Source:
        Xu et al. 2022 (arXiv:2212.10461) for the idea of mgo; how tasks are balanced is ours.
    """

    def __init__(
        self,
        model: str = OFFLINE,
        *,
        settings: FitSettings | None = None,
        temperature: float = 2.0,
        device: str = "cpu",
    ) -> None:
        check_device(device)
        if not (math.isfinite(temperature) and temperature > 0):
            raise ConfigError(f"temperature must be above 0, got {temperature}.", hint="Try 2.")
        self.model, self.temperature, self.device = str(model), temperature, device
        self.settings = settings or FitSettings()
        if self.settings.drop:
            raise ConfigError("drop is for one task alone.", hint="Leave it at 0.")
        self.route: SharedRoute | None = None
        #: one of each task, as `ZeroShotClassifier` takes it
        self.predictors: Sequence[Predictor] = []

    def fit(self, parts: Sequence[Part], route: SharedRoute = "encoder", seed: int = 0) -> Self:
        """Tune the model on the rows of all tasks, in mixed batches.

        Args:
            parts: tasks, each with what `GoTuner.mine` gave for it.
            route: "encoder" begins from the Go-head of each task; "mlm" and "seq2seq" predict label words.
            seed: of the order and of dropout.

        Returns:
            Itself. With one task the weights are those of the single-task run of the same seed, to the last bit.

        Raises:
            ConfigError: if there is no such route or no task, or rows are of another task.
            DataError: if all rows of a label are held out.
        """
        if route not in ("encoder", *WORD_MODELS):
            raise ConfigError(f"route must be encoder, mlm or seq2seq, got {route!r}.", hint="Use encoder.")
        if not parts:
            raise ConfigError("At least one task with its mined rows was expected, got none.", hint="Mine some first.")
        for task, mined in parts:
            mined.check_of(task)
        if route == "encoder":
            encoder = TextEncoder.open(self.model, self.settings.chunk)
            encoder.check_plain()
            self.predictors = self._tune_encoder(encoder, parts, seed)
        else:
            words = open_word_model(self.model, route)
            shared = {"seed": seed, "device": self.device, "temperature": self.temperature}
            self.predictors = tune_words(words, parts, self.settings, **shared)
        self.route = route
        return self

    def predict(self, texts: Sequence[str], task: int = 0) -> list[str]:
        """Give the label of each text.

        Args:
            texts: N texts.
            task: the number of the task, from 0 in the order of `fit`.

        Returns:
            N labels of that task.

        Raises:
            StateError: if nothing was fitted.
            ConfigError: if there is no such task.
            DataError: if a text is missing, empty or no text.
        """
        self._check_fitted()
        texts = written(texts)
        if task not in range(len(self.predictors)):
            raise ConfigError(f"The model has no task {task}.", hint=f"It has {len(self.predictors)}, counted from 0.")
        found = self.predictors[task]
        best = found.scores(texts).argmax(1).tolist() if texts else []
        return [found.task.labels[int(at)] for at in best]

    def save_pretrained(self, folder: Path | str) -> None:
        """Write the model as transformers does, with the tasks and their label rows beside it.

        Args:
            folder: a new folder.

        Raises:
            StateError: if nothing was fitted.
        """
        self._check_fitted()
        tasks = [each.task.as_json() for each in self.predictors]
        save(
            folder,
            self.predictors,
            _FORMAT,
            {"tasks": tasks, "route": self.route, "settings": as_json(self.settings)},
            {},
        )

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> MultiTaskGoTuner:
        """Open what `save_pretrained` wrote.

        Args:
            folder: where it is.

        Returns:
            The tuner; its predictions are the same to the last bit.

        Raises:
            DataError: if there is none, or it is damaged.
        """
        path = Path(folder)
        saved = _FORMAT.read(path / DOCUMENT, _Saved)
        tuner = cls(str(path), settings=FitSettings(**saved.settings))
        tasks = [Task(**task) for task in saved.tasks]
        tuner.predictors, tensors = load(path, saved.route, tasks, tuner.settings.chunk, _FORMAT)
        tensors.check_empty()
        tuner.route = saved.route
        return tuner

    def _check_fitted(self) -> None:
        if not self.predictors:
            raise StateError("Nothing was fitted yet.", hint="Call fit first.")

    def _tune_encoder(self, encoder: TextEncoder, parts: Sequence[Part], seed: int) -> list[EncoderPredictor]:
        known: list[tuple[GoHead, list[str], Tensor]] = []
        for _, mined in parts:
            texts, kept, labels = mined.plain, mined.training, torch.from_numpy(mined.labels)
            encoder.check_known(texts)
            head = fit_head(encoder.features(texts)[kept], labels[kept], self.settings.c)
            known.append((head, [texts[row] for row in kept], labels[kept]))
        shared: dict[str, Any] = {"seed": seed, "device": self.device, "temperature": self.temperature}
        heads = tune_encoder(encoder, known, self.settings, **shared)
        return [EncoderPredictor(encoder, head, task) for head, (task, _) in zip(heads, parts, strict=True)]
