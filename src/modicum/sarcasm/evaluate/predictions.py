"""Files of predictions: the shared task's submissions, columns of a table, and the votes of readers."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from modicum.core import catalogue
from modicum.core.files import aside
from modicum.core.safeload import read_members
from modicum.core.safeload.limits import read_bounded
from modicum.core.tables import read_records
from modicum.errors import DataError
from modicum.sarcasm.data.examples import CATEGORIES, Example, Language, Pair
from modicum.sarcasm.data.isarcasm import DATA_SET, Task, Votes, read_categories, read_pairs, read_texts, read_vote_file
from modicum.sarcasm.data.tables import read_named_categories, read_predictions
from modicum.sarcasm.evaluate.scores import whole_labels

ITEMS: dict[Task, int] = {"A": 1400, "B": 1400, "C": 200}

_HEADERS: dict[str, tuple[Task, Language]] = {
    "task_a_en": ("A", "en"),
    "task_a_ar": ("A", "ar"),
    ",".join(CATEGORIES): ("B", "en"),
    "task_c_en": ("C", "en"),
    "task_c_ar": ("C", "ar"),
}
_LARGEST = 1 << 20  # ours: 1,400 lines of six labels are 17 kB
_MOST_MEMBERS = 100
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same predictions give the same bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """Predictions, and what they are of."""

    task: Task  # "A", "B" or "C"
    language: Language  # "en" or "ar"
    predictions: npt.NDArray[np.int64]  # 0 or 1, shape (n,); for task B (n, 6), in the order of `CATEGORIES`


def write_submission(
    path: Path,
    task: Task,
    language: Language,
    predictions: npt.ArrayLike,
    *,
    items: Sequence[Example] | Sequence[Pair] | None = None,
    root: Path | None = None,
) -> None:
    """Write predictions of the official test items as the shared task takes them."""
    header = next((text for text, of in _HEADERS.items() if of == (task, language)), None)
    if header is None:
        raise DataError(f"There is no task {task!r} in {language!r}.", hint="Use A or C in en or ar, or B in en.")
    labels = whole_labels(predictions, "predicted")
    shape = (ITEMS[task], len(CATEGORIES)) if task == "B" else (ITEMS[task],)
    if labels.shape != shape:
        raise DataError(
            f"The submission has the shape {labels.shape}, expected {shape}.",
            hint="Give one row for each item of the official test file, in its order.",
        )
    if items is not None:
        _check_order(items, task, language, root)
    lines = [header, *(",".join(map(str, np.atleast_1d(row).tolist())) for row in labels)]
    member = zipfile.ZipInfo(f"task_{task}_{language}.txt".lower(), _EPOCH)
    member.compress_type = zipfile.ZIP_DEFLATED
    with aside(path) as part, zipfile.ZipFile(part, "w") as archive:
        archive.writestr(member, "\n".join(lines) + "\n")


def read_submission(path: Path) -> Submission:
    """Read a submission, zipped or as the text file alone."""
    header, *lines = _text(path).rstrip().splitlines() or [""]
    name = ",".join(cell.strip() for cell in header.split(","))
    if name not in _HEADERS:
        raise DataError(f"{path} has the header {header[:80]!r}.", hint=f"Begin it with one of: {'; '.join(_HEADERS)}.")
    task, language = _HEADERS[name]
    width = len(CATEGORIES) if task == "B" else 1
    rows: list[list[int]] = []
    for number, line in enumerate(lines, start=2):
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != width or not set(cells) <= {"0", "1"}:
            raise DataError(
                f"{path}, line {number} is {line[:80]!r}, expected {width} label{'s' * (width > 1)}, 0 or 1.",
                hint="Write the predictions again.",
            )
        rows.append([int(cell) for cell in cells])
    predictions = np.array(rows, dtype=np.int64).reshape(len(rows), width)
    return Submission(task=task, language=language, predictions=predictions if width > 1 else predictions[:, 0])


def _check_order(items: Sequence[Example] | Sequence[Pair], task: Task, language: Language, root: Path | None) -> None:
    if root is None and catalogue.status(DATA_SET) == "absent":
        return
    folder = catalogue.fetch(DATA_SET) if root is None else root
    official: Sequence[Example] | Sequence[Pair]
    match task:
        case "A":
            official = read_texts(folder, language)
        case "B":
            official = read_categories(folder)
        case "C":
            official = read_pairs(folder, language)
    given, wanted = ([_words(item) for item in them] for them in (items, official))
    if given == wanted:
        return
    shorter = min(len(given), len(wanted))
    place = next((place for place in range(shorter) if given[place] != wanted[place]), shorter)
    order = "the official texts in another order" if sorted(given) == sorted(wanted) else "not the official texts"
    raise DataError(
        f"The items are {order}; the first that differs is number {place + 1}.",
        hint=f"Predict the rows of the official test file of task {task} as they stand.",
    )


def _words(item: Example | Pair) -> tuple[str, ...]:
    return item.texts if isinstance(item, Pair) else (item.text,)


def _text(path: Path) -> str:
    data = read_bounded(path, max_bytes=_LARGEST)
    name = str(path)
    if zipfile.is_zipfile(path):
        members = list(read_members(path, max_members=_MOST_MEMBERS, max_bytes=_LARGEST))
        if len(members) != 1:
            raise DataError(
                f"{path} has {len(members)} files ({', '.join(name for name, _ in members)}), expected one.",
                hint="Zip the text file alone.",
            )
        name, data = f"{members[0][0]} in {path}", members[0][1]
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is no text ({error.reason}).", hint="Write the predictions again.") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """A file of predictions, whose kind is known; a table is read with the items that it is of."""

    path: Path
    task: Task
    column: str  # of the predictions in a table
    read: Submission | Votes | None = None  # None for a table

    @property
    def by_readers(self) -> bool:
        """Whether these are votes."""
        return isinstance(self.read, Votes)

    def predictions(
        self, items: Sequence[Example] | Sequence[Pair], truth: Sequence[Any], *, text_column: str | None, at_least: int
    ) -> Any:
        """Give the predictions of labelled items; with readers, a text is sarcastic from some votes on."""
        if self.read is None:
            of_table = read_named_categories if self.task == "B" else read_predictions
            return of_table(self.path, items, column=self.column, text_column=text_column)
        labels = self.read.labels if isinstance(self.read, Votes) else self.read.predictions
        if len(labels) != len(truth):
            raise DataError(
                f"{self.path} is of {len(labels):,} items, the labelled file of {len(truth):,}.",
                hint="Give the predictions of that file.",
            )
        if not isinstance(self.read, Votes):
            return labels
        others = sum(ours != theirs for ours, theirs in zip(truth, labels, strict=True))
        if others:
            raise DataError(
                f"{others:,} of the {len(truth):,} labels in {self.path} are not those of the test file.",
                hint="Give the votes on that test file, in its language and order.",
            )
        return self.read.votes >= at_least if self.task == "A" else self.read.aggregated


def open_answers(path: Path, task: Task, language: Language, column: str | None) -> Answers:
    """Find out what a file of predictions is, and read it unless it is a table; no column stands for the usual one."""
    named, column = column is not None, column or ("categories" if task == "B" else "predicted")
    if path.suffix.lower() in {".zip", ".txt"}:
        submission = read_submission(path)
        if (submission.task, submission.language) != (task, language):
            raise DataError(
                f"{path} is of task {submission.task} in {submission.language!r}, not {task} in {language!r}.",
                hint="Write --task and --language as it was made for.",
            )
        return Answers(path=path, task=task, column=column, read=submission)
    columns, _ = read_records(path)
    if column in columns:
        return Answers(path=path, task=task, column=column)
    if named or "human_aggregated" not in columns:
        raise DataError(
            f"{path} has no column {column!r}; its columns are {', '.join(map(repr, columns))}.",
            hint="Name the column of the predictions by --prediction-col.",
        )
    if task == "B":
        raise DataError(f"{path} has no categories: readers were not asked for them.", hint="Give a submission.")
    return Answers(path=path, task=task, column=column, read=read_vote_file(path, task))
