"""Sarcasm from elsewhere to train on, without what the shared task's own files hold already."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from modicum.core.tables import read_records
from modicum.errors import DataError
from modicum.sarcasm.data.examples import Example, Pair
from modicum.sarcasm.data.folds import key
from modicum.sarcasm.data.tables import require_columns

_ARSARCASM = ("training_data.csv", "testing_data.csv")
_TRUTHS = {"TRUE": 1, "FALSE": 0}
_DIALECTS = {"egypt": "nile"}  # the others are spelt as in the shared task
_ARABIC = re.compile(r"[\u0600-\u06ff]+")
_LETTERS = 40
# Ours: with fewer letters, greetings and prayers count as copies; from here on no test text of the shared task does.
_FEWEST_LETTERS = 25


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlap:
    """What is left of external examples."""

    kept: list[Example]  # in their order
    exact: int  # how many were dropped because the same text, but for case and white space, is among the others
    fuzzy: int  # how many more were dropped because an Arabic text of the same beginning is


def read_arsarcasm(folder: Path) -> list[Example]:
    """Read ArSarcasm-v2: 15,548 Arabic tweets, 2,989 of them taken for sarcastic by readers, not by their authors."""
    # Of the Arabic training texts of the shared task 1,879 are also here, all of them not sarcastic: use
    # `without_overlap`.
    inner = folder / "ArSarcasm-v2"
    place = inner if inner.is_dir() else folder
    return list(chain.from_iterable(_arsarcasm(place / name) for name in _ARSARCASM))


def without_overlap(external: Iterable[Example], *others: Sequence[Example | Pair]) -> Overlap:
    """Leave out external examples that the data to train or test on have already, also as a rephrase."""
    texts = {text for other in others for one in other for text in _texts(one)}
    exact = {key(text) for text in texts}
    fuzzy = {arabic_key(text) for text in texts} - {None}
    kept: list[Example] = []
    counts = {"exact": 0, "fuzzy": 0}
    for example in external:
        if key(example.text) in exact:
            counts["exact"] += 1
        elif arabic_key(example.text) in fuzzy:
            counts["fuzzy"] += 1
        else:
            kept.append(example)
    return Overlap(kept=kept, exact=counts["exact"], fuzzy=counts["fuzzy"])


def arabic_key(text: str) -> str | None:
    """Give what copies of an Arabic text share, whatever became of its spaces, mentions, addresses and emoji."""
    letters = "".join(_ARABIC.findall(text))[:_LETTERS]
    return letters if len(letters) >= _FEWEST_LETTERS else None


def _texts(one: Example | Pair) -> tuple[str, ...]:
    if isinstance(one, Pair):
        return one.texts
    return (one.text,) if one.rephrase is None else (one.text, one.rephrase)


def _arsarcasm(path: Path) -> list[Example]:
    columns, records = read_records(path)
    require_columns(path, columns, ("tweet", "sarcasm", "dialect"))
    examples: list[Example] = []
    for record in records:
        text, label, dialect = (record.cells[name] for name in ("tweet", "sarcasm", "dialect"))
        if label not in _TRUTHS or not text.strip():
            raise DataError(
                f"{path}, line {record.line} has an empty text, or {label!r} in 'sarcasm' instead of TRUE or FALSE.",
                hint="Fetch the file again.",
            )
        known = _DIALECTS.get(dialect, dialect) or None
        examples.append(Example(text=text, language="ar", sarcastic=_TRUTHS[label], dialect=known))
    return examples
