"""What the arms of the comparison learn from and are scored on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from modicum.core import catalogue
from modicum.core.method import Job
from modicum.core.seeding import numpy_generator
from modicum.errors import DataError
from modicum.sarcasm.examples import LANGUAGES, Example, Language, Pair
from modicum.sarcasm.folds import grouped_split
from modicum.sarcasm.isarcasm import read_categories, read_pairs, read_texts, read_train
from modicum.sarcasm.tables import read_rows
from modicum.sarcasm.written import read_written

DATA_SET = "isarcasmeval"
_TEST_SHARE = 0.3  # ours, where a file has no test part of its own


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
        return tuple(language for language in LANGUAGES if any(it.language == language for it in self.train))


def pose(job: Job) -> Problem:
    """Read the data of a job."""
    if job.data is not None and not job.data.is_dir():
        return _parted(_labelled(job.data), job.seed)
    if job.data is None and job.budget == "demo":
        return _parted([example for language in LANGUAGES for example in read_written(language)], job.seed)
    folder = job.data or catalogue.fetch(DATA_SET)
    return Problem(
        train=[example for language in LANGUAGES for example in read_train(folder, language)],
        texts={language: read_texts(folder, language) for language in LANGUAGES},
        pairs={language: read_pairs(folder, language) for language in LANGUAGES},
        categories=read_categories(folder),
    )


def _labelled(path: Path) -> list[Example]:
    examples = [it for it in read_rows(path).examples if it.sarcastic is not None]
    if not examples:
        raise DataError(
            f"{path} has no labelled text.", hint="Give columns text and sarcastic, and rephrase where there is one."
        )
    return examples


def _parted(examples: Sequence[Example], seed: int) -> Problem:
    train, held = grouped_split(examples, _TEST_SHARE, seed)
    test = [examples[at] for at in held]
    present: list[Language] = [language for language in LANGUAGES if any(it.language == language for it in test)]
    return Problem(
        train=[examples[at] for at in train],
        texts={language: [it for it in test if it.language == language] for language in present},
        pairs={language: found for language in present if (found := _pairs(test, language, seed))},
        categories=[it for it in test if it.categories is not None],
    )


def _pairs(test: Sequence[Example], language: Language, seed: int) -> list[Pair]:
    generator = numpy_generator(seed, f"order of pairs {language}")
    pairs: list[Pair] = []
    for it in test:
        if it.language == language and it.sarcastic and it.rephrase:
            second = bool(generator.integers(2))
            texts = (it.rephrase, it.text) if second else (it.text, it.rephrase)
            pairs.append(Pair(texts=texts, language=language, sarcastic=int(second), dialect=it.dialect))
    return pairs
