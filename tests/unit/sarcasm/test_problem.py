"""What the arms learn from and are scored on."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest

from modicum.core import catalogue
from modicum.core.method import Job
from modicum.errors import DataError
from modicum.sarcasm.comparison import Problem, setup
from modicum.sarcasm.data.examples import CATEGORIES, Example
from modicum.sarcasm.data.folds import key
from modicum.sarcasm.data.isarcasm import read_categories, read_pairs, read_texts, read_train
from modicum.sarcasm.written import read_written

WRITTEN = [*read_written("en"), *read_written("ar")]


def write(path: Path, examples: Sequence[Example], *, columns: Sequence[str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        for it in examples:
            known = {"text": it.text, "sarcastic": it.sarcastic, "rephrase": it.rephrase, "dialect": it.dialect}
            writer.writerow(known | dict(zip(CATEGORIES, it.categories or (), strict=bool(it.categories))))
    return path


def demo(seed: int = 0, data: Path | None = None) -> Problem:
    return setup(Job(seed=seed, budget="demo", data=data))


def assert_nothing_is_asked_that_was_learnt(posed: Problem) -> None:
    trained = {key(text) for it in posed.train for text in (it.text, it.rephrase) if text}
    asked = [text for texts in posed.texts.values() for it in texts for text in (it.text, it.rephrase) if text]
    asked += [text for pairs in posed.pairs.values() for pair in pairs for text in pair.texts]
    asked += [it.text for it in posed.categories]
    assert asked
    assert trained.isdisjoint(map(key, asked))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_text_of_the_test_part_is_trained_on(seed: int) -> None:  # XPUDU-C12
    assert_nothing_is_asked_that_was_learnt(demo(seed))


def test_the_demo_holds_three_in_ten_of_the_written_texts_out() -> None:
    posed = demo()
    held = [it for texts in posed.texts.values() for it in texts]
    assert posed.languages == ("en", "ar")
    assert len(posed.train) + len(held) == len(WRITTEN) == 700
    assert len(held) == pytest.approx(0.3 * 700, abs=4)
    assert sum(it.sarcastic or 0 for it in held) == pytest.approx(len(held) / 2, abs=4)
    assert list(posed.categories) == [it for it in held if it.categories is not None]


def test_each_sarcastic_text_is_asked_for_beside_its_rephrase_first_or_second() -> None:
    posed = demo()
    for language, pairs in posed.pairs.items():
        sarcastic = [it for it in posed.texts[language] if it.sarcastic]
        assert [pair.texts[pair.sarcastic or 0] for pair in pairs] == [it.text for it in sarcastic]
        assert [pair.texts[1 - (pair.sarcastic or 0)] for pair in pairs] == [it.rephrase for it in sarcastic]
        assert [pair.dialect for pair in pairs] == [it.dialect for it in sarcastic]
        assert 0.25 < sum(pair.sarcastic or 0 for pair in pairs) / len(pairs) < 0.75


def test_the_seed_parts_the_texts() -> None:
    assert demo(0) == demo(0)
    assert demo(0).train != demo(1).train


def test_a_file_of_ones_own_is_parted_too(tmp_path: Path) -> None:
    columns = ("text", "sarcastic", "rephrase", "dialect", *CATEGORIES)
    path = write(tmp_path / "mine.csv", WRITTEN[:80] + WRITTEN[400:480], columns=columns)
    posed = demo(data=path)
    assert_nothing_is_asked_that_was_learnt(posed)
    assert posed.languages == ("en", "ar")
    assert len(posed.train) + sum(map(len, posed.texts.values())) == 160
    assert posed.categories
    assert all(it.dialect for it in posed.texts["ar"])
    assert setup(Job(seed=0, budget="full", data=path)) == posed


def test_without_rephrases_and_categories_there_is_task_a_alone(tmp_path: Path) -> None:
    posed = demo(data=write(tmp_path / "mine.csv", WRITTEN[:60], columns=("text", "sarcastic")))
    assert posed.languages == ("en",)
    assert list(posed.texts) == ["en"]
    assert posed.pairs == {}
    assert list(posed.categories) == []


def test_unlabelled_texts_of_a_file_are_left_out(tmp_path: Path) -> None:
    unknown = [Example(text=f"what is number {number}", language="en") for number in range(5)]
    posed = demo(data=write(tmp_path / "mine.csv", [*unknown, *WRITTEN[:40]], columns=("text", "sarcastic")))
    assert len(posed.train) + len(posed.texts["en"]) == 40


def test_files_without_labels_or_with_one_alone_are_told(tmp_path: Path) -> None:
    unlabelled = write(tmp_path / "unlabelled.csv", WRITTEN[:20], columns=("text",))
    with pytest.raises(DataError, match=r"unlabelled.csv has no labelled text. Give columns text and sarcastic"):
        demo(data=unlabelled)
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("text_0,text_1\na,b\n")
    with pytest.raises(DataError, match=r"pairs.csv has no labelled text"):
        demo(data=pairs)
    plain = [it for it in WRITTEN[:60] if not it.sarcastic]
    lonely = next(it for it in WRITTEN if it.sarcastic)
    one = write(tmp_path / "one.csv", [*plain, lonely], columns=("text", "sarcastic"))
    with pytest.raises(DataError, match=r"Only 1 distinct texts in 'en' are labelled 1, such as .*, but 2 are needed"):
        demo(data=one)
    with pytest.raises(DataError, match=r"nothing.csv"):
        demo(data=tmp_path / "nothing.csv")


def test_a_folder_must_be_laid_out_as_the_shared_tasks(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train.En.csv"):
        demo(data=tmp_path)


@pytest.mark.data("isarcasmeval")
def test_full_is_the_shared_task_whatever_the_seed() -> None:
    folder = catalogue.fetch("isarcasmeval")
    posed = setup(Job(seed=0, budget="full"))
    assert posed == setup(Job(seed=5, budget="full")) == demo(data=folder)
    assert posed.train == [*read_train(folder, "en"), *read_train(folder, "ar")]
    assert posed.texts == {language: read_texts(folder, language) for language in ("en", "ar")}
    assert posed.pairs == {language: read_pairs(folder, language) for language in ("en", "ar")}
    assert posed.categories == read_categories(folder)
