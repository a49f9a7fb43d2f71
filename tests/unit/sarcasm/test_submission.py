"""What the shared task takes comes back as it was written, and what it would refuse is refused here."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modicum.core import catalogue
from modicum.errors import ConfigError, DataError, UnsafeFileError
from modicum.sarcasm.data.examples import CATEGORIES, Example, Language, Pair
from modicum.sarcasm.data.isarcasm import Task, read_categories, read_pairs, read_texts
from modicum.sarcasm.evaluate.predictions import ITEMS, read_submission, write_submission
from modicum.sarcasm.evaluate.scores import score_a, score_b, score_c

SIX = ",".join(CATEGORIES)
TASKS: list[tuple[Task, Language, str]] = [
    ("A", "en", "task_a_en"),
    ("A", "ar", "task_a_ar"),
    ("B", "en", SIX),
    ("C", "en", "task_c_en"),
    ("C", "ar", "task_c_ar"),
]


def drawn(task: Task, seed: int = 0) -> np.ndarray:
    shape = (ITEMS[task], 6) if task == "B" else ITEMS[task]
    return np.random.default_rng(seed).integers(0, 2, shape)


def zipped(path: Path, members: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path


@pytest.mark.parametrize(("task", "language", "header"), TASKS)
def test_what_is_written_is_read_again(task: Task, language: Language, header: str, tmp_path: Path) -> None:
    # XPUDU-C9
    path, predictions = tmp_path / "out.zip", drawn(task)
    write_submission(path, task, language, predictions)
    read = read_submission(path)
    assert (read.task, read.language) == (task, language)
    assert np.array_equal(read.predictions, predictions)
    with zipfile.ZipFile(path) as archive:
        (name,) = archive.namelist()
        lines = archive.read(name).decode().splitlines()
    assert lines[0] == header
    assert len(lines) == 1 + ITEMS[task]
    assert lines[1] == ",".join(map(str, np.atleast_1d(predictions[0])))


def test_the_same_predictions_are_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.zip", "two.zip"):
        write_submission(tmp_path / name, "C", "en", drawn("C"))
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent/out.zip cannot be written \(No such file"):
        write_submission(tmp_path / "absent" / "out.zip", "C", "en", drawn("C"))


def test_a_text_file_alone_is_read_whatever_its_line_ends_and_spaces(tmp_path: Path) -> None:
    path = tmp_path / "pred.txt"
    path.write_bytes("\ufefftask_c_ar\r\n1\r\n0 \r\n1\r\n".encode())
    read = read_submission(path)
    assert (read.task, read.language, read.predictions.tolist()) == ("C", "ar", [1, 0, 1])
    path.write_text(SIX.replace(",", ", ") + "\n1, 0, 0, 0, 0, 1\n", encoding="utf-8")
    assert read_submission(path).predictions.tolist() == [[1, 0, 0, 0, 0, 1]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"has the header ''. Begin it with one of: task_a_en; task_a_ar; sarcasm,irony"),
        ("sarcastic\n1\n", r"has the header 'sarcastic'"),
        ("irony,sarcasm,satire,understatement,overstatement,rhetorical_question\n", r"has the header 'irony,sarcasm"),
        ("task_a_en\n1\n1.0\n", r"line 3 is '1.0', expected 1 label, 0 or 1. Write the predictions again"),
        ("task_a_en\nnan\n", r"line 2 is 'nan'"),
        ("task_a_en\n2\n", r"line 2 is '2'"),
        ("task_a_en\n\n1\n", r"line 2 is ''"),
        ("task_a_en\n0,1\n", r"line 2 is '0,1', expected 1 label"),
        (f"{SIX}\n0,0,0,0,0\n", r"line 2 is '0,0,0,0,0', expected 6 labels"),
    ],
)
def test_a_broken_file_is_named_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "pred.txt").write_text(text, encoding="utf-8")
    for path in (tmp_path / "pred.txt", zipped(tmp_path / "pred.zip", {"x.txt": text})):
        with pytest.raises(DataError, match=message):
            read_submission(path)


def test_a_zip_of_more_or_less_than_one_file_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "two.zip", {"a.txt": "task_a_en\n", "__MACOSX/a.txt": "x"})
    with pytest.raises(DataError, match=r"two.zip has 2 files \(a.txt, __MACOSX/a.txt\), expected one. Zip the text"):
        read_submission(path)
    with pytest.raises(DataError, match=r"none.zip has 0 files"):
        read_submission(zipped(tmp_path / "none.zip", {}))


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = zipped(tmp_path / "bomb.zip", {"a.txt": "0\n" * 10_000_000})
    assert path.stat().st_size < 1 << 20
    with pytest.raises(
        UnsafeFileError, match=r"bomb.zip holds 20,000,000 bytes or more, and at most 1,048,576 are read"
    ):
        read_submission(path)
    (tmp_path / "long.txt").write_text("0\n" * 1_000_000, encoding="utf-8")
    with pytest.raises(UnsafeFileError, match=r"long.txt holds 2,000,000 bytes, and at most 1,048,576 are read"):
        read_submission(tmp_path / "long.txt")


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pred.txt").write_bytes(b"task_a_en\n\xff\n")
    with pytest.raises(DataError, match=r"pred.txt is no text"):
        read_submission(tmp_path / "pred.txt")
    with pytest.raises(DataError, match=r"absent.zip cannot be read"):
        read_submission(tmp_path / "absent.zip")


@pytest.mark.parametrize(
    ("task", "language", "predictions", "message"),
    [
        ("A", "en", np.zeros(1399, dtype=int), r"has the shape \(1399,\), expected \(1400,\). Give one row for each"),
        ("A", "en", np.zeros((1400, 1), dtype=int), r"has the shape \(1400, 1\), expected \(1400,\)"),
        ("B", "en", np.zeros(1400, dtype=int), r"has the shape \(1400,\), expected \(1400, 6\)"),
        (
            "C",
            "ar",
            np.full(200, math.nan),
            r"A predicted label is nan, at index 0",
        ),
        ("C", "ar", np.full(200, 0.5), r"A predicted label is 0.5"),
        ("C", "ar", np.full(200, "1"), r"A predicted label is '1'"),
        (
            "B",
            "ar",
            np.zeros((1400, 6), dtype=int),
            r"There is no task 'B' in 'ar'. Use A or C in en or ar, or B in en",
        ),
    ],
)
def test_predictions_that_the_task_would_not_take_are_not_written(
    task: Task, language: Language, predictions: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        write_submission(tmp_path / "out.zip", task, language, predictions)
    assert list(tmp_path.iterdir()) == []


def test_the_order_is_compared_with_the_official_file(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    rows = [f"text {number}" for number in range(1400)]
    table = "text,sarcastic\n" + "".join(f"{row},0\n" for row in rows)
    (tmp_path / "test" / "task_A_En_test.csv").write_text(table, encoding="utf-8")
    items = [Example(text=row, language="en") for row in rows]
    write_submission(tmp_path / "out.zip", "A", "en", drawn("A"), items=items, root=tmp_path)
    swapped = [items[0], items[2], items[1], *items[3:]]
    for given, message in (
        (
            swapped,
            r"The items are the official texts in another order; the first that differs is number 2. Predict the",
        ),
        ([*items[:-1], Example(text="new", language="en")], r"The items are not the official texts; .* number 1400"),
        (items[:-1], r"The items are not the official texts; the first that differs is number 1400"),
        ([*items, items[0]], r"The items are not the official texts; the first that differs is number 1401"),
    ):
        with pytest.raises(DataError, match=message):
            write_submission(tmp_path / "no.zip", "A", "en", drawn("A"), items=given, root=tmp_path)
    assert not (tmp_path / "no.zip").exists()


@pytest.mark.data("isarcasmeval")
def test_task_b_in_the_order_of_task_a_is_refused(tmp_path: Path) -> None:  # XPUDU-C9
    folder = catalogue.fetch("isarcasmeval")
    write_submission(tmp_path / "out.zip", "B", "en", drawn("B"), items=read_categories(folder))
    with pytest.raises(DataError, match=r"The items are the official texts in another order; .* of task B as they sta"):
        write_submission(tmp_path / "no.zip", "B", "en", drawn("B"), items=read_texts(folder, "en"))


@pytest.mark.data("isarcasmeval")
@pytest.mark.parametrize(("task", "language", "_header"), TASKS)
def test_a_score_is_the_same_after_writing_and_reading(
    task: Task, language: Language, _header: str, tmp_path: Path
) -> None:  # XPUDU-C9
    folder = catalogue.fetch("isarcasmeval")
    items: list[Example] | list[Pair]
    match task:
        case "A":
            items = read_texts(folder, language)
        case "B":
            items = read_categories(folder)
        case _:
            items = read_pairs(folder, language)
    gold = np.array([it.categories if isinstance(it, Example) and task == "B" else it.sarcastic for it in items])
    predictions = np.where(drawn(task, seed=1) & drawn(task, seed=2), 1 - gold, gold)
    write_submission(tmp_path / "out.zip", task, language, predictions, items=items)
    score = {"A": score_a, "B": score_b, "C": score_c}[task]
    assert score(gold, read_submission(tmp_path / "out.zip").predictions) == score(gold, predictions)
    assert score(gold, predictions) != score(gold, gold)
