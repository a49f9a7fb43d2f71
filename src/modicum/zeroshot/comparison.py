"""Go-tuning as the comparison sees it: one corpus without labels, one encoder, and what is made of them."""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from modicum.core.extras import require
from modicum.core.method import Arm, Comparison, Job, Measurement, Method, Metric, Role, Source
from modicum.core.seeding import numpy_generator
from modicum.core.settings import refuse_idle
from modicum.errors import ConfigError
from modicum.zeroshot.configuration import COMPARISON, ComparisonSettings, FitSettings, MineSettings, Route
from modicum.zeroshot.data import SETS, read_own, read_published, read_written
from modicum.zeroshot.encoder import EncoderPredictor, TextEncoder, tune_encoder
from modicum.zeroshot.functional import calibrated, prior_bias
from modicum.zeroshot.generative import shuffled_classes, tune_words
from modicum.zeroshot.head import fit_head
from modicum.zeroshot.index import CorpusIndex
from modicum.zeroshot.mining import MinedSet
from modicum.zeroshot.scoring import WordPredictor, open_word_model
from modicum.zeroshot.task import Task
from modicum.zeroshot.tuner import GoTuner
from modicum.zeroshot.verdict import mcnemar, vader_scores

_NEAR = 20  # words near in frequency among which one is drawn

Scores: TypeAlias = tuple[Tensor, list[Tensor]]  # with all templates, and with each alone where they are used


@dataclass(frozen=True, slots=True)
class Shared:
    """What the arms of a seed share."""

    task: Task
    fit: FitSettings
    index: CorpusIndex
    mined: MinedSet
    texts: list[str]  # those that are scored, and an empty one for the content-free calibration
    truth: npt.NDArray[np.int64]
    sets: dict[str, slice]
    features: Tensor  # of the texts, by the encoder as it is
    cosine: Scores

    def tuner(self, job: Job, task: Task | None = None) -> GoTuner:
        """Make a tuner with the settings that all arms have."""
        mining = MineSettings(per_class=job.settings.per_class)
        model: str = job.settings.model
        return GoTuner(model, task=task or self.task, settings=self.fit, mining=mining, device=job.device)


Answer: TypeAlias = Callable[[Job, Shared], Scores]


def setup(job: Job) -> Shared:
    """Read texts, mine the corpus and score by cosine."""
    settings: ComparisonSettings = job.settings
    if settings.task == "sentiment":
        require("vaderSentiment", extra="sentiment", purpose="A comparison on sentiment")  # at once, not after hours
    if (settings.task == "own") != (job.data is not None):
        raise ConfigError("task=own and --data belong together.", hint="Give both, or neither.")
    if job.budget == "demo" and job.data is None:
        names, where = ["task", "documents", "texts"], "in the demo, which has sentences of its own"
        refuse_idle(settings, COMPARISON["demo"], names, where=where, hint="Add --budget full.")
    if job.data is not None:
        data = read_own(job.data, settings)
    else:
        data = read_written() if job.budget == "demo" else read_published(settings)
    fit, index = FitSettings(steps=settings.steps), CorpusIndex.build(data.documents)
    mining = MineSettings(per_class=settings.per_class)
    tuner = GoTuner(settings.model, task=data.task, settings=fit, mining=mining)
    mined = tuner.mine(index, evaluation=data.texts, seed=job.seed)
    texts = [*data.texts, ""]
    features = tuner.encoder.features(texts)
    cosine = by_cosine(tuner.encoder, data.task, features)
    return Shared(data.task, fit, index, mined, texts, np.array(data.truth), data.sets, features, cosine)


def by_cosine(encoder: TextEncoder, task: Task, features: Tensor) -> Scores:
    """Score by cosine with the templates of the task."""
    tasks = (task, *(replace(task, templates=[template]) for template in task.cosine_templates))
    every, *each = (EncoderPredictor.cosine(encoder, task).head.scores(features) for task in tasks)
    return every, each


def by_words(predictor: WordPredictor, texts: Sequence[str]) -> Scores:
    """Score by the label words of a model with the templates of the task."""
    task, words, length = predictor.task, predictor.words, predictor.length
    tasks = (replace(task, templates=[template]) for template in predictor.templates)
    return predictor.scores(texts), [WordPredictor(words, each, length=length).scores(texts) for each in tasks]


def cosine(_: Job, shared: Shared) -> Scores:
    """Score by cosine, without training."""
    return shared.cosine


def tuned(job: Job, shared: Shared, *, route: Route | None = None, shuffled: bool = False) -> Scores:
    """Tune on the mined rows, by the route of the job if none is given."""
    mined = shuffled_classes(shared.mined, job.seed) if shuffled else shared.mined
    predictor = shared.tuner(job).fit(mined, route or job.settings.route, job.seed).predictor
    if isinstance(predictor, WordPredictor):
        return by_words(predictor, shared.texts)
    if route == "head":
        return predictor.head.scores(shared.features), []
    return predictor.scores(shared.texts), []


def random_masking(job: Job, shared: Shared) -> Scores:
    """Mask the mined sentences of a masked LM at random, for as many steps."""
    words = open_word_model(job.settings.model, "mlm")
    given: dict[str, Any] = {"seed": job.seed, "device": job.device, "objective": "random"}
    (predictor,) = tune_words(words, [(shared.task, shared.mined)], shared.fit, **given)
    return by_words(predictor, shared.texts)


def random_words(job: Job, shared: Shared) -> Scores:
    """Go-tune on drawn words that are as frequent as the label words, and score the task by cosine."""
    # A plain encoder predicts no masked tokens. What it can do of random masking is to tell which of some words that
    # have nothing to do with the task was taken out of a sentence: the same steps, loss and corpus.
    tuner = shared.tuner(job, random_verbalizer(shared.index, shared.task, job.seed))
    index = shared.index
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are few rows, which nobody can help
        mined = tuner.mine(index, evaluation=shared.texts[:-1], seed=job.seed)
    tuner.fit(mined, "encoder", job.seed)
    return by_cosine(tuner.encoder, shared.task, tuner.encoder.features(shared.texts))


def random_verbalizer(index: CorpusIndex, task: Task, seed: int) -> Task:
    """Draw for each label word another one that is about as frequent in the corpus."""
    generator = numpy_generator(seed, "random words")
    known = {word for words in task.verbalizer.values() for word in words}
    free = np.array([word.isalpha() and word not in known for word in index.words])
    drawn: dict[str, list[str]] = {label: [] for label in task.labels}
    for label, words in task.verbalizer.items():
        for word in words:
            distance = np.abs(np.log(index.counts / max(len(index.occurrences(word)), 1)))
            near = np.argsort(np.where(free, distance, math.inf), kind="stable")[:_NEAR]
            at = int(generator.choice(near))
            free[at] = False
            drawn[label].append(index.words[at])
    return replace(task, verbalizer=drawn)


def synthetic(job: Job, shared: Shared) -> Scores:
    """Tune for as many steps on sentences such as "This sentence is LABEL", of each label and its words."""
    task, encoder = shared.task, TextEncoder.open(job.settings.model, shared.fit.chunk)
    names = [tuple(dict.fromkeys((label, *task.verbalizer[label]))) for label in task.labels]
    texts = [f"This sentence is {word}." for words in names for word in words]
    labels = torch.tensor([number for number, words in enumerate(names) for _ in words])
    head = fit_head(encoder.features(texts), labels, shared.fit.c)
    (head,) = tune_encoder(encoder, [(head, texts, labels)], shared.fit, seed=job.seed, device=job.device)
    return head.scores(encoder.features(shared.texts)), []


def bag_of_words(_: Job, shared: Shared) -> Scores:
    """Fit a logistic regression on the words of the mined rows."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    rows, mined = shared.mined.training, shared.mined
    model: Any = make_pipeline(TfidfVectorizer(sublinear_tf=True), LogisticRegression(max_iter=1000))
    texts = mined.plain
    model.fit([texts[row] for row in rows], mined.labels[rows])
    return torch.from_numpy(model.predict_log_proba(shared.texts)).float(), []


def vader(_: Job, shared: Shared) -> Scores:
    """Ask VADER's lexicon."""
    scores: Any = vader_scores(shared.task, shared.texts)  # not None: the words of the task are of sentiment
    return scores, []


def measure(job: Job, shared: Shared, *, answer: Answer) -> Measurement:
    """Score what an arm answers, as it is and calibrated without labels in both ways; means over the test sets."""
    from sklearn.metrics import f1_score

    (scores, each), truth = answer(job, shared), shared.truth
    scores, empty = scores[:-1], scores[-1:]
    found = scores.argmax(1).numpy()
    accuracy = lambda scores, texts: float((scores[texts].argmax(1).numpy() == truth[texts]).mean())
    right = lambda scores: statistics.fmean(accuracy(scores, texts) for texts in shared.sets.values())
    labels, sets = list(range(len(shared.task.labels))), shared.sets.values()
    f1 = lambda texts: f1_score(truth[texts], found[texts], labels=labels, average="macro", zero_division=0.0)  # pyright: ignore[reportArgumentType]
    secondary = {
        "macro-F1": float(np.mean([f1(texts) for texts in sets])),
        "accuracy, content-free": right(calibrated(scores, prior_bias(empty))),
        "accuracy, batch-mean": right(torch.cat([calibrated(scores[one], prior_bias(scores[one])) for one in sets])),
        "p of McNemar against cosine": mcnemar(truth, found, shared.cosine[0][:-1].argmax(1).numpy()),
    }
    if len(sets) > 1:
        secondary |= {f"accuracy, {name}": accuracy(scores, texts) for name, texts in shared.sets.items()}
    if each:
        values = [right(scores[:-1]) for scores in each]
        secondary["spread over templates"] = max(values) - min(values)
    items = (found == truth).astype(float)
    for texts in sets:
        items[texts] *= len(items) / len(sets) / len(items[texts])  # a set counts as much as another
    return Measurement(value=right(scores), secondary=secondary, items=items.tolist())


def _arm(name: str, role: Role, answer: Answer, summary: str) -> Arm:
    return Arm(name=name, role=role, run=partial(measure, answer=answer), summary=summary)


_ARMS = (
    _arm("cosine", "baseline", cosine, "zero-shot by the same encoder with fixed templates, no training"),
    _arm("Go-head", "method", partial(tuned, route="head"), "label rows in closed form on mined rows, encoder frozen"),
    _arm("Go-tuning", "method", tuned, "all is trained on the mined rows; an encoder begins from the Go-head"),
    _arm("random words", "control", random_words, "as many steps on words drawn at random: does any mined text help?"),
    _arm("shuffled classes", "control", partial(tuned, shuffled=True), "Go-tuning with the mined classes permuted"),
    _arm("SetFit-style", "control", synthetic, "as many steps on 'This sentence is LABEL': is a corpus needed?"),
    _arm("bag of words", "control", bag_of_words, "logistic regression on the same rows: is a model needed?"),
    _arm("VADER", "control", vader, "a lexicon of sentiment that needs neither corpus nor model"),
)
_MASKING = _arm("random masking", "control", random_masking, "as many steps of ordinary masking on the same sentences")


def _asked(settings: ComparisonSettings) -> Comparison:
    arms = [_MASKING if settings.route == "mlm" and arm.name == "random words" else arm for arm in _ARMS]
    if settings.task != "sentiment":
        return replace(_COMPARISON, arms=tuple(arms[:-1]))  # without the lexicon
    each = tuple(Metric(name=f"accuracy, {name}") for name in SETS["sentiment"])
    return replace(_COMPARISON, arms=tuple(arms), secondary=(*_COMPARISON.secondary, *each))


_COMPARISON = Comparison(
    method="gotuning",
    question="Does tuning on sentences mined for label words beat cosine zero-shot by the same encoder?",
    metric=Metric(name="accuracy"),
    arms=_ARMS,
    secondary=(
        Metric(name="macro-F1"),
        Metric(name="accuracy, content-free"),
        Metric(name="accuracy, batch-mean"),
        Metric(name="p of McNemar against cosine", higher_is_better=False),
        Metric(name="spread over templates", higher_is_better=False),
    ),
    settings=COMPARISON,
    setup=setup,
    variant=_asked,
    data={
        "demo": "60 documents to mine and 80 labelled sentences that were written for modicum; the packaged MiniLM",
        "full": "unlabelled film reviews (zero-shot/imdb) for sentiment (SST-2, MR, IMDB; Amazon, New York Times and "
        "tweets of vader-gold) and subj; unlabelled news (zero-shot/alps_agnews) for ag and bbc; questions without "
        "their classes for trec",
    },
    own_data="A folder with task.yaml, raw text in a file or folder corpus, and labelled texts in test.csv, .tsv or "
    ".jsonl (with task=own).",
)

METHOD = Method(
    name="gotuning",
    title="Go-tuning: zero-shot classification by a small model tuned on label words in raw text",
    saves="labels and model size",
    sources=(
        Source(
            authors="Xu, Dong, Liu and Li",
            year=2022,
            title="Go-tuning: Improving Zero-shot Learning Abilities of Smaller Language Models",
            address="https://arxiv.org/abs/2212.10461",
        ),
    ),
    comparison=_COMPARISON,
)
