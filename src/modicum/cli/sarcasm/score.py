"""``modicum sarcasm score`` and ``submit``: the shared task's files, and its scores."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, cast

import typer

from modicum.cli.common import Json, Model, check_model, print_json, say
from modicum.cli.sarcasm.files import LabelColumn, Reader, TextColumn
from modicum.core.files import check_target
from modicum.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modicum.sarcasm.examples import Example, Pair
    from modicum.sarcasm.intervals import Interval


Task: TypeAlias = Literal["A", "B", "C"]
TaskOption = Annotated[Task, typer.Option("--task", help="A: sarcastic or not; B: categories; C: which of two.")]
Spoken = Annotated[Literal["en", "ar"], typer.Option("--language", help="Of the task.")]

_MAJORITY = 3  # of the five readers


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
    task: TaskOption = "A",
    language: Spoken = "en",
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
    from modicum.sarcasm.answers import open_answers

    files = [predicted or Path(gold), *([] if against is None else [against])]
    answers = [open_answers(file, task, language, prediction) for file in files]
    if at_least is not None and (task != "A" or not any(answer.by_readers for answer in answers)):
        raise ConfigError("--at-least counts the votes of readers on task A.", hint="Give it with their .csv file.")
    items, text = _items(gold, task, Reader(text=text, label=label, language=language))
    truth = _labels(gold, items, task)
    ours, *others = [
        answer.predictions(items, truth, text_column=text, at_least=at_least or _MAJORITY) for answer in answers
    ]
    from modicum.sarcasm.intervals import difference_interval, score_interval
    from modicum.sarcasm.metrics import score_a, score_b, score_c

    scorer: Any = {"A": score_a, "B": score_b, "C": score_c}[task]
    scores = asdict(scorer(truth, ours))
    interval = _of_main(score_interval(task, truth, ours), task)
    difference: dict[str, Any] = {}
    for theirs in others:
        found = difference_interval(task, truth, ours, theirs)
        verdict = "no difference shown" if found.covers_zero else "better" if found.value > 0 else "worse"
        difference = _of_main(found, task) | {"against": str(against), "verdict": verdict}
    if json:
        print_json(scores | {"interval": interval} | ({"difference": difference} if difference else {}))
        return
    flat: dict[str, float] = {}
    for name, value in scores.items():
        flat |= value if isinstance(value, dict) else {name: value}  # of task B, that of each category
    for name, value in flat.items():
        ends = f" (95 % interval {interval['low']:.4f} to {interval['high']:.4f})" if name == interval["of"] else ""
        typer.echo(f"{name}: {value:.4f}{ends}")
    if difference:
        typer.echo(
            f"{difference['of']} less that of {difference['against']}: {difference['value']:+.4f} "
            f"(95 % interval {difference['low']:+.4f} to {difference['high']:+.4f}), {difference['verdict']}"
        )


def submit(
    items: Annotated[str, typer.Argument(help="Test file of the task; its labels are not looked at.")],
    *,
    model: Model,
    file: Annotated[Path, typer.Option("--out", help="The .zip file.")],
    task: TaskOption = "A",
    language: Spoken = "en",
    json: Json = False,
) -> None:
    """Predict the official test file and write the shared task's submission."""
    check_target(file, option="--out", inputs=(items, model))
    check_model(model)
    asked, _ = _items(items, task, Reader(language=language))
    from modicum.sarcasm.submission import write_submission
    from modicum.sarcasm.system import SarcasmSystem

    system = SarcasmSystem.load(model)
    if task == "C":
        predictions: Any = [int(second > 0.5) for second in system.compare(cast("list[Pair]", asked))]
    else:
        readings = system.read(cast("list[Example]", asked))
        predictions = readings.labels if task == "A" else readings.category_labels
    if predictions is None:
        raise DataError("The system knows no categories.", hint="Train it on texts whose categories are known.")
    write_submission(file, task, language, predictions, items=asked)
    if json:
        print_json({"task": task, "language": language, "predictions": len(asked), "file": str(file)})
    say(f"{len(asked):,} predictions of task {task}: {file}")


def _items(source: str, task: Task, reader: Reader) -> tuple[list[Example] | list[Pair], str | None]:
    # With the column of the texts.
    table = reader.table(source)
    found = table.pairs if task == "C" else table.examples
    if not found:
        raise DataError(
            f"{source} has no {'pairs' if task == 'C' else 'texts'}; its columns are {', '.join(table.columns)}.",
            hint="Give a file of texts, or --task C for pairs in text_0 and text_1."
            if table.pairs
            else "Give a file of pairs, in the columns text_0 and text_1.",
        )
    return found, table.text_column


def _labels(source: str, items: Sequence[Example] | Sequence[Pair], task: Task) -> list[Any]:
    labels = [cast("Example", item).categories if task == "B" else item.sarcastic for item in items]
    if missing := sum(label is None for label in labels):
        raise DataError(
            f"{missing} of the {len(labels)} rows of {source} have no label of task {task}.",
            hint="Give a file with all labels, in the six columns of the categories."
            if task == "B"
            else "Give a file with all labels, and name their column by --label-col.",
        )
    return labels


def _of_main(found: Interval, task: Task) -> dict[str, Any]:
    from modicum.core.intervals import LEVEL
    from modicum.sarcasm.intervals import MAIN_SCORES

    return {"of": MAIN_SCORES[task], "level": LEVEL, **asdict(found)}
