"""The texts of the package: their form, that none is like another, and that no shortcut gives the label away."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from importlib.resources import files
from itertools import combinations
from typing import cast

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from modicum.core import catalogue
from modicum.errors import ConfigError
from modicum.sarcasm.data.examples import CATEGORIES, LANGUAGES, Example, Language
from modicum.sarcasm.written import read_written

FILES: dict[Language, str] = {"en": "english.csv", "ar": "arabic.csv"}
COLUMNS: dict[Language, list[str]] = {
    "en": ["sarcastic", "plain", "category"],
    "ar": ["sarcastic", "plain", "category", "dialect"],
}
PAIRS: dict[Language, int] = {"en": 200, "ar": 150}
DIALECTS = {"msa", "nile", "levant", "gulf", "magreb"}

both = pytest.mark.parametrize("language", LANGUAGES)


@both
def test_files_are_plain_utf8_tables(language: Language) -> None:
    content = files("modicum.sarcasm.written").joinpath(FILES[language]).read_bytes()
    assert not content.startswith(b"\xef\xbb\xbf")
    assert b"\r" not in content
    header, *rows = csv.reader(content.decode().splitlines(), strict=True)
    assert header == COLUMNS[language]
    assert {len(row) for row in rows} == {len(header)}
    assert len(rows) == 2 * PAIRS[language]
    assert content.count(b"\n") == len(rows) + 1  # so no text has a line break


@both
def test_rows_are_pairs_with_a_category_or_plain_texts_without(language: Language) -> None:
    kinds = [(bool(row["sarcastic"]), row["category"]) for row in rows_of(language)]
    assert {category for sarcastic, category in kinds if sarcastic} == set(CATEGORIES)
    assert {category for sarcastic, category in kinds if not sarcastic} == {""}


def test_dialects_are_those_of_the_task_and_alike_in_both_kinds() -> None:
    rows = rows_of("ar")
    pairs = Counter(row["dialect"] for row in rows if row["sarcastic"])
    assert set(pairs) == DIALECTS
    assert pairs == Counter(row["dialect"] for row in rows if not row["sarcastic"])


@both
def test_reader_gives_every_row_in_its_order(language: Language) -> None:
    for row, example in zip(rows_of(language), read_written(language), strict=True):
        assert example.language == language
        assert example.dialect == row.get("dialect")
        assert example.categories is not None
        if row["sarcastic"]:
            assert (example.text, example.rephrase, example.sarcastic) == (row["sarcastic"], row["plain"], 1)
            assert CATEGORIES[example.categories.index(1)] == row["category"]
            assert sum(example.categories) == 1
        else:
            assert (example.text, example.rephrase, example.sarcastic) == (row["plain"], None, 0)
            assert sum(example.categories) == 0


@both
def test_half_is_sarcastic_and_most_of_that_sarcasm_or_irony(language: Language) -> None:
    sarcastic, plain = by_label(language)
    assert (len(sarcastic), len(plain)) == (PAIRS[language], PAIRS[language])
    counts = Counter(row["category"] for row in rows_of(language) if row["sarcastic"])
    assert counts["sarcasm"] + counts["irony"] > 0.7 * PAIRS[language]


def test_a_language_that_was_not_written_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^Nothing is written in 'fr'\. Use one of: en, ar\.$"):
        read_written(cast("Language", "fr"))


@both
def test_texts_are_tidy_and_name_nobody(language: Language) -> None:
    for text in all_texts(language):
        assert text == " ".join(text.split())
        assert text == unicodedata.normalize("NFC", text)
        assert not re.search(r"[@#&<>]|https?:|www\.", text)
        letters = [character for character in text if character.isalpha()]
        assert letters
        assert all(("ARABIC" in unicodedata.name(letter)) == (language == "ar") for letter in letters)


@both
def test_no_text_is_like_another(language: Language) -> None:
    texts = [normalised(text) for text in all_texts(language)]
    assert len(set(texts)) == len(texts)
    grams = [{text[place : place + 5] for place in range(max(1, len(text) - 4))} for text in texts]
    assert max(len(one & other) / len(one | other) for one, other in combinations(grams, 2)) < 0.6


@pytest.mark.data("isarcasmeval")
@both
def test_no_text_is_one_of_the_shared_task(language: Language) -> None:
    folder = catalogue.fetch("isarcasmeval")
    published: set[str] = set()
    for path in sorted(folder.rglob("*.csv")):
        with path.open(encoding="utf-8", newline="") as stream:
            published.update(normalised(cell) for row in csv.reader(stream) for cell in row)
    assert len(published) > 10_000  # the texts and rephrases of both languages
    assert published.isdisjoint(map(normalised, all_texts(language)))


def words(text: str) -> int:
    return len(text.split())


def closing_marks(text: str) -> int:
    return sum(character in "!?.؟" for character in text)


@both
@pytest.mark.parametrize(("measure", "low", "high"), [(len, 0.4, 0.6), (words, 0.4, 0.6), (closing_marks, 0.35, 0.65)])
def test_length_and_punctuation_alone_do_not_tell_the_label(
    language: Language, measure: Callable[[str], int], low: float, high: float
) -> None:
    sarcastic, plain = by_label(language)
    assert low <= area([example.text for example in sarcastic], [example.text for example in plain], measure) <= high
    rephrases = [example.rephrase or "" for example in sarcastic]
    assert low <= area([example.text for example in sarcastic], rephrases, measure) <= high


@both
def test_the_longer_text_of_a_pair_is_as_often_the_plain_one(language: Language) -> None:
    sarcastic, _ = by_label(language)
    longer = np.mean([len(example.text) > len(example.rephrase or "") for example in sarcastic])
    assert 0.4 <= longer <= 0.6


@both
def test_the_place_in_the_file_does_not_tell_the_label(language: Language) -> None:
    labels = [example.sarcastic for example in read_written(language)]
    assert 0.4 <= roc_auc_score(labels, np.arange(len(labels))) <= 0.6


def rows_of(language: Language) -> list[dict[str, str]]:
    content = files("modicum.sarcasm.written").joinpath(FILES[language]).read_text(encoding="utf-8")
    return list(csv.DictReader(content.splitlines()))


def by_label(language: Language) -> tuple[list[Example], list[Example]]:
    examples = read_written(language)
    return [example for example in examples if example.sarcastic], [e for e in examples if not e.sarcastic]


def all_texts(language: Language) -> list[str]:
    examples = read_written(language)
    return [e.text for e in examples] + [e.rephrase for e in examples if e.rephrase is not None]


def normalised(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def area(sarcastic: list[str], plain: list[str], measure: Callable[[str], int]) -> float:
    labels = [1] * len(sarcastic) + [0] * len(plain)
    return float(roc_auc_score(labels, [measure(text) for text in sarcastic + plain]))
