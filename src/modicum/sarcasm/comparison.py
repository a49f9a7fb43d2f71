"""X-PuDu against n-grams: the same texts; what reads them and what is done to them differ."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from modicum.core import catalogue
from modicum.core.extras import quiet_transformers, require
from modicum.core.method import Arm, Comparison, Job, Measurement, Method, Metric, Source
from modicum.core.seeding import derive, numpy_generator, seeded_globally
from modicum.core.settings import as_json
from modicum.errors import ConfigError, DataError
from modicum.sarcasm.configuration import COMPARISON, FROZEN, NGRAMS, TINY, ComparisonSettings, Settings
from modicum.sarcasm.data.examples import LANGUAGES, Example, Language, Pair
from modicum.sarcasm.data.folds import grouped_split
from modicum.sarcasm.data.isarcasm import DATA_SET, read_categories, read_pairs, read_texts, read_train
from modicum.sarcasm.data.tables import read_rows
from modicum.sarcasm.evaluate.scores import score_a, score_b, score_c
from modicum.sarcasm.fitting import fit
from modicum.sarcasm.system import SarcasmSystem
from modicum.sarcasm.written import read_written

_TEST_SHARE = 0.3  # ours, where a file has no test part of its own
_SPECIAL = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
_VOCABULARY, _WIDTH, _LAYERS, _HEADS, _LENGTH = 4000, 64, 2, 4, 96


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A training part, and what is scored."""

    train: Sequence[Example]  # labelled, of all languages
    texts: Mapping[Language, Sequence[Example]]  # of task A, by language
    pairs: Mapping[Language, Sequence[Pair]]  # of task C, by language; none of a language without rephrases
    categories: Sequence[Example]  # of task B; empty where no categories are known

    @property
    def languages(self) -> tuple[Language, ...]:
        """Those that are trained on."""
        return tuple(language for language in LANGUAGES if any(example.language == language for example in self.train))


def setup(job: Job) -> Problem:
    """Read the data of a job."""
    if job.data is not None and not job.data.is_dir():
        return _split(_labelled(job.data), job.seed)
    if job.data is None and job.budget == "demo":
        return _split([example for language in LANGUAGES for example in read_written(language)], job.seed)
    folder = job.data or catalogue.fetch(DATA_SET)
    return Problem(
        train=[example for language in LANGUAGES for example in read_train(folder, language)],
        texts={language: read_texts(folder, language) for language in LANGUAGES},
        pairs={language: read_pairs(folder, language) for language in LANGUAGES},
        categories=read_categories(folder),
    )


def _labelled(path: Path) -> list[Example]:
    examples = [example for example in read_rows(path).examples if example.sarcastic is not None]
    if not examples:
        raise DataError(
            f"{path} has no labelled text.", hint="Give columns text and sarcastic, and rephrase where there is one."
        )
    return examples


def _split(examples: Sequence[Example], seed: int) -> Problem:
    train, held = grouped_split(examples, _TEST_SHARE, seed)
    test = [examples[at] for at in held]
    present: list[Language] = [
        language for language in LANGUAGES if any(example.language == language for example in test)
    ]
    return Problem(
        train=[examples[at] for at in train],
        texts={language: [example for example in test if example.language == language] for language in present},
        pairs={language: found for language in present if (found := _pairs(test, language, seed))},
        categories=[example for example in test if example.categories is not None],
    )


def _pairs(test: Sequence[Example], language: Language, seed: int) -> list[Pair]:
    generator = numpy_generator(seed, f"order of pairs {language}")
    pairs: list[Pair] = []
    for example in test:
        if example.language == language and example.sarcastic and example.rephrase:
            second = bool(generator.integers(2))
            texts = (example.rephrase, example.text) if second else (example.text, example.rephrase)
            pairs.append(Pair(texts=texts, language=language, sarcastic=int(second), dialect=example.dialect))
    return pairs


def _measure(
    job: Job, problem: Problem, *, model: str = "", preset: str = "plain", together: bool = False
) -> Measurement:
    settings: ComparisonSettings = job.settings
    groups: list[tuple[Language, ...]] = [problem.languages] if together else [(it,) for it in problem.languages]
    systems: dict[Language, SarcasmSystem] = {}
    with tempfile.TemporaryDirectory() as folder:
        name = model if model == NGRAMS else model + _encoder(settings, problem, Path(folder), job.seed)
        chosen = as_json(settings) | {"model": name, "preset": preset, "seed": job.seed, "device": job.device}
        for languages in groups:
            known = [example for example in problem.train if example.language in languages]
            # An encoder of one language has as many updates as that of both, to the nearest pass over its texts.
            epochs = round(settings.epochs * len(problem.train) / len(known))
            system = fit(known, Settings(**chosen | {"epochs": epochs})).system
            systems.update((language, system) for language in languages)
        return _scored(systems, problem)


def _encoder(settings: ComparisonSettings, problem: Problem, folder: Path, seed: int) -> str:
    if settings.model == NGRAMS or settings.model.startswith((f"{NGRAMS}+", FROZEN)):
        raise ConfigError(f"model is {settings.model!r}, which is no encoder.", hint="Name the encoder alone.")
    if settings.model != TINY:
        return settings.model
    texts = [text for example in problem.train for text in (example.text, example.rephrase) if text]
    return str(make_tiny_encoder(folder, texts, seed=seed))


def make_tiny_encoder(folder: Path, texts: Sequence[str], *, seed: int) -> Path:
    """Write a BERT of two layers, with random weights, and a WordPiece vocabulary."""
    transformers = require("transformers", extra="text", purpose="A tiny encoder")
    tokenizers = require("tokenizers", extra="text", purpose="A tiny encoder")
    make = partial(tokenizers.BertWordPieceTokenizer, lowercase=True, strip_accents=False)
    tokenizer = make(vocab=_vocabulary(make(), texts))
    with quiet_transformers():
        transformers.PreTrainedTokenizerFast(
            tokenizer_object=tokenizer._tokenizer,
            model_max_length=_LENGTH,
            **_SPECIAL,
        ).save_pretrained(folder)
        config = transformers.BertConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=_WIDTH,
            num_hidden_layers=_LAYERS,
            num_attention_heads=_HEADS,
            intermediate_size=4 * _WIDTH,
            max_position_embeddings=_LENGTH,
        )
        with seeded_globally(derive(seed, "encoder"), "initialisation"):
            transformers.BertModel(config).save_pretrained(folder)
    return folder


def _vocabulary(trained: Any, texts: Sequence[str]) -> dict[str, int]:
    # The trainer numbers letters within words in the order of a hash table, which each process has in its own way, and
    # what is joined depends on it. Those that are named beforehand are numbered first.
    letters = sorted(set("".join(map(trained.normalize, texts))))
    named = [*_SPECIAL.values(), *(f"##{letter}" for letter in letters)]
    trained.train_from_iterator(
        texts, vocab_size=_VOCABULARY, min_frequency=2, special_tokens=named, show_progress=False
    )
    return trained.get_vocab()


def _scored(systems: Mapping[Language, SarcasmSystem], problem: Problem) -> Measurement:
    main: dict[str, float] = {}
    secondary: dict[str, float] = {}
    for language, texts in problem.texts.items():
        found = systems[language].read(texts).labels
        main[f"A {language} F1"] = score_a([example.sarcastic or 0 for example in texts], found).f1
    for language, pairs in problem.pairs.items():
        second = (systems[language].compare(pairs) > 0.5).astype(np.int64)
        secondary[f"C {language} accuracy"] = score_c([pair.sarcastic or 0 for pair in pairs], second).accuracy
    return Measurement(
        value=float(np.mean(list(main.values()))),
        secondary=main | _categories(systems, problem.categories) | secondary,
        costs={"models": float(sum(map(_models, {id(system): system for system in systems.values()}.values())))},
    )


def _models(system: SarcasmSystem) -> int:
    return len(getattr(system.model, "members", (system.model,)))  # those of the folds, where they are an ensemble


def _categories(systems: Mapping[Language, SarcasmSystem], examples: Sequence[Example]) -> dict[str, float]:
    gold, found = [], []
    for language, system in systems.items():
        known = [example for example in examples if example.language == language]
        labels = system.read(known).category_labels if known else None
        if labels is not None:
            gold += [example.categories for example in known]
            found.append(labels)
    return {"B macro F1": score_b(gold, np.concatenate(found)).macro_f1} if found else {}


_COMPARISON = Comparison(
    method="xpudu",
    question="Does one encoder that is fine-tuned on English and Arabic together tell sarcasm better?",
    metric=Metric(name="task A: F1 of sarcastic, mean of the languages"),
    arms=(
        Arm(
            name="n-grams",
            role="baseline",
            run=partial(_measure, model=NGRAMS),
            summary="character n-grams and logistic regression, one for each language",
        ),
        Arm(
            name="joint fine-tuning",
            role="method",
            run=partial(_measure, together=True),
            summary="one encoder, three heads, both languages in each batch",
        ),
        Arm(
            name="joint, shift-robust",
            role="method",
            run=partial(_measure, preset="modicum", together=True),
            summary="the same on cleaned texts with their dialect, cropped to like lengths, rephrases as negatives",
        ),
        Arm(
            name="n-grams, shift-robust",
            role="control",
            run=partial(_measure, model=NGRAMS, preset="modicum"),
            summary="the baseline on the same texts: is it what was done to the texts that helps?",
        ),
        Arm(
            name="monolingual fine-tuning",
            role="control",
            run=_measure,
            summary="an encoder for each language, as many updates: does fine-tuning help, or the other language?",
        ),
        Arm(
            name="frozen encoder",
            role="control",
            run=partial(_measure, model=FROZEN),
            summary="logistic regression on the encoder as it is: does fine-tuning add anything?",
        ),
    ),
    secondary=(
        Metric(name="A en F1"),
        Metric(name="A ar F1"),
        Metric(name="B macro F1"),
        Metric(name="C en accuracy"),
        Metric(name="C ar accuracy"),
    ),
    costs=(Metric(name="models", higher_is_better=False, digits=0),),
    settings=COMPARISON,
    setup=setup,
    data={
        "demo": "short texts written for modicum, which are no real messages: half of them sarcastic, 30 % held out",
        "full": "isarcasmeval: trained on its training files, scored on its official test files",
    },
    own_data="A folder laid out as iSarcasmEval, or a CSV or JSONL file with text and sarcastic (30 % are held out).",
)

METHOD = Method(
    name="xpudu",
    title="X-PuDu: sarcasm in English and Arabic by joint fine-tuning",
    saves="labels per language",
    sources=(
        Source(
            authors="Han, Chai, Wang, Sun, Huang, Chen, Xu and Yang",
            year=2022,
            title="X-PuDu at SemEval-2022 Task 6: Multilingual Learning for English and Arabic Sarcasm Detection",
            address="https://arxiv.org/abs/2211.16883",
        ),
        Source(
            authors="Abu Farha, Oprea, Wilson and Magdy",
            year=2022,
            title="SemEval-2022 Task 6: iSarcasmEval, Intended Sarcasm Detection in English and Arabic",
            address="https://aclanthology.org/2022.semeval-1.111/",
        ),
    ),
    comparison=_COMPARISON,
)
