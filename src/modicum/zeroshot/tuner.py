"""Go-tuning from the corpus to the answers, by one object that can be saved."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from modicum.core.devices import check_device
from modicum.core.extras import require
from modicum.core.files import new_folder
from modicum.core.pretrained import OFFLINE, open_folder, open_part
from modicum.core.quiet import quiet_transformers
from modicum.core.settings import as_json
from modicum.core.storage import Format, Tensors, read_tensors, write_tensors
from modicum.errors import ConfigError, DataError, StateError
from modicum.zeroshot.configuration import FitSettings, MineSettings, Route
from modicum.zeroshot.encoder import COSINE_SCALE, TextEncoder, tune_encoder
from modicum.zeroshot.functional import consistency_margin, subspace_overlap
from modicum.zeroshot.head import GoHead, fit_head
from modicum.zeroshot.index import CorpusIndex
from modicum.zeroshot.mining import MASK, MinedSet, mine, suggest
from modicum.zeroshot.task import Task

_FORMAT = Format(
    name="modicum.zeroshot", version=1, what="Go-tuned model", hint="Give a folder that GoTuner.save_pretrained wrote."
)


@dataclass(frozen=True, kw_only=True)
class FitReport:
    """What a fit came to, all of it without labels: on mined rows that were held out."""

    route: Route
    rows: int  # trained on
    held_out: int  # rows that were not
    accuracy: float  # on those, whose labels are those of their label words
    cosine_accuracy: float  # there, without training
    residual: float  # of the Go-head's optimality conditions
    overlap: float  # share of the learnt label rows that lies in the label subspace of the cosine rows
    seconds: float


@dataclass(frozen=True, slots=True)
class _Saved:
    task: dict[str, Any]
    route: Route
    settings: dict[str, Any]


class GoTuner:
    """A small model that learns a task from label words and raw text.

    Until `fit` it answers by cosine between a text and its labels in the templates of the task, which is the baseline.

    Args:
        model: a hub id, a folder, or "offline" for the packaged MiniLM, whose contrastive training saw labelled NLI.
        task: labels, their words and templates.
        settings: of `fit`.
        mining: of `mine`.
        device: "cpu" or "cuda", for training.

    Raises:
        ConfigError: if there is no such device.

    Example:
        >>> task = Task(["negative", "positive"], {"negative": ["terrible"], "positive": ["great"]})
        >>> tuner = GoTuner(task=task)
        >>> mined = tuner.mine("reviews.txt")  # doctest: +SKIP
        >>> tuner.fit(mined).predict(["I would watch it again."])  # doctest: +SKIP
        ['positive']

    Source:
        Xu et al. 2022 (arXiv:2212.10461) for the idea; the Go-head and the tuning of plain encoders are ours.
    """

    def __init__(
        self,
        model: str = OFFLINE,
        *,
        task: Task,
        settings: FitSettings | None = None,
        mining: MineSettings | None = None,
        device: str = "cpu",
    ) -> None:
        check_device(device)
        self.model, self.task, self.device = str(model), task, device
        self.settings, self.mining = settings or FitSettings(), mining or MineSettings()
        self.route: Route | None = None
        self.report: FitReport | None = None
        self._index: CorpusIndex | None = None
        self._encoder: TextEncoder | None = None
        self._head: GoHead | None = None
        self._held: tuple[Tensor, Tensor] | None = None  # scores and labels of the rows that were held out

    @property
    def encoder(self) -> TextEncoder:
        """The encoder, opened when it is first used."""
        if self._encoder is None:
            self._encoder = TextEncoder.open(self.model, self.settings.chunk)
        return self._encoder

    def mine(
        self,
        corpus: CorpusIndex | Iterable[str] | Path | str,
        *,
        evaluation: Iterable[str] = (),
        seed: int = 0,
    ) -> MinedSet:
        """Mine balanced rows for the task.

        Args:
            corpus: an index, or what `CorpusIndex.build` takes: documents, a file or a folder. An index serves many
                tasks.
            evaluation: texts that the model will be judged by; sentences that share 13 words in a row are left out.
            seed: of the draw.

        Returns:
            The rows, with a report of what was found.

        Raises:
            DataError: if a label is not found; the hint names words that would be.
        """
        index = corpus if isinstance(corpus, CorpusIndex) else CorpusIndex.build(corpus)
        self._index = index
        texts = list(evaluation)
        return mine(
            index,
            self.task,
            self.mining,
            seed=seed,
            overlapping=index.overlapping(texts) if texts else None,
            suggest=partial(self.suggest_words, count=5),
        )

    def suggest_words(self, label: str, count: int = 10) -> list[str]:
        """Suggest words for a label: frequent ones of the corpus that was mined last, near the label's own.

        Args:
            label: one of the task, or another word.
            count: words at most.

        Returns:
            The best first; nearness is that of the model's static embeddings, so look at them before use.

        Raises:
            StateError: if nothing was mined yet.
        """
        if self._index is None:
            raise StateError("No corpus was mined yet.", hint="Call mine first: the words come from its corpus.")
        return suggest(self._index, self.task, label, self.encoder.word_vectors, count)

    def fit(self, mined: MinedSet, route: Route = "head", seed: int = 0) -> GoTuner:
        """Learn from mined rows.

        Args:
            mined: what `mine` gave.
            route: "head" learns label rows on frozen features, in closed form; "encoder" trains all from there.
            seed: of the order and of dropout; the Go-head has none.

        Returns:
            Itself.

        Raises:
            ConfigError: if there is no such route, or the rows are of another task.
            ModelError: if the model or its tokenizer does not fit.
        """
        if route not in ("head", "encoder"):
            raise ConfigError(f"route must be head or encoder, got {route!r}.", hint="Use head, the fastest.")
        if int(mined.labels.max()) >= len(self.task.labels):
            raise ConfigError(
                f"The rows have {int(mined.labels.max()) + 1} labels, the task {len(self.task.labels)}.",
                hint="Mine them again for this task.",
            )
        began = time.monotonic()
        self._encoder, self._head = None, None  # a second fit begins from the model, not from the first
        encoder, labels = self.encoder, torch.from_numpy(mined.labels)
        encoder.check_plain()
        encoder.check_known(mined.texts)
        texts = [" ".join(text.replace(MASK, " ").split()) for text in mined.texts]
        features, cosine = encoder.features(texts), self._cosine()
        rows = self._consistent(mined, cosine.scores(features))
        head = fit_head(features[rows], labels[rows], self.settings.c)
        if route == "encoder":
            chosen = [texts[row] for row in rows]
            head = tune_encoder(encoder, head, chosen, labels[rows], self.settings, seed=seed, device=self.device)
            tuned = encoder.features([texts[row] for row in mined.holdout])
        else:
            tuned = features[mined.holdout]
        held = labels[mined.holdout]
        self._head, self.route, self._held = head, route, (head.scores(tuned), held)
        self.report = FitReport(
            route=route,
            rows=len(rows),
            held_out=len(held),
            accuracy=_accuracy(self._held[0], held),
            cosine_accuracy=_accuracy(cosine.scores(features[mined.holdout]), held),
            residual=head.residual,
            overlap=subspace_overlap(head.weight.double(), cosine.weight.double()),
            seconds=time.monotonic() - began,
        )
        return self

    def scores(self, texts: Sequence[str]) -> Tensor:
        """Score texts; those of long ones are the mean over their chunks.

        Args:
            texts: N texts.

        Returns:
            Logarithms of probabilities up to a constant a text, float32, shape (N, K).

        Raises:
            DataError: if a text is empty.
        """
        _check_texts(texts)
        self.encoder.check_plain()
        head = self._head or self._cosine()
        return head.scores(self.encoder.features(texts))

    def predict(self, texts: Sequence[str]) -> list[str]:
        """Give the label of each text.

        Args:
            texts: N texts.

        Returns:
            N labels.
        """
        return [self.task.labels[int(best)] for best in self.scores(texts).argmax(1).tolist()]

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Give the probability of each label.

        Args:
            texts: N texts.

        Returns:
            Shape (N, K), in the order of the labels of the task.
        """
        return self.scores(texts).softmax(1).numpy()

    def save_pretrained(self, folder: Path | str) -> None:
        """Write the model as transformers does, with the task and the label rows beside it.

        Args:
            folder: a new folder.

        Raises:
            StateError: if nothing was fitted.
        """
        if self._head is None or self.route is None or self._held is None:
            raise StateError("Nothing was fitted yet.", hint="Call fit first.")
        tensors = {"weight": self._head.weight, "bias": self._head.bias}
        tensors |= {"held_scores": self._held[0], "held_labels": self._held[1]}
        with new_folder(Path(folder)) as part, quiet_transformers():
            self.encoder.network.save_pretrained(part)
            self.encoder.tokenizer.save_pretrained(part)
            write_tensors(part / "head.safetensors", {name: tensor.numpy() for name, tensor in tensors.items()})
            saved = {"task": self.task.as_json(), "route": self.route, "settings": as_json(self.settings)}
            _FORMAT.write(part / "gotuning.json", saved)

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> GoTuner:
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
        tuner = cls(str(path), task=Task(**saved.task), settings=FitSettings(**saved.settings))
        network = open_folder(
            require("transformers", extra="text", purpose="A text encoder").AutoModel, path, hint=hint
        )
        tuner._encoder = TextEncoder(network, open_part("AutoTokenizer", str(path), extra="text"), tuner.settings.chunk)
        tensors = Tensors(path, read_tensors(path / "head.safetensors", hint=hint)[0], hint=hint)
        shape = (len(tuner.task.labels), network.config.hidden_size)
        weight, bias = (
            tensors.take("weight", np.float32, shape=shape),
            tensors.take("bias", np.float32, shape=shape[:1]),
        )
        scores = tensors.take("held_scores", np.float32, shape=(None, shape[0]))
        labels = tensors.take("held_labels", np.int64, shape=(len(scores),))
        tensors.check_empty()
        tuner.route, tuner._head = saved.route, GoHead(torch.from_numpy(weight), torch.from_numpy(bias), math.nan)
        tuner._held = torch.from_numpy(scores), torch.from_numpy(labels)
        return tuner

    def _cosine(self) -> GoHead:
        rows = COSINE_SCALE * self.encoder.cosine_rows(self.task)
        return GoHead(rows, torch.zeros(len(rows)), math.nan)

    def _consistent(self, mined: MinedSet, scores: Tensor) -> npt.NDArray[np.int64]:
        """Give the training rows, of each label without the share that cosine contradicts most."""
        rows = mined.training
        if not self.settings.drop:
            return rows
        margins = consistency_margin(scores[rows], torch.from_numpy(mined.labels[rows])).numpy()
        kept: list[npt.NDArray[np.int64]] = []
        for label in np.unique(mined.labels[rows]):
            own = rows[mined.labels[rows] == label]
            order = np.argsort(margins[mined.labels[rows] == label], kind="stable")
            kept.append(own[order[int(self.settings.drop * len(own)) :]])
        return np.sort(np.concatenate(kept))


def _accuracy(scores: Tensor, labels: Tensor) -> float:
    return float((scores.argmax(1) == labels).float().mean())


def _check_texts(texts: Sequence[str]) -> None:
    if isinstance(texts, str):
        raise ConfigError("A list of texts was expected, got one text.", hint="Write [text].")
    for number, text in enumerate(texts, start=1):
        if not text.strip():
            raise DataError(f"Text {number} of {len(texts)} is empty.", hint="Leave out what has no words.")
