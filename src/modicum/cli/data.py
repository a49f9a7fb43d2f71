"""``modicum data``: the data sets of the catalogue."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modicum.cli.common import Json, out, print_json, progress_bar, say
from modicum.errors import ConfigError

if TYPE_CHECKING:
    from modicum.core.catalogue import Check, DataSet


app = typer.Typer(help="List, fetch and check the data sets of the catalogue.", no_args_is_help=True)

Names = Annotated[list[str] | None, typer.Argument(help="Data sets (see: modicum data list).")]


@app.command("list")
def list_sets(*, json: Json = False) -> None:
    """List the data sets: task, size, licence, and whether they are here."""
    from modicum.core import catalogue

    sets = [catalogue.describe(name) for name in catalogue.names()]
    if json:
        print_json([_row(entry) for entry in sets])
        return
    from rich.table import Table

    console, wide = out(), 110  # columns, from which on the task has room next to the others
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "status", "MB", "for"):
        table.add_column(heading, no_wrap=console.width < wide or heading != "for")
    table.columns[2].justify = "right"
    if console.width >= wide:
        table.add_column("task")
    for entry in sets:
        row = _row(entry)
        cells = (entry.name, row["status"], f"{row['megabytes']:.1f}", " ".join(entry.methods))
        table.add_row(*cells, *([entry.task] if console.width >= wide else []))
    console.print(table)
    if console.width < wide:
        for entry in sets:
            task = textwrap.fill(entry.task, console.width - 4, initial_indent="    ", subsequent_indent="    ")
            console.print(f"\n{entry.name}\n{task}", markup=False)


@app.command()
def fetch(
    names: Names = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Fetch every data set of the catalogue.")] = False,
    json: Json = False,
) -> None:
    """Fetch data sets, check them against their checksums, and print where they lie."""
    from modicum.core import catalogue

    if everything == bool(names):
        size = sum(_row(catalogue.describe(name))["megabytes"] for name in catalogue.names())
        raise ConfigError(
            "data fetch takes names of data sets or --all, one of the two.",
            hint=f"Name them (modicum data list shows them all), or fetch all {size / 1000:.1f} GB with --all.",
        )
    folders: dict[str, str] = {}
    for name in _each("fetch", names):
        folders[name] = str(catalogue.fetch(name))
        if not json:
            typer.echo(f"{name}\t{folders[name]}")
    if json:
        print_json(folders)


@app.command()
def verify(names: Names = None, *, json: Json = False) -> None:
    """Check every file that is here against its published checksum; of all data sets, if none is named."""
    from modicum.core import catalogue

    checks = {name: catalogue.verify(name) for name in _each("verify", names)}
    if json:
        print_json({name: [_check(row) for row in rows] for name, rows in checks.items()})
    else:
        for name, rows in checks.items():
            counts = Counter(row.state for row in rows)
            typer.echo(f"{name}: " + ", ".join(f"{count:,} {state}" for state, count in sorted(counts.items())))
    damaged = [row for rows in checks.values() for row in rows if row.state == "damaged"]
    for row in damaged:
        say(f"{row.path} is not as published: expected {row.expected}, found {row.found}.")
    if damaged:
        raise typer.Exit(1)


def _each(title: str, names: Sequence[str] | None) -> Iterator[str]:
    from modicum.core import catalogue

    wanted = names or catalogue.names()
    with progress_bar(title) as progress:
        for done, name in enumerate(wanted):
            progress(done, len(wanted), name)
            yield name


def _row(entry: DataSet) -> dict[str, Any]:
    from modicum.core import catalogue

    return {
        "name": entry.name,
        "task": entry.task,
        "megabytes": sum(item.size for item in (*entry.files, *entry.packs)) / 1e6,
        "licence": entry.licence,
        "methods": list(entry.methods),
        "sources": [f"{origin.address} at {origin.version}" for origin in entry.origins],
        "notes": list(entry.notes),
        "status": catalogue.status(entry.name),
    }


def _check(row: Check) -> dict[str, str | None]:
    return {"path": str(row.path), "state": row.state, "expected": row.expected, "found": row.found}
