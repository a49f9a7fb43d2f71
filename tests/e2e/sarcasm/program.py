"""The program, its answer, and the files that the tests of its commands on sarcasm share."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from modicum.sarcasm.data.examples import CATEGORIES, Example
from modicum.sarcasm.written import read_written

ENGLISH, ARABIC = read_written("en"), read_written("ar")
KNOWN, UNSEEN = [*ENGLISH[:80], *ARABIC[:80]], [*ENGLISH[80:90], *ARABIC[80:90]]
COLUMNS = ("text", "sarcastic", "rephrase", "dialect", *CATEGORIES)


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    said: str

    def rows(self) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.out)))


Run = Callable[..., Done]


def write(path: Path, examples: Iterable[Example], *columns: str) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns or COLUMNS, extrasaction="ignore")
        writer.writeheader()
        for it in examples:
            row = {"text": it.text, "sarcastic": it.sarcastic, "rephrase": it.rephrase, "dialect": it.dialect}
            row |= {"text_0": it.rephrase, "text_1": it.text}
            writer.writerow(row | dict(zip(CATEGORIES, it.categories or (), strict=bool(it.categories))))
    return path
