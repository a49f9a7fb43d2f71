"""Readers for five GLUE tasks, in the files of GLUE itself and in those of the catalogue."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from modicum.errors import ConfigError, DataError
from modicum.perturb.metrics import MetricName


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """One form in which a task's files occur."""

    train: tuple[str, ...]  # the training files, below the folder; their rows are joined
    held_out: tuple[str, ...]  # the files that are scored, likewise
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    places: Mapping[str, int] = field(default_factory=dict[str, int])
    widths: tuple[int, ...] = ()  # how many fields a row may have, where the files have no header


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One of the tasks."""

    name: str  # as typed in ``--option task=NAME``
    data_set: str  # its name in the catalogue
    metric: MetricName  # the main metric of GLUE
    labels: tuple[str, ...]  # as written in the files, in the order of the class numbers; empty for scores from 0 to 5
    layouts: tuple[Layout, ...]  # the forms of its files; the first whose files are all there is read


@dataclass(frozen=True, slots=True)
class Examples:
    """Texts and labels."""

    first: tuple[str, ...]  # the sentences, or the first of each pair
    second: tuple[str, ...] | None  # the second of each pair; None for single sentences
    labels: tuple[float, ...]  # class numbers, or scores


_RTE = {"label": ("label",), "first": ("sentence1",), "second": ("sentence2",)}
_COLA = {"label": 1, "first": 3}
_MRPC = {"label": ("Quality",), "first": ("#1 String",), "second": ("#2 String",)}
_SST2 = {"label": ("label",), "first": ("sentence", "content")}
_STSB = {"label": ("score",), "first": ("sentence1",), "second": ("sentence2",)}

TASKS = {
    task.name: task
    for task in (
        Task(
            name="rte",
            data_set="glue-small/RTE",
            metric="accuracy",
            labels=("entailment", "not_entailment"),
            layouts=(
                # The catalogue's train.tsv has one character that GLUE does not have; this copy is the original.
                Layout(train=("train_copy.tsv",), held_out=("dev.tsv",), columns=_RTE),
                Layout(train=("train.tsv",), held_out=("dev.tsv",), columns=_RTE),
            ),
        ),
        Task(
            name="cola",
            data_set="glue-small/CoLA",
            metric="matthews",
            labels=("0", "1"),
            layouts=(
                Layout(train=("train.tsv",), held_out=("dev.tsv",), places=_COLA, widths=(4,)),
                Layout(
                    train=("cola_public/raw/in_domain_train.tsv",),
                    # GLUE's dev.tsv is the one after the other.
                    held_out=("cola_public/raw/in_domain_dev.tsv", "cola_public/raw/out_of_domain_dev.tsv"),
                    places=_COLA,
                    widths=(4,),
                ),
            ),
        ),
        Task(
            name="mrpc",
            data_set="glue-small/MRPC",
            metric="f1",
            labels=("0", "1"),
            layouts=(
                Layout(train=("train.tsv",), held_out=("dev.tsv",), columns=_MRPC),
                Layout(train=("msr-para-train.tsv",), held_out=("msr-para-val.tsv",), columns=_MRPC),
            ),
        ),
        Task(
            name="stsb",
            data_set="glue-small/STS-B",
            metric="pearson",
            labels=(),
            layouts=(
                Layout(train=("train.tsv",), held_out=("dev.tsv",), columns=_STSB),
                Layout(
                    train=("stsbenchmark/sts-train.csv",),
                    held_out=("stsbenchmark/sts-dev.csv",),
                    places={"label": 4, "first": 5, "second": 6},
                    widths=(7, 9),  # two more fields give the licence of some rows
                ),
            ),
        ),
        Task(
            name="sst2",
            data_set="glue-small/SST-2",
            metric="accuracy",
            labels=("0", "1"),
            layouts=(Layout(train=("train.tsv",), held_out=("dev.tsv",), columns=_SST2),),
        ),
    )
}


def find_task(name: str) -> Task:
    """Give the task of a name."""
    if name not in TASKS:
        raise ConfigError(f"There is no task {name!r}.", hint=f"Use --option task= one of {', '.join(TASKS)}.")
    return TASKS[name]


def read(task: Task, folder: Path) -> tuple[Examples, Examples]:
    """Read the training and the held-out examples of a task."""
    for layout in task.layouts:
        if all((folder / name).is_file() for name in (*layout.train, *layout.held_out)):
            return _join(task, layout, folder, layout.train), _join(task, layout, folder, layout.held_out)
    wanted = " or ".join(" + ".join((*layout.train, *layout.held_out)) for layout in task.layouts)
    raise ConfigError(f"{folder} does not hold the files of {task.name}.", hint=f"It should hold {wanted}.")


def _join(task: Task, layout: Layout, folder: Path, names: tuple[str, ...]) -> Examples:
    rows = [row for name in names for row in _rows(task, layout, folder / name)]
    return Examples(
        first=tuple(first for _, first, _ in rows),
        second=None if rows[0][2] is None else tuple(second for *_, second in rows if second is not None),
        labels=tuple(label for label, *_ in rows),
    )


def _rows(task: Task, layout: Layout, path: Path) -> list[tuple[float, str, str | None]]:
    rows, start, places, widths = _lines(path), 1, layout.places, layout.widths
    if layout.columns:
        header, *rows = rows or [[]]
        start, widths = 2, (len(header),)
        places = {what: _place(names, header, path) for what, names in layout.columns.items()}
    if not rows:
        raise DataError(f"{path} has no examples.", hint="Give a file with at least one row.")
    found: list[tuple[float, str, str | None]] = []
    for number, row in enumerate(rows, start=start):
        if len(row) not in widths:
            raise DataError(
                f"{path}, line {number} has {len(row)} fields, expected {' or '.join(map(str, widths))}.",
                hint="Correct that line: fields are separated by one tab, and quotation marks mean nothing.",
            )
        fields = {what: row[place] for what, place in places.items()}
        if not all(text.strip() for text in fields.values()):
            raise DataError(f"{path}, line {number} has an empty sentence or label.", hint="Correct or drop that line.")
        label = _label(fields["label"], task, f"{path}, line {number}")
        found.append((label, fields["first"], fields.get("second")))
    return found


def _lines(path: Path) -> list[list[str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            return list(csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table ({error}).", hint="Save it as UTF-8 text.") from error


def _place(names: tuple[str, ...], header: list[str], path: Path) -> int:
    for name in names:
        if name in header:
            return header.index(name)
    raise DataError(
        f"{path}, line 1 has no column {' or '.join(names)}; its columns are {', '.join(header) or 'none'}.",
        hint="Give the file a header line with that column, separated by tabs.",
    )


def _label(text: str, task: Task, where: str) -> float:
    if task.labels:
        if text not in task.labels:
            raise DataError(
                f"{where} has the label {text!r}, which is none of {', '.join(task.labels)}.",
                hint=f"Correct that line, or check that the file is one of {task.name}.",
            )
        return task.labels.index(text)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 5:
        raise DataError(f"{where} has the score {text!r}, not a number from 0 to 5.", hint="Correct or drop that line.")
    return value
