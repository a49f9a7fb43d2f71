"""``modicum sarcasm predict``: texts or pairs of texts in, probabilities out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modicum.cli.console import Json, say
from modicum.cli.sarcasm.columns import (
    DialectColumn,
    LanguageOption,
    SkipEmpty,
    System,
    TextColumn,
    check_model,
    read_table,
)

if TYPE_CHECKING:
    from modicum.sarcasm.examples import Example, Pair
    from modicum.sarcasm.shares import Share
    from modicum.sarcasm.system import SarcasmSystem
    from modicum.sarcasm.tables import Row, Table


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
    """Give probabilities, labels and categories; of pairs, which text is the sarcastic one.

    Probabilities are calibrated on held-out training texts: they hold for texts collected as those are, if trained with
    --preset plain. With modicum they are calibrated on cropped texts, and about a tenth too high for entire ones.
    """
    from modicum.core.tables import check_output, write_predictions

    if file is not None:
        check_output(file, (source, model))
    check_model(model)
    table = _table(source, text=text, dialect=dialect, language=language, skip_empty=skip_empty)
    from modicum.sarcasm.system import SarcasmSystem

    system = SarcasmSystem.load(model)
    if table.pairs:
        cells = _pairs(system, table.pairs, explain=explain)
    else:
        cells = _texts(system, table.examples, explain=explain)
    rows: list[Row] = list(table.rows)
    if file is not None:
        write_predictions(file, rows, cells)
        say(f"{len(rows):,} rows: {file}")
    else:
        write_predictions("-", rows, cells, form="jsonl" if json else "csv")


def _table(source: str, **options: Any) -> Table:
    if (
        source == "-"
        or (source and _exists(source))
        or Path(source).suffix.lower() in {".csv", ".tsv", ".jsonl", ".ndjson"}
    ):
        return read_table(source, **options)
    from modicum.sarcasm.tables import one_text

    return one_text(" ".join(source.split()), language=options["language"] and options["language"].value)


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
            "probability": float(found.probabilities[at]),  # all digits, so that the label can be found again
            **_threshold(system, example),
            "predicted": int(found.labels[at]),
        }
        if found.category_labels is not None:
            # None of a text that is not called sarcastic; the files of the shared task list them all the same.
            chosen = found.category_labels[at] * found.labels[at]
            named = [name for name, it in zip(CATEGORIES, chosen, strict=True) if it]
            cell["categories"] = " ".join(named)
        if explain:
            cell["explanation"] = _spelt(system.explain(example))
        cells.append(cell)
    return cells


def _threshold(system: SarcasmSystem, example: Example) -> dict[str, float]:
    """Give the probability from which on a text is called sarcastic, where the rule has one: seldom 0.5."""
    thresholds = system.decision.thresholds
    match system.decision.rule:
        case "oof_f1":  # a few strays are read as the only language that was trained
            return {"threshold": thresholds.get(example.language, max(thresholds.values()))}
        case "half":
            return {"threshold": 0.5}
        case _:
            return {}


def _pairs(system: SarcasmSystem, pairs: list[Pair], *, explain: bool) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = []
    for pair, second in zip(pairs, system.compare(pairs), strict=True):
        cell: dict[str, Any] = {"probability_of_second": float(second), "predicted": int(second > 0.5)}
        if explain:
            cell |= {f"explanation_{at}": _spelt(it) for at, it in enumerate(system.explain_pair(pair))}
        cells.append(cell)
    return cells


def _spelt(shares: list[Share]) -> str:
    return " ".join(f"{it.text}({it.share:+.2f})" for it in shares)
