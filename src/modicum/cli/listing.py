"""``modicum list``: the methods, without importing them."""

from __future__ import annotations

import dataclasses
import json as json_format

import typer

from modicum.cli.console import Json, out


def list_methods(*, json: Json = False) -> None:
    """List the methods and what each of them saves."""
    from modicum.core import registry

    if json:
        typer.echo(json_format.dumps([dataclasses.asdict(row) for row in registry.rows()], indent=2))
        return
    from rich.table import Table

    table = Table("name", "method", "saves", "import from", box=None, pad_edge=False)
    for row in registry.rows():
        table.add_row(row.name, row.title, row.saves, row.package)
    out().print(table)
