"""Short texts in English and Arabic that were written for modicum, so that the method can be tried without a download.

Their neighbour README.md says how they came to be, and why no model should be judged by them.
"""

from __future__ import annotations

import csv
from importlib.resources import files

from modicum.errors import ConfigError
from modicum.sarcasm.data.examples import CATEGORIES, LANGUAGES, Example, Language

_FILES: dict[Language, str] = {"en": "english.csv", "ar": "arabic.csv"}


def read_written(language: Language) -> list[Example]:
    """Read the texts of one language: pairs of a sarcastic text and its plain rephrase, and single plain texts."""
    if language not in _FILES:
        raise ConfigError(f"Nothing is written in {language!r}.", hint=f"Use one of: {', '.join(LANGUAGES)}.")
    content = files(__name__).joinpath(_FILES[language]).read_text(encoding="utf-8")
    return [_example(row, language) for row in csv.DictReader(content.splitlines())]


def _example(row: dict[str, str], language: Language) -> Example:
    sarcastic = bool(row["sarcastic"])
    return Example(
        text=row["sarcastic"] if sarcastic else row["plain"],
        language=language,
        sarcastic=int(sarcastic),
        rephrase=row["plain"] if sarcastic else None,
        dialect=row.get("dialect"),
        categories=tuple(int(row["category"] == category) for category in CATEGORIES),
    )
