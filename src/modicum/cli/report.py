"""``modicum report``: show again what a run found."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modicum.cli.console import Json, out, say

__all__ = ["report"]


def report(
    folder: Annotated[Path, typer.Argument(help="Folder that modicum compare wrote.")], *, json: Json = False
) -> None:
    """Show the report of a finished run, and write its Markdown and HTML again."""
    from modicum.core.report import dump, load, table, write

    reports = load(folder / "report.json")
    page = write(reports, folder)
    if json:
        typer.echo(dump(reports), nl=False)
    else:
        for entry in reports:
            out().print(table(entry))
    say(f"Report: {page}")
