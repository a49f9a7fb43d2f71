"""``modicum report``: show again what a run found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modicum.cli.console import Json, out, say

if TYPE_CHECKING:
    from modicum.core.report import Report


def report(
    folder: Annotated[Path, typer.Argument(help="Folder that modicum compare wrote.")], *, json: Json = False
) -> None:
    """Show the report of a finished run, and write its Markdown and HTML again."""
    from modicum.core.report import load

    show(load(folder / "report.json"), folder, json=json)


def show(reports: Sequence[Report], folder: Path, *, json: bool) -> None:
    """Write reports to a folder and print them."""
    from modicum.core.report import dump, table, write

    page = write(reports, folder)
    if json:
        typer.echo(dump(reports), nl=False)
    else:
        for entry in reports:
            out().print(table(entry))
    say(f"Report: {page}")
