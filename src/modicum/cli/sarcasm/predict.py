"""``modicum sarcasm predict``, ``audit`` and ``export``: read texts, look for shortcuts, and hand an encoder on."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modicum.cli.common import Json, Model, check_model, out, print_json, say
from modicum.cli.sarcasm.files import DialectColumn, LabelColumn, LanguageOption, Reader, SkipEmpty, TextColumn
from modicum.core.files import check_target
from modicum.errors import ConfigError

if TYPE_CHECKING:
    from modicum.sarcasm.examples import Example, Pair
    from modicum.sarcasm.shares import Share
    from modicum.sarcasm.system import SarcasmSystem
    from modicum.sarcasm.tables import Row, Table


_REMARKS = {
    "": "",
    "shortcut": "tells much in training",
    "reverses": "what training teaches is wrong in test",
    "shift": "the two files can be told apart",
}


def predict(
    source: Annotated[str, typer.Argument(help="CSV, TSV or JSONL file, - for standard input, or a text in quotes.")],
    *,
    model: Model,
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
    from modicum.sarcasm.tables import check_output, write_predictions

    if file is not None:
        check_output(file, (source, model))
    check_model(model)
    table = _table(source, Reader(text=text, dialect=dialect, language=language, skip_empty=skip_empty))
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


def audit(
    train: Annotated[str, typer.Argument(help="Labelled training file, or a folder as iSarcasmEval.")],
    test: Annotated[str, typer.Argument(help="Test file, labelled or not.")],
    *,
    text: TextColumn = None,
    label: LabelColumn = None,
    dialect: DialectColumn = None,
    language: LanguageOption = None,
    skip_empty: SkipEmpty = False,
    seed: Annotated[int, typer.Option(help="Of the folds.")] = 0,
    json: Json = False,
) -> None:
    """Show what a model reaches that sees only the length, the place in the file, the punctuation and so on.

    The area under the ROC curve: 0.5 is chance. The direction is learnt in training, so that below 0.5 in test it
    misleads.
    """
    reader = Reader(text=text, label=label, dialect=dialect, language=language, skip_empty=skip_empty)
    seen, later = reader.labelled(train), reader.labelled(test, needed=False)
    from modicum.sarcasm.shortcuts import audit as measure  # scikit-learn takes a second to import

    found = measure(seen, later, seed=seed)
    if json:
        print_json([asdict(row) for row in found.rows])
        return
    from rich.table import Table

    table = Table("language", "what is seen", "train AUC", "test AUC", "")
    for row in found.rows:
        held = "" if row.test is None else f"{row.test:.3f}"
        table.add_row(row.language, row.cue, f"{row.train:.3f}", held, _REMARKS[row.remark])
    out().print(table)


def export(
    texts: Annotated[
        str, typer.Argument(help="File of texts like those it will read: the result is compared on them.")
    ],
    *,
    model: Model,
    folder: Annotated[Path, typer.Option("--out", help="New folder.")],
    member: Annotated[int, typer.Option(help="Which model of an ensemble, from 0.")] = 0,
    int8: Annotated[bool, typer.Option("--int8", help="Also 8 bits, if 99 % of the labels stay the same.")] = False,
    text: TextColumn = None,
    language: LanguageOption = None,
    json: Json = False,
) -> None:
    """Write an encoder as ONNX, compared with PyTorch on your texts."""
    check_target(folder, option="--out", folder=True, inputs=(texts, model))
    check_model(model)
    table = Reader(text=text, language=language).table(texts)
    from modicum.sarcasm.encoder.export import export_onnx
    from modicum.sarcasm.encoder.model import EnsembleModel
    from modicum.sarcasm.stacked import StackedModel
    from modicum.sarcasm.system import SarcasmSystem

    system = SarcasmSystem.load(model)
    if isinstance(system.model, StackedModel):
        raise ConfigError(
            f"{model} joins n-grams and an encoder; ONNX holds an encoder alone.", hint="Train with --model ENCODER."
        )
    if not isinstance(system.model, EnsembleModel):
        raise ConfigError(f"{model} holds n-grams, no encoder.", hint="Train with --model and the name of an encoder.")
    members = system.model.members
    if not 0 <= member < len(members):
        raise ConfigError(f"There is no model {member}: the ensemble has {len(members)}.", hint="Count from 0.")
    asked = [system.preparation.text(example) for example in table.examples]
    report = export_onnx(members[member], folder, asked, int8=int8)
    if json:
        print_json(asdict(report))
    else:
        typer.echo(str(report))
    if int8 and not report.int8_written:
        raise typer.Exit(1)


def _table(source: str, reader: Reader) -> Table:
    file = Path(source).suffix.lower() in {".csv", ".tsv", ".jsonl", ".ndjson"}
    if source == "-" or file or os.path.exists(source):  # noqa: PTH110 - a text may be too long for Path.exists
        return reader.table(source)
    from modicum.sarcasm.tables import one_text

    return one_text(" ".join(source.split()), language=reader.language)


def _texts(system: SarcasmSystem, examples: list[Example], *, explain: bool) -> list[dict[str, Any]]:
    from modicum.sarcasm.examples import CATEGORIES

    found = system.read(examples)
    cells: list[dict[str, Any]] = []
    for place, example in enumerate(examples):
        threshold = system.decision.threshold(example.language)
        cell: dict[str, Any] = {
            "probability": float(found.probabilities[place]),  # all digits, so that the label can be found again
            **({} if threshold is None else {"threshold": threshold}),
            "predicted": int(found.labels[place]),
        }
        if found.category_labels is not None:
            # None of a text that is not called sarcastic; the files of the shared task list them all the same.
            chosen = found.category_labels[place] * found.labels[place]
            cell["categories"] = " ".join(name for name, label in zip(CATEGORIES, chosen, strict=True) if label)
        if explain:
            cell["explanation"] = _spelt(system.explain(example))
        cells.append(cell)
    return cells


def _pairs(system: SarcasmSystem, pairs: list[Pair], *, explain: bool) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = []
    for pair, second in zip(pairs, system.compare(pairs), strict=True):
        cell: dict[str, Any] = {"probability_of_second": float(second), "predicted": int(second > 0.5)}
        if explain:
            shares = enumerate(system.explain_pair(pair))
            cell |= {f"explanation_{place}": _spelt(each) for place, each in shares}
        cells.append(cell)
    return cells


def _spelt(shares: list[Share]) -> str:
    return " ".join(f"{share.text}({share.share:+.2f})" for share in shares)
