"""What the comparison learns: past tenses of English verbs, or pronunciations from CMUdict; letters are tokens."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from modicum.core import catalogue
from modicum.core.extras import require
from modicum.core.tables import read_text
from modicum.errors import DataError
from modicum.textdiffusion.data import TextPair, read_pairs

_VERB, _TENSE, _WORD = re.compile("[a-z]{3,5}"), re.compile("[a-z]+"), re.compile("[a-z]{3,8}")
_LONGEST = 8  # phonemes
_TEST, _VALIDATION = 5, 10  # one text in so many
_PARTS = ("train", "val", "test_2016_flickr")


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """Pairs to learn from, and sources with all of their references."""

    training: Sequence[TextPair]
    validation: Sequence[tuple[str, Sequence[str]]]
    test: Sequence[tuple[str, Sequence[str]]]


def verbs() -> list[TextPair]:
    """Read verbs of 3 to 5 letters and their past tenses from the tables of lemminflect."""
    package = require("lemminflect", extra="text", purpose="The past tenses of the demo")
    pairs: list[TextPair] = []
    for line in read_text(Path(str(package.__file__)).parent / "resources" / "infl_lu.csv.gz").splitlines():
        verb, kind, forms = line.split(",")[:3]
        if kind == "verb" and _VERB.fullmatch(verb):
            found = [form for form in forms.split("/") if _TENSE.fullmatch(form)]
            pairs += [TextPair(source=" ".join(verb), target=" ".join(form)) for form in found]
    return pairs


def cmudict() -> list[TextPair]:
    """Read pronunciations of words of 3 to 8 letters, without stress, at most 8 phonemes long."""
    pairs: list[TextPair] = []
    for line in read_text(catalogue.fetch("cmudict") / "cmudict.dict").splitlines():
        word, *phonemes = line.partition("#")[0].split()
        word = word.partition("(")[0]
        if _WORD.fullmatch(word) and len(phonemes) <= _LONGEST:
            sounds = " ".join(phoneme.rstrip("012") for phoneme in phonemes)
            pairs.append(TextPair(source=" ".join(word), target=sounds))
    return pairs


def by_source(pairs: Iterable[TextPair]) -> dict[str, list[str]]:
    """Gather the references of each source, in order and none twice."""
    found: dict[str, dict[str, None]] = {}
    for pair in pairs:
        found.setdefault(pair.source, {})[pair.target] = None
    return {source: list(targets) for source, targets in found.items()}


def split(pairs: Sequence[TextPair], *, validation: int, test: int) -> Task:
    """Hold out a fifth of the sources for the test and a tenth of the rest, by a hash: the same ones for all seeds."""
    references = by_source(pairs)
    numbers = {source: _number(source.replace(" ", "")) for source in references}
    parts: dict[str, list[str]] = {"training": [], "validation": [], "test": []}
    for source in sorted(numbers, key=lambda source: numbers[source]):
        rest, remainder = divmod(numbers[source], _TEST)
        part = "test" if remainder == 0 else "validation" if rest % _VALIDATION == 0 else "training"
        parts[part].append(source)
    if not all(parts.values()):
        raise DataError(
            f"{len(numbers)} sources are too few to hold some out for validation and test.", hint="Give at least 100."
        )
    return Task(
        training=[TextPair(source=source, target=references[source][0]) for source in parts["training"]],
        validation=[(source, references[source]) for source in parts["validation"][:validation]],
        test=[(source, references[source]) for source in parts["test"][:test]],
    )


def multi30k(*, validation: int, test: int) -> Task:
    """Read captions in German and English, in the parts that they came in."""
    folder = catalogue.fetch("multi30k") / "data" / "task1" / "raw"
    parts = {part: read_pairs(*(folder / f"{part}.{language}.gz" for language in ("de", "en"))) for part in _PARTS}
    training, held, tested = parts.values()
    held, tested = ([*by_source(pairs).items()] for pairs in (held, tested))
    return Task(training=training, validation=held[:validation], test=tested[:test])


def load(name: str, data: Path | None, *, validation: int, test: int) -> Task:
    """Give a task by its name, or the user's own pairs."""
    if data is None and name == "multi30k":
        return multi30k(validation=validation, test=test)
    pairs = read_pairs(data) if data is not None else verbs() if name == "past" else cmudict()
    return split(pairs, validation=validation, test=test)


def _number(word: str) -> int:
    return int(hashlib.sha1(word.encode()).hexdigest(), 16)  # noqa: S324 - that of the catalogue's held-out slice
