"""``modicum sarcasm score`` and ``submit``: the shared task's files, and its scores."""

from __future__ import annotations

import json as json_format
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from modicum.cli.console import Json, say
from modicum.cli.sarcasm.columns import LanguageName, read_table
from modicum.cli.sarcasm.prediction import System
from modicum.errors import DataError

if TYPE_CHECKING:
    from modicum.sarcasm.examples import Example, Pair

__all__ = ["score", "submit"]


class TaskName(StrEnum):
    """The tasks, as typer wants them."""

    A = "A"
    B = "B"
    C = "C"


TaskOption = Annotated[TaskName, typer.Option("--task", help="A: sarcastic or not; B: categories; C: which of two.")]
Spoken = Annotated[LanguageName, typer.Option("--language", help="Of the task.")]


def score(
    gold: Annotated[str, typer.Argument(help="Test file of the task, with its labels.")],
    predicted: Annotated[Path, typer.Argument(help="Submission, .zip or .txt.")],
    *,
    task: TaskOption = TaskName.A,
    language: Spoken = LanguageName.en,
    json: Json = False,
) -> None:
    """Score a submission as the shared task does: A by F1 of sarcastic, B by macro F1 of six, C by accuracy.

    Raises:
        DataError: if it is of another task or language.
    """
    from modicum.sarcasm.metrics import score_a, score_b, score_c
    from modicum.sarcasm.submission import read_submission

    submission = read_submission(predicted)
    if (submission.task, submission.language) != (task.value, language.value):
        raise DataError(
            f"{predicted} is of task {submission.task} in {submission.language!r}, not {task.value} in "
            f"{language.value!r}.",
            mend="Name the task and the language that it was made for.",
        )
    truth = _gold(gold, task, language)
    scorer: Any = {"A": score_a, "B": score_b, "C": score_c}[task.value]
    scores = asdict(scorer(truth, submission.predictions))
    typer.echo(json_format.dumps(scores, indent=2) if json else _words(scores))


def submit(
    items: Annotated[str, typer.Argument(help="Test file of the task; its labels are not looked at.")],
    *,
    model: System,
    file: Annotated[Path, typer.Option("--out", help="The .zip file.")],
    task: TaskOption = TaskName.A,
    language: Spoken = LanguageName.en,
) -> None:
    """Predict the official test file and write the shared task's submission.

    Raises:
        DataError: if the system knows no categories.
    """
    from modicum.sarcasm.submission import write_submission
    from modicum.sarcasm.system import SarcasmSystem

    system = SarcasmSystem.load(model)
    asked = _items(items, task, language)
    if task is TaskName.C:
        predictions: Any = [int(it > 0.5) for it in system.compare(cast("list[Pair]", asked))]
    else:
        readings = system.read(cast("list[Example]", asked))
        predictions = readings.labels if task is TaskName.A else readings.category_labels
    if predictions is None:
        raise DataError("The system knows no categories.", mend="Train it on texts whose categories are known.")
    write_submission(file, task.value, language.value, predictions, items=asked)
    say(f"{len(asked):,} predictions of task {task.value}: {file}")


def _items(source: str, task: TaskName, language: LanguageName) -> list[Example] | list[Pair]:
    from modicum.cli.sarcasm.columns import LanguageChoice

    table = read_table(source, language=LanguageChoice(language.value))
    found = table.pairs if task is TaskName.C else table.examples
    if not found:
        raise DataError(
            f"{source} has no {'pairs' if task is TaskName.C else 'texts'}; its columns are "
            f"{', '.join(table.columns)}.",
            mend="Give the test file of that task.",
        )
    return found


def _gold(source: str, task: TaskName, language: LanguageName) -> list[Any]:
    labels = [_label(it, task) for it in _items(source, task, language)]
    missing = sum(label is None for label in labels)
    if missing:
        raise DataError(
            f"{missing} of the {len(labels)} rows of {source} have no label of task {task.value}.",
            mend="Give the test file with its labels.",
        )
    return labels


def _label(item: Example | Pair, task: TaskName) -> Any:
    return cast("Example", item).categories if task is TaskName.B else item.sarcastic


def _words(scores: dict[str, Any]) -> str:
    flat: dict[str, Any] = {}
    for name, it in scores.items():
        flat |= it if isinstance(it, dict) else {name: it}  # of task B, that of each category
    return "\n".join(f"{name}: {it:.4f}" for name, it in flat.items())
