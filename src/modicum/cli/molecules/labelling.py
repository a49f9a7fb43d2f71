"""``modicum molecules label``: simulate molecules, or look their labels up."""

from __future__ import annotations

import json as json_format
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modicum.cli.compare import resumed
from modicum.cli.console import Json, progress_bar, say, stoppable
from modicum.cli.molecules.selection import SkipInvalid, open_pool
from modicum.errors import ConfigError, DataError

if TYPE_CHECKING:
    from modicum.molecules.labeller import Labeller
    from modicum.molecules.table import PropertyTable

__all__ = ["label"]


class LabellerName(StrEnum):
    """Where labels come from, as typer wants it."""

    openmm = "openmm"
    table = "table"


def label(  # noqa: PLR0913 - one argument an option
    molecules: Annotated[Path, typer.Argument(help="Molecules, .smi or .csv, such as select wrote.")],
    *,
    file: Annotated[Path, typer.Option("--out", help="CSV file of the labels.")],
    labeller: Annotated[LabellerName, typer.Option(help="Simulate (openmm), or look up published values (table).")] = (
        LabellerName.openmm
    ),
    tables: Annotated[list[Path] | None, typer.Option("--table", help="CSV of published values; repeatable.")] = None,
    temperature: Annotated[
        list[float] | None, typer.Option("--temperature", "-t", help="K, repeatable; 16 from 0.4 to 0.9 Tc if none.")
    ] = None,
    nanoseconds: Annotated[float, typer.Option("--ns", help="Simulated at each temperature.")] = 0.5,
    count: Annotated[int, typer.Option("--molecules", help="In the simulated box.")] = 250,
    platform: Annotated[str, typer.Option(help="Of OpenMM: CPU, CUDA, OpenCL.")] = "CPU",
    seed: Annotated[int, typer.Option(help="Of the simulations.")] = 0,
    engine: Annotated[str, typer.Option(help="local, inline, dask or dask://host:port.")] = "local",
    workers: Annotated[int | None, typer.Option(help="Processes; as many as cores by default.")] = None,
    folder: Annotated[Path | None, typer.Option("--journal", help="Folder of finished jobs; OUT.journal.")] = None,
    retry: Annotated[bool, typer.Option("--retry-failed", help="Try once more what failed before.")] = False,
    skip_invalid: SkipInvalid = False,
    json: Json = False,
) -> None:
    """Label molecules, one job each; a killed campaign goes on where it stopped.

    A molecule that cannot be labelled is told with its reason, and the others go on.

    Raises:
        Exit: with status 1 if no molecule could be labelled.
    """
    from modicum.core.engine import open_engine
    from modicum.molecules.campaign import label_molecules
    from modicum.molecules.table import write_table

    pool = open_pool(molecules, 0, 0, skip_invalid=skip_invalid)
    if labeller is LabellerName.table:
        chosen: Labeller = _look_up(tables or [])
    else:
        from modicum.molecules.liquid.labeller import OpenMMLabeller

        chosen = OpenMMLabeller(temperatures=temperature, molecules=count, ns=nanoseconds, platform=platform, seed=seed)
    place = folder or file.with_name(f"{file.name}.journal")
    with (
        stoppable(resumed(place)),
        open_engine("inline" if labeller is LabellerName.table else engine, workers=workers) as running,
        progress_bar("label") as progress,
    ):
        campaign = label_molecules(
            pool.smiles, chosen, engine=running, folder=place, progress=progress, retry_failed=retry
        )
    for smiles, reason in campaign.failures.items():
        say(f"{smiles} has no label: {reason}")
    found = campaign.tables()
    if found:
        write_table(file, *found.values())
    summary = {
        "labeller": chosen.name,
        "labelled": len(campaign.labels),
        "failed": dict(campaign.failures),
        "rows": {quantity: len(table) for quantity, table in found.items()},
    }
    if json:
        typer.echo(json_format.dumps(summary, indent=2))
    say(f"{len(campaign.labels)} of {len(pool)} molecules labelled by {chosen.name}" + (f": {file}" if found else "."))
    if not found:
        raise typer.Exit(1)


def _look_up(paths: Sequence[Path]) -> Labeller:
    from modicum.molecules.tablelabeller import TableLabeller

    if not paths:
        raise ConfigError("--labeller table needs published values.", hint="Name a CSV file with --table.")
    return TableLabeller(
        [table for path in paths for table in _tables(path)], source=", ".join(path.name for path in paths)
    )


def _tables(path: Path) -> list[PropertyTable]:
    from modicum.molecules.table import UNITS, quantities, read_table

    found = [read_table(path, quantity) for quantity in quantities(path)]
    if not found:
        raise DataError(f"{path} has no column {', '.join(UNITS)}.", hint="Name the column by its quantity.")
    return found
