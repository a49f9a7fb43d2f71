"""``modicum sarcasm score`` and ``submit``: the shared task's files, and its scores."""

from __future__ import annotations

import json as json_format
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, cast

import typer

from modicum.cli.console import Json, say
from modicum.cli.sarcasm.columns import LabelColumn, LanguageName, System, TextColumn, check_model, read_table
from modicum.core.files import check_target
from modicum.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from modicum.sarcasm.examples import Example, Pair
    from modicum.sarcasm.intervals import Interval
    from modicum.sarcasm.isarcasm import Votes
    from modicum.sarcasm.submission import Submission


Kind: TypeAlias = Literal["submission", "votes", "table"]  # what a file of predictions is

_MAJORITY = 3  # of the five readers


class TaskName(StrEnum):
    """The tasks, as typer wants them."""

    A = "A"
    B = "B"
    C = "C"


TaskOption = Annotated[TaskName, typer.Option("--task", help="A: sarcastic or not; B: categories; C: which of two.")]
Spoken = Annotated[LanguageName, typer.Option("--language", help="Of the task.")]


def score(
    gold: Annotated[str, typer.Argument(help="Labelled file: the test file of the task, or your own.")],
    predicted: Annotated[
        Path | None,
        typer.Argument(
            help="Predictions in the same order: CSV, TSV or JSONL, a submission (.zip, .txt) or the file of readers' "
            "votes. If not given, they are a column of GOLD."
        ),
    ] = None,
    *,
    task: TaskOption = TaskName.A,
    language: Spoken = LanguageName.en,
    against: Annotated[Path | None, typer.Option(help="The same of another system: is there a difference?")] = None,
    at_least: Annotated[
        int | None, typer.Option(min=1, max=5, help="Votes of readers that make a text sarcastic (A); 3.")
    ] = None,
    text: TextColumn = None,
    label: LabelColumn = None,
    prediction: Annotated[
        str | None,
        typer.Option(
            "--prediction-col", help="Column of predictions, 0 and 1; predicted. On task B of categories; categories."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Score predictions as the shared task does: A by F1 of sarcastic, B by macro F1 of six, C by accuracy.

    The main score has its 95 % interval, by a bootstrap over the texts. iSarcasmEval's third-party annotations are
    scored likewise: what five readers said. What "predict --out found.csv" made of a labelled file is scored by
    "score found.csv"; columns of other names are named.
    """
    files = [predicted or Path(gold), *([] if against is None else [against])]
    column = prediction or ("categories" if task is TaskName.B else "predicted")
    kinds: list[Kind] = [_kind(it, column, named=prediction is not None) for it in files]
    if at_least is not None and (task is not TaskName.A or "votes" not in kinds):
        raise ConfigError("--at-least counts the votes of readers on task A.", hint="Give it with their .csv file.")
    read = [None if kind == "table" else _read(it, kind, task, language) for it, kind in zip(files, kinds, strict=True)]
    items, text = _items(gold, task, language, text=text, label=label)
    truth = _labels(gold, items, task)
    ours, *others = [
        _from_table(path, items, task, column, text)
        if said is None
        else _predictions(said, path, truth, task, at_least or _MAJORITY)
        for path, said in zip(files, read, strict=True)
    ]
    from modicum.sarcasm.intervals import difference_interval, score_interval
    from modicum.sarcasm.metrics import score_a, score_b, score_c

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
    json: Json = False,
) -> None:
    """Predict the official test file and write the shared task's submission."""
    check_target(file, option="--out", inputs=(items, model))
    check_model(model)
    asked, _ = _items(items, task, language)
    from modicum.sarcasm.submission import write_submission
    from modicum.sarcasm.system import SarcasmSystem

    system = SarcasmSystem.load(model)
    if task is TaskName.C:
        predictions: Any = [int(it > 0.5) for it in system.compare(cast("list[Pair]", asked))]
    else:
        readings = system.read(cast("list[Example]", asked))
        predictions = readings.labels if task is TaskName.A else readings.category_labels
    if predictions is None:
        raise DataError("The system knows no categories.", hint="Train it on texts whose categories are known.")
    write_submission(file, task.value, language.value, predictions, items=asked)
    if json:
        told = {"task": task.value, "language": language.value, "predictions": len(asked), "file": str(file)}
        typer.echo(json_format.dumps(told, indent=2))
    say(f"{len(asked):,} predictions of task {task.value}: {file}")


def _items(
    source: str, task: TaskName, language: LanguageName, *, text: str | None = None, label: str | None = None
) -> tuple[list[Example] | list[Pair], str | None]:
    # With the column of the texts.
    from modicum.cli.sarcasm.columns import LanguageChoice

    table = read_table(source, text=text, label=label, language=LanguageChoice(language.value))
    found = table.pairs if task is TaskName.C else table.examples
    if not found:
        raise DataError(
            f"{source} has no {'pairs' if task is TaskName.C else 'texts'}; its columns are "
            f"{', '.join(table.columns)}.",
            hint="Give a file of texts, or --task C for pairs in text_0 and text_1."
            if table.pairs
            else "Give a file of pairs, in the columns text_0 and text_1.",
        )
    return found, table.text_column


def _labels(source: str, items: Sequence[Example] | Sequence[Pair], task: TaskName) -> list[Any]:
    labels = [cast("Example", it).categories if task is TaskName.B else it.sarcastic for it in items]
    if missing := sum(label is None for label in labels):
        raise DataError(
            f"{missing} of the {len(labels)} rows of {source} have no label of task {task.value}.",
            hint="Give a file with all labels, in the six columns of the categories."
            if task is TaskName.B
            else "Give a file with all labels, and name their column by --label-col.",
        )
    return labels


def _kind(path: Path, column: str, *, named: bool) -> Kind:
    from modicum.core.tables import read_records

    if path.suffix.lower() in {".zip", ".txt"}:
        return "submission"
    columns, _ = read_records(path)
    if not named and column not in columns and "human_aggregated" in columns:
        return "votes"
    if column not in columns:
        raise DataError(
            f"{path} has no column {column!r}; its columns are {', '.join(map(repr, columns))}.",
            hint="Name the column of the predictions by --prediction-col.",
        )
    return "table"


def _from_table(
    path: Path, items: list[Example] | list[Pair], task: TaskName, column: str, text: str | None
) -> npt.ArrayLike:
    from modicum.sarcasm.tables import read_named_categories, read_predictions

    read = read_named_categories if task is TaskName.B else read_predictions
    return read(path, items, column=column, text_column=text)


def _read(path: Path, kind: Kind, task: TaskName, language: LanguageName) -> Submission | Votes:
    from modicum.sarcasm.isarcasm import read_vote_file
    from modicum.sarcasm.submission import read_submission

    if kind == "votes":
        if task is TaskName.B:
            raise DataError(f"{path} has no categories: readers were not asked for them.", hint="Give a submission.")
        return read_vote_file(path, task.value)
    submission = read_submission(path)
    if (submission.task, submission.language) != (task.value, language.value):
        raise DataError(
            f"{path} is of task {submission.task} in {submission.language!r}, not {task.value} in {language.value!r}.",
            hint="Write --task and --language as it was made for.",
        )
    return submission


def _predictions(
    said: Submission | Votes, path: Path, truth: list[Any], task: TaskName, at_least: int
) -> npt.ArrayLike:
    from modicum.sarcasm.isarcasm import Votes

    labels = said.labels if isinstance(said, Votes) else said.predictions
    if len(labels) != len(truth):
        raise DataError(
            f"{path} is of {len(labels):,} items, the labelled file of {len(truth):,}.",
            hint="Give the predictions of that file.",
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
    from modicum.core.intervals import LEVEL
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
