"""The files of the shared task: small ones made here for what is broken, the real ones for what is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from tests.unit.sarcasm.votes import read_votes

from modicum.core import catalogue
from modicum.errors import ConfigError, DataError
from modicum.sarcasm.data.examples import CATEGORIES, LANGUAGES, Example, Language, Pair
from modicum.sarcasm.data.folds import key
from modicum.sarcasm.data.isarcasm import (
    Split,
    Task,
    load_isarcasm,
    read_categories,
    read_pairs,
    read_texts,
    read_train,
    training_pairs,
)

SIX = ",".join(CATEGORIES)
TRAIN_EN = f',tweet,sarcastic,rephrase,{SIX}\n0,"Oh\ngreat ",1,Bad,1,0,0,0,0,1\n1,,0,,,,,,,\n2,Fine,0,,,,,,,\n'
TRAIN_AR = "id,text,sarcastic,rephrase,dialect\n1, يا سلام,1,هذا سيء,nile\n2,صباح الخير,0,,msa\n"
VOTES = "text,sarcasm_ref,human_aggregated,#humans_sarcasm\r\n"

real = pytest.mark.data("isarcasmeval")


def conflicts(examples: Sequence[Example]) -> list[list[int]]:
    """Find texts that occur more than once, but for case and white space, with labels that contradict each other."""
    rows: dict[str, list[int]] = {}
    for row, example in enumerate(examples):
        rows.setdefault(key(example.text), []).append(row)
    return [group for group in rows.values() if len({examples[row].sarcastic for row in group}) > 1]


def root() -> Path:
    return catalogue.fetch("isarcasmeval")


def make(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return folder


def dialects(items: Sequence[Example] | Sequence[Pair]) -> dict[str | None, int]:
    return Counter(item.dialect for item in items)


def test_training_texts_are_kept_as_written_and_the_empty_one_is_left_out(tmp_path: Path) -> None:
    assert read_train(make(tmp_path, "train/train.En.csv", TRAIN_EN), "en") == [
        Example(text="Oh\ngreat ", language="en", sarcastic=1, rephrase="Bad", categories=(1, 0, 0, 0, 0, 1)),
        Example(text="Fine", language="en", sarcastic=0, categories=(0,) * 6),
    ]
    assert read_train(make(tmp_path, "train/train.Ar.csv", TRAIN_AR), "ar") == [
        Example(text=" يا سلام", language="ar", sarcastic=1, rephrase="هذا سيء", dialect="nile"),
        Example(text="صباح الخير", language="ar", sarcastic=0, dialect="msa"),
    ]


@pytest.mark.parametrize("column", ["tweet", "sarcastic", "rephrase", "irony"])
def test_a_renamed_column_is_named_beside_those_of_the_file(column: str, tmp_path: Path) -> None:
    make(tmp_path, "train/train.En.csv", TRAIN_EN.replace(f",{column},", ",other,", 1))
    with pytest.raises(DataError, match=rf"train.En.csv has no column '{column}'; its columns are '', .*'other'"):
        read_train(tmp_path, "en")


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (TRAIN_EN.replace("2,Fine,0", "2,Fine,no"), r"train.En.csv, line 5 has the label 'no' in 'sarcastic'"),
        (TRAIN_EN.replace("2,Fine,0", "2,Fine,"), r"train.En.csv, line 5 lacks a label. Fetch the file again"),
        (TRAIN_EN.replace("Bad,1,0", "Bad,1,7"), r"train.En.csv, line 2 has the label '7' in 'irony'"),
        (TRAIN_EN.replace("Bad,1,0", "Bad,1,"), r"train.En.csv, line 2 lacks a label"),
    ],
)
def test_a_broken_row_is_named_with_the_line_where_it_begins(broken: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_train(make(tmp_path, "train/train.En.csv", broken), "en")


def test_an_empty_test_text_is_an_error(tmp_path: Path) -> None:
    make(tmp_path, "test/task_A_En_test.csv", "text,sarcastic\na,0\n,1\n")
    with pytest.raises(DataError, match=r"task_A_En_test.csv, line 3 has an empty text"):
        read_texts(tmp_path, "en")


def test_test_files_need_their_labels_and_dialects(tmp_path: Path) -> None:
    make(tmp_path, "test/task_A_Ar_test.csv", "text,sarcastic\na,0\n")
    with pytest.raises(DataError, match=r"has no column 'dialect'; its columns are 'text', 'sarcastic'"):
        read_texts(tmp_path, "ar")
    make(tmp_path, "test/task_B_En_test.csv", f"text,{SIX}\na,0,0,0,0,0,\n")
    with pytest.raises(DataError, match=r"task_B_En_test.csv, line 2 lacks a label"):
        read_categories(tmp_path)
    make(tmp_path, "test/task_C_En_test.csv", "text_0,text_1,sarcastic_id\na,b,0\nc,d,\n")
    with pytest.raises(DataError, match=r"task_C_En_test.csv, line 3 lacks a label"):
        read_pairs(tmp_path, "en")
    with pytest.raises(DataError, match=r"task_C_Ar_test.csv cannot be read \(No such file"):
        read_pairs(tmp_path, "ar")


def test_votes_are_read_row_by_row(tmp_path: Path) -> None:
    make(tmp_path, "third-party annotations/english_task_a.csv", VOTES + '"a\r\nb",1,0,2\r\nc,0,1,5')
    votes = read_votes(tmp_path, "A", "en")
    assert (votes.labels.tolist(), votes.aggregated.tolist(), votes.votes.tolist()) == ([1, 0], [0, 1], [2, 5])


@pytest.mark.parametrize(("row", "named"), [("c,0,1,6", "'6' in '#hum"), ("c,2,1,5", "'2' in 'sarc"), ("c,0,,5", "''")])
def test_something_else_than_a_vote_is_named(row: str, named: str, tmp_path: Path) -> None:
    make(tmp_path, "third-party annotations/english_task_a.csv", VOTES + '"a\r\nb",1,0,2\r\n' + row)
    with pytest.raises(DataError, match=rf"english_task_a.csv, line 4 has {named}"):
        read_votes(tmp_path, "A", "en")


def test_pairs_to_train_on_have_the_sarcastic_text_first_and_second_in_turn() -> None:
    examples = [
        Example(text="s0", language="ar", sarcastic=1, rephrase="p0", dialect="nile"),
        Example(text="n", language="ar", sarcastic=0),
        Example(text="s1", language="ar", sarcastic=1, rephrase="p1"),
        Example(text="s2", language="ar", sarcastic=1, rephrase="p2"),
    ]
    assert training_pairs(examples) == [
        Pair(texts=("s0", "p0"), language="ar", sarcastic=0, dialect="nile"),
        Pair(texts=("p1", "s1"), language="ar", sarcastic=1),
        Pair(texts=("s2", "p2"), language="ar", sarcastic=0),
    ]


def test_contradictions_are_found_among_duplicates_only() -> None:
    texts = [("Same", 1), ("other", 0), ("same ", 0), ("twice", 1), ("twice", 1), ("SAME", 1)]
    assert conflicts([Example(text=text, language="en", sarcastic=label) for text, label in texts]) == [[0, 2, 5]]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"task": "D"}, r"There is no task 'D'. Use one of: A, B, C"),
        ({"language": "fr"}, r"There is no language 'fr'. Use one of: en, ar"),
        ({"split": "dev"}, r"There is no split 'dev'. Use one of: train, test"),
        ({"task": "B"}, r"Task B has no Arabic data. Use language \"en\""),
    ],
)
def test_what_is_not_there_is_told_before_a_file_is_read(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_isarcasm(Path("/nowhere"), **asked)


@real
def test_english_training_counts() -> None:  # XPUDU-C7
    examples = read_train(root(), "en")
    assert Counter(it.sarcastic for it in examples) == {0: 2600, 1: 867}
    assert [it.sarcastic for it in examples] == [1] * 867 + [0] * 2600
    categories = np.array([it.categories for it in examples])
    assert categories.sum(axis=0).tolist() == [713, 155, 25, 10, 40, 101]
    assert not categories[867:].any()
    assert categories[:867].any(axis=1).all()
    seen = Counter(map(tuple, categories[:867].tolist()))
    assert len(seen) == 13
    assert [seen[1, 0, 0, 0, 0, 0], seen[0, 1, 0, 0, 0, 0], seen[1, 0, 0, 0, 0, 1]] == [569, 123, 85]
    assert sum("\n" in it.text for it in examples) == 232
    assert max(len(it.text) for it in examples) == 397
    assert [it.rephrase is not None for it in examples] == [it.sarcastic == 1 for it in examples]


@real
def test_english_duplicates_and_contradictions() -> None:  # XPUDU-C7
    examples = read_train(root(), "en")
    repeated = {text: count for text, count in Counter(key(it.text) for it in examples).items() if count > 1}
    assert (len(repeated), sum(repeated.values())) == (9, 20)
    assert len(conflicts(examples)) == 5


@real
def test_arabic_training_counts() -> None:  # XPUDU-C7
    examples = read_train(root(), "ar")
    assert Counter(it.sarcastic for it in examples) == {0: 2357, 1: 745}
    assert dialects(examples) == {"msa": 1519, "nile": 1294, "levant": 116, "magreb": 89, "gulf": 84}
    sarcastic = dialects([it for it in examples if it.sarcastic])
    assert sarcastic == {"msa": 49, "nile": 567, "levant": 35, "magreb": 77, "gulf": 17}
    assert sum(it.text != it.text.strip() for it in examples) == 926
    assert not any("\n" in it.text for it in examples)
    assert len({key(it.text) for it in examples}) == 3102
    assert conflicts(examples) == []
    assert all(it.categories is None for it in examples)


@real
def test_test_counts_of_task_a() -> None:  # XPUDU-C7
    english, arabic = (read_texts(root(), language) for language in LANGUAGES)
    for examples in (english, arabic):
        assert Counter(it.sarcastic for it in examples) == {0: 1200, 1: 200}
    newlines = [it.sarcastic for it in english if "\n" in it.text]
    assert Counter(newlines) == {0: 91}
    assert len(english) - len({it.text for it in english}) == 6
    assert sum(it.text != it.text.strip() for it in english) == 40
    assert dialects(arabic) == {"nile": 520, "msa": 482, "gulf": 176, "levant": 168, "magreb": 54}


@real
def test_task_b_has_the_texts_of_task_a_in_another_order() -> None:  # XPUDU-C7
    texts, categories = read_texts(root(), "en"), read_categories(root())
    labels = np.array([it.categories for it in categories])
    assert labels.sum(axis=0).tolist() == [180, 20, 49, 1, 10, 11]
    assert int((~labels.any(axis=1)).sum()) == 1200
    assert [it.text for it in texts] != [it.text for it in categories]
    assert Counter(it.text for it in texts) == Counter(it.text for it in categories)


@real
def test_test_counts_of_task_c() -> None:  # XPUDU-C7
    english, arabic = (read_pairs(root(), language) for language in LANGUAGES)
    assert Counter(it.sarcastic for it in english) == {0: 107, 1: 93}
    assert Counter(it.sarcastic for it in arabic) == {0: 100, 1: 100}
    assert dialects(arabic) == {"nile": 129, "magreb": 26, "levant": 19, "msa": 17, "gulf": 9}
    for pairs, share in ((english, 0.605), (arabic, 0.405)):
        longer = [len(it.texts[it.sarcastic or 0]) > len(it.texts[1 - (it.sarcastic or 0)]) for it in pairs]
        assert np.mean(longer) == pytest.approx(share, abs=1e-12)


@real
def test_overlaps_of_training_and_test() -> None:  # XPUDU-C7
    train = {language: read_train(root(), language) for language in LANGUAGES}
    test = {language: read_texts(root(), language) for language in LANGUAGES}
    shared = {it: {key(x.text) for x in train[it]} & {key(x.text) for x in test[it]} for it in LANGUAGES}
    assert [len(shared["en"]), len(shared["ar"])] == [1, 0]
    rephrases = {key(it.rephrase) for it in train["ar"] if it.rephrase}
    assert [it.sarcastic for it in test["ar"] if key(it.text) in rephrases] == [0, 0, 0]
    for language, count in zip(LANGUAGES, (91, 0), strict=True):
        known = {key(it.text) for it in test[language]}
        assert sum(all(key(text) in known for text in it.texts) for it in read_pairs(root(), language)) == count


@real
@pytest.mark.parametrize(("language", "positives"), [("en", 325), ("ar", 251)])
def test_votes_go_with_the_test_texts_by_row(language: Language, positives: int) -> None:  # XPUDU-C7
    votes = read_votes(root(), "A", language)
    assert votes.labels.tolist() == [it.sarcastic for it in read_texts(root(), language)]
    assert int(votes.aggregated.sum()) == positives
    assert np.array_equal(votes.votes >= 3, votes.aggregated == 1)
    pairs = read_votes(root(), "C", language)
    assert pairs.labels.tolist() == [it.sarcastic for it in read_pairs(root(), language)]
    assert (pairs.votes.min(), pairs.votes.max()) == (3, 5)


@real
def test_every_task_loads_by_name_from_the_catalogue_or_a_folder() -> None:
    tasks: list[tuple[Task, Language]] = [("A", "en"), ("A", "ar"), ("B", "en"), ("C", "en"), ("C", "ar")]
    sizes = [
        [len(load_isarcasm(task=task, language=language, split=split)) for split in get_args(Split)]
        for task, language in tasks
    ]
    assert sizes == [[3467, 1400], [3102, 1400], [3467, 1400], [867, 200], [745, 200]]
    assert load_isarcasm(root(), task="B", language="en", split="test") == read_categories(root())
    pairs = load_isarcasm(task="C", language="ar")
    assert Counter(pair.sarcastic for pair in pairs) == {0: 373, 1: 372}
