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
from modicum.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy.typing as npt

    from modicum.sarcasm.examples import Example, Pair
    from modicum.sarcasm.intervals import Interval
    from modicum.sarcasm.isarcasm import Votes
    from modicum.sarcasm.submission import Submission

__all__ = ["score", "submit"]

_MAJORITY = 3  # of the five readers


class TaskName(StrEnum):
    """The tasks, as typer wants them."""

    A = "A"
    B = "B"
    C = "C"


TaskOption = Annotated[TaskName, typer.Option("--task", help="A: sarcastic or not; B: categories; C: which of two.")]
Spoken = Annotated[LanguageName, typer.Option("--language", help="Of the task.")]


def score(
    gold: Annotated[str, typer.Argument(help="Test file of the task, with its labels.")],
    predicted: Annotated[Path, typer.Argument(help="Submission, .zip or .txt, or the file of readers' votes, .csv.")],
    *,
    task: TaskOption = TaskName.A,
    language: Spoken = LanguageName.en,
    against: Annotated[Path | None, typer.Option(help="The same of another system: is there a difference?")] = None,
    at_least: Annotated[
        int | None, typer.Option(min=1, max=5, help="Votes of readers that make a text sarcastic (A); 3.")
    ] = None,
    json: Json = False,
) -> None:
    """Score a submission as the shared task does: A by F1 of sarcastic, B by macro F1 of six, C by accuracy.

    The main score has its 95 % interval, by a bootstrap over the texts. iSarcasmEval's third-party annotations are
    scored likewise: what five readers said.

    Raises:
        ConfigError: if votes are to be counted where there are none.
        DataError: if a file is of another task, language or number of texts.
    """
    from modicum.sarcasm.intervals import difference_interval, score_interval
    from modicum.sarcasm.metrics import score_a, score_b, score_c

    files = [it for it in (predicted, against) if it is not None]
    least = _least_votes(at_least, task, files)
    read = [_read(it, task, language) for it in files]
    truth = _gold(gold, task, language)
    ours, *others = [_predictions(said, path, truth, task, least) for said, path in zip(read, files, strict=True)]
    scorer: Any = {"A": score_a, "B": score_b, "C": score_c}[task.value]
    told = asdict(scorer(truth, ours)) | {"interval": _main(score_interval(task.value, truth, ours), task)}
    for theirs in others:
        difference = difference_interval(task.value, truth, ours, theirs)
        told["difference"] = _main(difference, task) | {"against": str(against), "verdict": _verdict(difference)}
    typer.echo(json_format.dumps(told, indent=2) if json else _words(told))


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
        raise DataError("The system knows no categories.", hint="Train it on texts whose categories are known.")
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
            hint="Give the test file of that task.",
        )
    return found


def _gold(source: str, task: TaskName, language: LanguageName) -> list[Any]:
    labels = [_label(it, task) for it in _items(source, task, language)]
    missing = sum(label is None for label in labels)
    if missing:
        raise DataError(
            f"{missing} of the {len(labels)} rows of {source} have no label of task {task.value}.",
            hint="Give the test file with its labels.",
        )
    return labels


def _label(item: Example | Pair, task: TaskName) -> Any:
    return cast("Example", item).categories if task is TaskName.B else item.sarcastic


def _least_votes(given: int | None, task: TaskName, files: list[Path]) -> int:
    if given is not None and (task is not TaskName.A or not any(map(_holds_votes, files))):
        raise ConfigError("--at-least counts the votes of readers on task A.", hint="Give it with their .csv file.")
    return given or _MAJORITY


def _holds_votes(path: Path) -> bool:
    return path.suffix.lower() == ".csv"


def _read(path: Path, task: TaskName, language: LanguageName) -> Submission | Votes:
    from modicum.sarcasm.isarcasm import read_vote_file
    from modicum.sarcasm.submission import read_submission

    if _holds_votes(path):
        if task is TaskName.B:
            raise DataError(f"{path} has no categories: readers were not asked for them.", hint="Give a submission.")
        return read_vote_file(path, task.value)
    submission = read_submission(path)
    if (submission.task, submission.language) != (task.value, language.value):
        raise DataError(
            f"{path} is of task {submission.task} in {submission.language!r}, not {task.value} in {language.value!r}.",
            hint="Name the task and the language that it was made for.",
        )
    return submission


def _predictions(
    said: Submission | Votes, path: Path, truth: list[Any], task: TaskName, at_least: int
) -> npt.ArrayLike:
    from modicum.sarcasm.isarcasm import Votes

    labels = said.labels if isinstance(said, Votes) else said.predictions
    if len(labels) != len(truth):
        raise DataError(
            f"{path} is of {len(labels):,} items, the test file of {len(truth):,}.",
            hint="Give what was said of that test file.",
        )
    if not isinstance(said, Votes):
        return said.predictions
    others = sum(ours != theirs for ours, theirs in zip(truth, labels, strict=True))
    if others:
        raise DataError(
            f"{others:,} of the {len(truth):,} labels in {path} are not those of the test file.",
            hint="Give the votes on that test file, in its language and order.",
        )
    return said.votes >= at_least if task is TaskName.A else said.aggregated


def _main(found: Interval, task: TaskName) -> dict[str, Any]:
    from modicum.core.paired import LEVEL
    from modicum.sarcasm.intervals import MAIN_SCORES

    return {"of": MAIN_SCORES[task.value], "level": LEVEL, **asdict(found)}


def _verdict(difference: Interval) -> str:
    return "no difference shown" if difference.covers_zero else "better" if difference.value > 0 else "worse"


def _words(told: dict[str, Any]) -> str:
    scores = dict(told)
    interval, difference = scores.pop("interval"), scores.pop("difference", None)
    flat: dict[str, Any] = {}
    for name, it in scores.items():
        flat |= it if isinstance(it, dict) else {name: it}  # of task B, that of each category
    lines = {name: f"{name}: {it:.4f}" for name, it in flat.items()}
    lines[interval["of"]] += f" (95 % interval {interval['low']:.4f} to {interval['high']:.4f})"
    if difference:
        lines["difference"] = (
            f"{difference['of']} less that of {difference['against']}: {difference['value']:+.4f} "
            f"(95 % interval {difference['low']:+.4f} to {difference['high']:+.4f}), {difference['verdict']}"
        )
    return "\n".join(lines.values())
