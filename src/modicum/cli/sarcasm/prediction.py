"""``modicum sarcasm predict``: texts or pairs of texts in, probabilities out."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modicum.cli.console import Json, say
from modicum.cli.sarcasm.columns import DialectColumn, LanguageOption, SkipEmpty, TextColumn, read_table

if TYPE_CHECKING:
    from modicum.sarcasm.examples import Example, Pair
    from modicum.sarcasm.shares import Share
    from modicum.sarcasm.system import SarcasmSystem
    from modicum.sarcasm.tables import Row, Table

__all__ = ["System", "predict"]

System = Annotated[Path, typer.Option("--model", help="Folder that train wrote.")]


def predict(
    source: Annotated[str, typer.Argument(help="CSV, TSV or JSONL file, - for standard input, or a text in quotes.")],
    *,
    model: System,
    file: Annotated[Path | None, typer.Option("--out", help="CSV, TSV or JSONL file; standard output.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Also say which words speak for and against.")] = False,
    text: TextColumn = None,
    dialect: DialectColumn = None,
    language: LanguageOption = None,
    skip_empty: SkipEmpty = False,
    json: Json = False,
) -> None:
    """Give calibrated probabilities, labels and categories; of pairs, which text is the sarcastic one."""
    from modicum.sarcasm.records import write_rows
    from modicum.sarcasm.system import SarcasmSystem

    system = SarcasmSystem.load(model)
    table = _table(source, text=text, dialect=dialect, language=language, skip_empty=skip_empty)
    if table.pairs:
        cells = _pairs(system, table.pairs, explain=explain)
    else:
        cells = _texts(system, table.examples, explain=explain)
    rows: list[Row] = list(table.rows)
    if file is not None:
        write_rows(file, rows, cells)
        say(f"{len(rows):,} rows: {file}")
    else:
        write_rows("-", rows, cells, form="jsonl" if json else "csv")


def _table(source: str, **options: Any) -> Table:
    if source == "-" or _exists(source) or Path(source).suffix.lower() in {".csv", ".tsv", ".jsonl", ".ndjson"}:
        return read_table(source, **options)
    # A text in quotes is read as standard input is; bytes that are no UTF-8 are named there.
    data = " ".join(source.split()).encode(errors="surrogateescape")
    given, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(data), encoding="utf-8")
    try:
        return read_table("-", **options)
    finally:
        sys.stdin = given


def _exists(source: str) -> bool:
    try:
        return Path(source).exists()
    except OSError:  # a text may be longer than the name of a file
        return False


def _texts(system: SarcasmSystem, examples: list[Example], *, explain: bool) -> list[dict[str, Any]]:
    from modicum.sarcasm.examples import CATEGORIES

    found = system.read(examples)
    cells: list[dict[str, Any]] = []
    for at, example in enumerate(examples):
        cell: dict[str, Any] = {
            "probability": round(float(found.probabilities[at]), 6),
            "predicted": int(found.labels[at]),
        }
        if found.category_labels is not None:
            named = [name for name, it in zip(CATEGORIES, found.category_labels[at], strict=True) if it]
            cell["categories"] = " ".join(named)
        if explain:
            cell["explanation"] = _spelt(system.explain(example))
        cells.append(cell)
    return cells


def _pairs(system: SarcasmSystem, pairs: list[Pair], *, explain: bool) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = []
    for pair, second in zip(pairs, system.compare(pairs), strict=True):
        cell: dict[str, Any] = {"probability_of_second": round(float(second), 6), "predicted": int(second > 0.5)}
        if explain:
            cell |= {f"explanation_{at}": _spelt(it) for at, it in enumerate(system.explain_pair(pair))}
        cells.append(cell)
    return cells


def _spelt(shares: list[Share]) -> str:
    return " ".join(f"{it.text}({it.share:+.2f})" for it in shares)
