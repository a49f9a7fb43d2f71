"""Go-tuning from the corpus to the answers, by one object that can be saved."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from modicum.core.devices import check_device
from modicum.core.pretrained import OFFLINE, lasting_name
from modicum.core.settings import as_json
from modicum.core.storage import Format
from modicum.core.tables import as_texts
from modicum.errors import ConfigError, DataError, ModelError, StateError
from modicum.zeroshot.calibration import Abstention, Calibration, check_calibration, corrected
from modicum.zeroshot.configuration import FitSettings, MineSettings, Route
from modicum.zeroshot.encoder import EncoderPredictor, TextEncoder, tune_encoder
from modicum.zeroshot.functional import consistency_margin, subspace_overlap
from modicum.zeroshot.generative import tune_words
from modicum.zeroshot.head import fit_head
from modicum.zeroshot.index import CorpusIndex
from modicum.zeroshot.mining import MASK, MinedSet, mine, suggest
from modicum.zeroshot.scoring import WORD_MODELS, WordPredictor, WordRoute, open_word_model
from modicum.zeroshot.storage import DOCUMENT, Predictor, load, save
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
    baseline_accuracy: float  # there, before training: that of cosine, or of the label words of the model
    residual: float | None  # of the Go-head's optimality conditions; None where there is none
    overlap: float | None  # share of the learnt label rows that lies in the label subspace of the cosine rows
    seconds: float


_Outcome: TypeAlias = tuple[Predictor, Tensor, Tensor, int, float | None]  # with scores of held-out rows, after, before


@dataclass(frozen=True, slots=True)
class _Saved:
    task: dict[str, Any]
    route: Route
    base: str
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
        self.base = lasting_name(self.model)  # where training began
        self.route: Route | None = None
        self.report: FitReport | None = None
        self._index: CorpusIndex | None = None
        self._encoder: TextEncoder | None = None
        self._fitted: Predictor | None = None
        self._held: tuple[Tensor, Tensor] | None = None  # scores and labels of the rows that were held out

    @property
    def encoder(self) -> TextEncoder:
        """The encoder, opened when it is first used."""
        if self._encoder is None:
            self._encoder = TextEncoder.open(self.model, self.settings.chunk)
        return self._encoder

    @property
    def predictor(self) -> Predictor:
        """What answers: what was fitted, or the baseline."""
        return self._fitted or self.baseline()

    def baseline(self) -> Predictor:
        """Open what answers without training: cosine, or for the routes mlm and seq2seq the words of the model.

        Returns:
            An object whose ``scores(texts)`` has the shape (N, K).

        Raises:
            ConfigError: if the model cannot be opened.
            ModelError: if that is the one which was tuned, or it is no plain encoder.
        """
        try:
            if self.route in WORD_MODELS:
                return WordPredictor(open_word_model(self.base, self.route), self.task, length=self.settings.chunk)
            encoder = TextEncoder.open(self.base, self.settings.chunk) if self.route == "encoder" else self.encoder
        except ConfigError as error:
            if self._fitted is None:
                raise
            raise ModelError(
                f"What {self.model} was tuned from cannot be opened. {error.what}", hint="Put it back where it was."
            ) from error
        encoder.check_plain()
        return EncoderPredictor.cosine(encoder, self.task)

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
            evaluation: texts that the model will be judged by; sentences that share 13 words in a row with one, or
                all words of a shorter one, are left out, as neighbours too.
            seed: of the draw.

        Returns:
            The rows, with a report of what was found.

        Raises:
            DataError: if a label is not found; the hint names words that would be.
        """
        texts = as_texts(evaluation, "evaluation")
        index = corpus if isinstance(corpus, CorpusIndex) else CorpusIndex.build(corpus)
        self._index = index
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
            ConfigError: if ``count`` is below 0.
            StateError: if nothing was mined yet.
        """
        if self._index is None:
            raise StateError("No corpus was mined yet.", hint="Call mine first: the words come from its corpus.")
        if count < 0:
            raise ConfigError(f"count must be 0 or more, got {count}.", hint="Try 10.")
        return suggest(self._index, self.task, label, self.encoder.word_vectors, count)

    def fit(self, mined: MinedSet, route: Route = "head", seed: int = 0) -> GoTuner:
        """Learn from mined rows.

        Args:
            mined: what `mine` gave.
            route: "head" learns label rows on frozen features, in closed form; "encoder" trains all from there; "mlm"
                and "seq2seq" train a masked LM or a T5-style model to predict label words.
            seed: of the order and of dropout; the Go-head has none.

        Returns:
            Itself.

        Raises:
            ConfigError: if there is no such route, or the rows are of another task.
            DataError: if all rows of a label are held out.
            ModelError: if the model or its tokenizer does not fit.
        """
        if route not in get_args(Route):
            raise ConfigError(f"route must be one of {', '.join(get_args(Route))}, got {route!r}.", hint="Use head.")
        mined.check_of(self.task)
        began, held = time.monotonic(), torch.from_numpy(mined.labels[mined.holdout])
        self._encoder, self._fitted, self.route = None, None, None  # a second fit begins from the model
        fitted = self._fit_words(mined, route, seed) if route in WORD_MODELS else self._fit_encoder(mined, route, seed)
        self._fitted, scores, before, rows, overlap = fitted
        self.route, self._held = route, (scores, held)
        self.report = FitReport(
            route=route,
            rows=rows,
            held_out=len(held),
            accuracy=_accuracy(scores, held),
            baseline_accuracy=_accuracy(before, held),
            residual=self._fitted.head.residual if isinstance(self._fitted, EncoderPredictor) else None,
            overlap=overlap,
            seconds=time.monotonic() - began,
        )
        return self

    def scores(self, texts: Sequence[str], calibration: Calibration = "none") -> Tensor:
        """Score texts; those of long ones are the mean over their chunks.

        Args:
            texts: N texts.
            calibration: "none"; "content-free" subtracts the scores of an empty text, which can cost much;
                "batch-mean" takes all classes for equally frequent among these texts. Both warn.

        Returns:
            Logarithms of probabilities up to a constant a text, float32, shape (N, K).

        Raises:
            ConfigError: if there is no such calibration.
            DataError: if a text is missing, empty or no text.
        """
        check_calibration(calibration)
        texts = written(texts)
        if not texts:
            return torch.zeros(0, len(self.task.labels))
        return corrected(self.predictor.scores, texts, calibration)

    def predict(self, texts: Sequence[str], calibration: Calibration = "none") -> list[str]:
        """Give the label of each text.

        Args:
            texts: N texts.
            calibration: as for `scores`.

        Returns:
            N labels.
        """
        return [self.task.labels[int(best)] for best in self.scores(texts, calibration).argmax(1)]

    def predict_proba(self, texts: Sequence[str], calibration: Calibration = "none") -> npt.NDArray[np.float32]:
        """Give the probability of each label.

        Args:
            texts: N texts.
            calibration: as for `scores`.

        Returns:
            Shape (N, K), in the order of the labels of the task.
        """
        return self.scores(texts, calibration).softmax(1).numpy()

    def abstention(self, alpha: float = 0.1) -> Abstention:
        """Find when not to answer, on the mined rows that were held out.

        Args:
            alpha: share of rows drawn as those whose own label may be called impossible.

        Returns:
            An object whose ``abstains(scores)`` tells for each text whether not exactly one label is possible. A
            user's texts are not drawn as mined rows are: a guide there, and no guarantee.

        Raises:
            StateError: if nothing was fitted.
        """
        if self._held is None:
            raise StateError("Nothing was fitted yet.", hint="Call fit first.")
        return Abstention.fit(*self._held, alpha=alpha)

    def save_pretrained(self, folder: Path | str) -> None:
        """Write the model as transformers does, with the task and the label rows beside it.

        Args:
            folder: a new folder.

        Raises:
            StateError: if nothing was fitted.
        """
        fitted = self._fitted
        if fitted is None or self._held is None:
            raise StateError("Nothing was fitted yet.", hint="Call fit first.")
        saved = {
            "task": self.task.as_json(),
            "route": self.route,
            "base": self.base,
            "settings": as_json(self.settings),
        }
        save(folder, [fitted], _FORMAT, saved, {"held_scores": self._held[0], "held_labels": self._held[1]})

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
        path = Path(folder)
        saved = _FORMAT.read(path / DOCUMENT, _Saved)
        tuner = cls(str(path), task=Task(**saved.task), settings=FitSettings(**saved.settings))
        tuner.route, tuner.base = saved.route, saved.base
        (tuner._fitted,), tensors = load(path, saved.route, [tuner.task], tuner.settings.chunk, _FORMAT)
        tuner._encoder = tuner._fitted.encoder if isinstance(tuner._fitted, EncoderPredictor) else None
        scores = tensors.take("held_scores", np.float32, shape=(None, len(tuner.task.labels)))
        labels = tensors.take("held_labels", np.int64, shape=(len(scores),))
        tensors.check_empty()
        tuner._held = torch.from_numpy(scores), torch.from_numpy(labels)
        return tuner

    def _fit_encoder(self, mined: MinedSet, route: Route, seed: int) -> _Outcome:
        encoder, labels, held = self.encoder, torch.from_numpy(mined.labels), mined.holdout
        encoder.check_plain()
        texts = mined.plain
        encoder.check_known(texts)
        features, cosine = encoder.features(texts), EncoderPredictor.cosine(encoder, self.task).head
        rows, before = self._consistent(mined, cosine.scores(features)), cosine.scores(features[held])
        head, seen = fit_head(features[rows], labels[rows], self.settings.c), features[held]
        if route == "encoder":
            known = [(head, [texts[row] for row in rows], labels[rows])]
            (head,) = tune_encoder(encoder, known, self.settings, seed=seed, device=self.device)
            seen = encoder.features([texts[row] for row in held])
        overlap = subspace_overlap(head.weight.double(), cosine.weight.double())
        return EncoderPredictor(encoder, head, self.task), head.scores(seen), before, len(rows), overlap

    def _fit_words(self, mined: MinedSet, route: WordRoute, seed: int) -> _Outcome:
        words = open_word_model(self.model, route)
        predictor = WordPredictor(words, self.task, length=self.settings.chunk)
        held = [mined.texts[row].replace(MASK, " ") for row in mined.holdout]
        before = predictor.scores(held)
        (fitted,) = tune_words(words, [(self.task, mined)], self.settings, seed=seed, device=self.device)
        return fitted, fitted.scores(held), before, len(mined.training), None

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


def written(texts: Iterable[str]) -> list[str]:
    """Give texts as a list; one without words is refused."""
    found = as_texts(texts, "texts")
    for place, text in enumerate(found):
        if not text.strip():
            raise DataError(f"texts[{place}] is empty.", hint="Leave out what has no words.")
    return found
