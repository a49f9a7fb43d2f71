# pyright: reportUnknownMemberType=false
"""mgo: one model that is tuned on several tasks at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

import numpy as np
import torch
from torch import Tensor

from modicum.core.devices import check_device
from modicum.core.extras import quiet_transformers, require
from modicum.core.files import new_folder
from modicum.core.pretrained import OFFLINE, open_folder, open_part
from modicum.core.settings import as_json
from modicum.core.storage import Format, Tensors, read_tensors, write_tensors
from modicum.errors import ConfigError, StateError
from modicum.zeroshot.configuration import FitSettings
from modicum.zeroshot.encoder import EncoderPredictor, TextEncoder, tune_encoder
from modicum.zeroshot.generative import Part, tune_words
from modicum.zeroshot.head import GoHead, fit_head
from modicum.zeroshot.mining import MASK
from modicum.zeroshot.scoring import WORD_MODELS, WordPredictor, open_word_model
from modicum.zeroshot.task import Task

SharedRoute: TypeAlias = Literal["encoder", "mlm", "seq2seq"]

_FORMAT = Format(
    name="modicum.zeroshot.multitask",
    version=1,
    what="model of several tasks",
    hint="Give a folder that MultiTaskGoTuner.save_pretrained wrote.",
)
_HEADS = "heads.safetensors"


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
        self.predictors: list[EncoderPredictor] | list[WordPredictor] = []

    def fit(self, parts: Sequence[Part], route: SharedRoute = "encoder", seed: int = 0) -> Self:
        """Tune the model on the rows of all tasks, in mixed batches.

        Args:
            parts: tasks, each with what `GoTuner.mine` gave for it.
            route: "encoder" begins from the Go-head of each task; "mlm" and "seq2seq" predict label words.
            seed: of the order and of dropout.

        Returns:
            Itself. With one task the weights are those of the single-task run of the same seed, to the last bit.

        Raises:
            ConfigError: if there is no such route, or no task.
        """
        if route not in ("encoder", *WORD_MODELS):
            raise ConfigError(f"route must be encoder, mlm or seq2seq, got {route!r}.", hint="Use encoder.")
        if not parts:
            raise ConfigError("At least one task with its mined rows was expected, got none.", hint="Mine some first.")
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
        """
        self._check_fitted()
        if not 0 <= task < len(self.predictors):
            raise ConfigError(f"The model has no task {task}.", hint=f"It has {len(self.predictors)}, counted from 0.")
        found = self.predictors[task]
        return [found.task.labels[int(best)] for best in found.scores(texts).argmax(1).tolist()]

    def save_pretrained(self, folder: Path | str) -> None:
        """Write the model as transformers does, with the tasks and their label rows beside it.

        Args:
            folder: a new folder.

        Raises:
            StateError: if nothing was fitted.
        """
        self._check_fitted()
        first, tasks = self.predictors[0], [each.task.as_json() for each in self.predictors]
        with new_folder(Path(folder)) as part, quiet_transformers():
            if isinstance(first, WordPredictor):
                first.words.save_pretrained(part)
            else:
                first.encoder.network.save_pretrained(part)
                first.encoder.tokenizer.save_pretrained(part)
                heads = [each.head for each in self.predictors if isinstance(each, EncoderPredictor)]
                rows = {"weight": [head.weight for head in heads], "bias": [head.bias for head in heads]}
                write_tensors(part / _HEADS, {name: torch.cat(parts).numpy() for name, parts in rows.items()})
            saved = {"tasks": tasks, "route": self.route, "settings": as_json(self.settings)}
            _FORMAT.write(part / "gotuning.json", saved)

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
        path, hint = Path(folder), _FORMAT.hint
        saved = _FORMAT.read(path / "gotuning.json", _Saved)
        tuner = cls(str(path), settings=FitSettings(**saved.settings))
        tasks, chunk = [Task(**task) for task in saved.tasks], tuner.settings.chunk
        auto = "AutoModel" if saved.route == "encoder" else WORD_MODELS[saved.route].auto
        transformers = require("transformers", extra="text", purpose="A text encoder")
        model = open_folder(getattr(transformers, auto), path, hint=hint)
        tokenizer = open_part("AutoTokenizer", str(path), extra="text")
        tuner.route = saved.route
        if saved.route != "encoder":
            words = WORD_MODELS[saved.route](model, tokenizer)
            tuner.predictors = [WordPredictor(words, task, length=chunk) for task in tasks]
            return tuner
        tensors = Tensors(path / _HEADS, read_tensors(path / _HEADS, hint=hint)[0], hint=hint)
        sizes = [len(task.labels) for task in tasks]
        weight = tensors.take("weight", np.float32, shape=(sum(sizes), model.config.hidden_size))
        bias = tensors.take("bias", np.float32, shape=(sum(sizes),))
        tensors.check_empty()
        rows = zip(torch.from_numpy(weight).split(sizes), torch.from_numpy(bias).split(sizes), strict=True)
        encoder, heads = TextEncoder(model, tokenizer, chunk), [GoHead(*each, math.nan) for each in rows]
        tuner.predictors = [EncoderPredictor(encoder, head, task) for head, task in zip(heads, tasks, strict=True)]
        return tuner

    def _check_fitted(self) -> None:
        if not self.predictors:
            raise StateError("Nothing was fitted yet.", hint="Call fit first.")

    def _tune_encoder(self, encoder: TextEncoder, parts: Sequence[Part], seed: int) -> list[EncoderPredictor]:
        heads: list[GoHead] = []
        rows: list[tuple[list[str], Tensor]] = []
        for _, mined in parts:
            texts = [" ".join(text.replace(MASK, " ").split()) for text in mined.texts]
            encoder.check_known(texts)
            kept, labels = mined.training, torch.from_numpy(mined.labels)
            heads.append(fit_head(encoder.features(texts)[kept], labels[kept], self.settings.c))
            rows.append(([texts[row] for row in kept], labels[kept]))
        shared: dict[str, Any] = {"seed": seed, "device": self.device, "temperature": self.temperature}
        tuned = tune_encoder(encoder, heads, rows, self.settings, **shared)
        return [EncoderPredictor(encoder, head, task) for head, (task, _) in zip(tuned, parts, strict=True)]
