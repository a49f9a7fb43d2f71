"""What somebody predicted for the items of a task: a column of a table, a submission, or the votes of readers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from modicum.core.tables import read_records
from modicum.errors import DataError
from modicum.sarcasm.examples import Example, Language, Pair
from modicum.sarcasm.isarcasm import Votes, read_vote_file
from modicum.sarcasm.submission import Submission, read_submission
from modicum.sarcasm.tables import read_named_categories, read_predictions

Task: TypeAlias = Literal["A", "B", "C"]


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
