"""``modicum molecules enumerate``: list a chemical space."""

from __future__ import annotations

import json as json_format
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from modicum.cli.console import Json, say
from modicum.errors import RunError


def enumerate_molecules(
    *,
    smallest: Annotated[int, typer.Option("--from", help="Carbon atoms of the smallest molecules.")] = 4,
    largest: Annotated[int, typer.Option("--to", help="Carbon atoms of the largest molecules.")] = 19,
    file: Annotated[Path | None, typer.Option("--out", help="File of SMILES (.smi); stdout if not given.")] = None,
    json: Json = False,
) -> None:
    """List all alkanes of some sizes as SMILES, one a line; with --json their counts instead."""
    from modicum.molecules.alkanes import count_alkanes, enumerate_alkanes

    if file is not None:
        from modicum.core.files import check_target

        check_target(file, option="--out")
    molecules = enumerate_alkanes(smallest, largest)
    if file is not None:
        from modicum.molecules.pool import write_smiles

        say(f"{write_smiles(file, molecules):,} molecules: {file}")
    elif not json:
        print_lines(molecules)
    if json:
        counts = {carbons: count_alkanes(carbons) for carbons in range(smallest, largest + 1)}
        typer.echo(json_format.dumps({"counts": counts, "molecules": sum(counts.values())}, indent=2))


def print_lines(lines: Iterable[str]) -> None:
    """Print many lines without flushing each, and leave nothing for the interpreter to flush if that fails."""
    try:
        sys.stdout.writelines(f"{line}\n" for line in lines)
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise typer.Exit(0) from None
        raise RunError(
            f"The molecules cannot be written to stdout ({error.strerror}).", hint="Make room, or give --out FILE."
        ) from error
