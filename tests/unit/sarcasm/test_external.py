"""Sarcasm from elsewhere, and what of it the shared task has already."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from modicum.core import catalogue
from modicum.errors import DataError
from modicum.sarcasm.data.examples import Example, Pair
from modicum.sarcasm.data.external import arabic_key, read_arsarcasm, without_overlap
from modicum.sarcasm.data.folds import key
from modicum.sarcasm.data.isarcasm import read_pairs, read_texts, read_train

HEADER = "tweet,sarcasm,sentiment,dialect\n"
LONG = "ابتثجحخدذرزسشصضطظعغفقكلمنهوي"  # 28 letters


def arsarcasm(folder: Path, train: str, test: str = HEADER + "b,FALSE,NEG,msa\n") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "training_data.csv").write_text(train, encoding="utf-8")
    (folder / "testing_data.csv").write_text(test, encoding="utf-8")
    return folder


def english(text: str) -> Example:
    return Example(text=text, language="en", sarcastic=1)


def arabic(text: str, rephrase: str | None = None) -> Example:
    return Example(text=text, language="ar", sarcastic=1, rephrase=rephrase)


def test_both_files_of_arsarcasm_are_joined_and_egypt_is_nile(tmp_path: Path) -> None:
    train = HEADER + '"a\nx",TRUE,NEG,egypt\nc,FALSE,POS,gulf\n'
    wanted = [
        Example(text="a\nx", language="ar", sarcastic=1, dialect="nile"),
        Example(text="c", language="ar", sarcastic=0, dialect="gulf"),
        Example(text="b", language="ar", sarcastic=0, dialect="msa"),
    ]
    assert read_arsarcasm(arsarcasm(tmp_path / "ArSarcasm-v2", train)) == wanted
    assert read_arsarcasm(tmp_path) == wanted


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("tweet,sarcasm\na,TRUE\n", r"training_data.csv has no column 'dialect'; its columns are 'tweet', 'sarcasm'"),
        (HEADER + '"a\nb",TRUE,,msa\nc,1,,msa\n', r"training_data.csv, line 4 has an empty text, or '1' in 'sarcasm'"),
        (HEADER + ",TRUE,,msa\n", r"training_data.csv, line 2 has an empty text"),
    ],
)
def test_a_broken_file_of_arsarcasm_is_named(train: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_arsarcasm(arsarcasm(tmp_path, train))


def test_the_arabic_key_looks_through_all_but_letters() -> None:
    assert arabic_key(f"RT @bob: {LONG[:14]} 😂 {LONG[14:]}! https://t.co/x") == LONG
    assert arabic_key(LONG + LONG) == (LONG + LONG)[:40]
    assert arabic_key(LONG[:25]) == LONG[:25]
    assert arabic_key(LONG[:24]) is None
    assert arabic_key("no Arabic at all, however long this text may be") is None


def test_copies_of_texts_rephrases_and_pairs_are_dropped_and_counted() -> None:
    external = [
        english("Seen  BEFORE"),
        english("new"),
        arabic(f"{LONG} وبعد"),
        arabic("قصير"),
        english("second of a pair"),
        english("a rephrase"),
    ]
    train = [english("seen before"), Example(text="x", language="en", rephrase="A rephrase"), arabic(f"{LONG}!وبعد")]
    overlap = without_overlap(external, train, [Pair(texts=("one", "Second of a pair"), language="en")])
    assert [it.text for it in overlap.kept] == ["new", "قصير"]
    assert (overlap.exact, overlap.fuzzy) == (3, 1)


def test_nothing_is_dropped_where_there_is_nothing_to_meet() -> None:
    assert without_overlap([english("a"), english("A")]).kept == [english("a"), english("A")]


@pytest.mark.data("arsarcasm-v2")
def test_counts_of_arsarcasm() -> None:  # XPUDU-C7
    examples = read_arsarcasm(catalogue.fetch("arsarcasm-v2"))
    assert Counter(it.sarcastic for it in examples) == {0: 12559, 1: 2989}
    assert len(examples) == 12548 + 3000
    assert {it.dialect for it in examples} == {"msa", "nile", "levant", "gulf", "magreb"}


@pytest.mark.data("arsarcasm-v2", "isarcasmeval")
def test_overlap_of_arsarcasm_with_the_arabic_texts() -> None:  # XPUDU-C7
    external = read_arsarcasm(catalogue.fetch("arsarcasm-v2"))
    folder = catalogue.fetch("isarcasmeval")
    train, test = read_train(folder, "ar"), read_texts(folder, "ar")
    exact = {key(it.text) for it in external}
    fuzzy = {arabic_key(it.text) for it in external} - {None}
    assert Counter(it.sarcastic for it in train if key(it.text) in exact) == {0: 659}
    assert Counter(it.sarcastic for it in train if arabic_key(it.text) in fuzzy) == {0: 1879}

    from_test = without_overlap(external, test, read_pairs(folder, "ar"))
    assert (from_test.exact, from_test.fuzzy) == (0, 0)
    left = without_overlap(external, train, test)
    assert (left.exact, left.fuzzy, len(left.kept)) == (659, 1352, 13537)
    again = without_overlap(left.kept, train, test)
    assert (again.exact, again.fuzzy) == (0, 0)
