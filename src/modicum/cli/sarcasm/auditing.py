"""``modicum sarcasm audit``: how far one comes without reading."""

from __future__ import annotations

import json as json_format
from dataclasses import asdict
from typing import Annotated

import typer

from modicum.cli.console import Json, out
from modicum.cli.sarcasm.columns import DialectColumn, LabelColumn, LanguageOption, SkipEmpty, TextColumn, read_labelled

_SAID = {
    "": "",
    "shortcut": "tells much in training",
    "reverses": "what training teaches is wrong in test",
    "shift": "the two files can be told apart",
}


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
    seen, later = (
        read_labelled(
            source,
            text=text,
            label=label,
            dialect=dialect,
            language=language,
            skip_empty=skip_empty,
            needed=needed,
        )
        for source, needed in ((train, True), (test, False))
    )
    from modicum.sarcasm.shortcuts import audit as measure  # scikit-learn takes a second to import

    found = measure(seen, later, seed=seed)
    if json:
        typer.echo(json_format.dumps([asdict(row) for row in found.rows], indent=2))
        return
    from rich.table import Table

    table = Table("language", "what is seen", "train AUC", "test AUC", "")
    for row in found.rows:
        held = "" if row.test is None else f"{row.test:.3f}"
        table.add_row(row.language, row.cue, f"{row.train:.3f}", held, _SAID[row.remark])
    out().print(table)
