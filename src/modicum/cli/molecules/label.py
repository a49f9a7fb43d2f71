"""``modicum molecules label``: simulate molecules, or look their labels up."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from modicum.cli.common import Json, print_json, progress_bar, say, stoppable
from modicum.cli.compare import resumed
from modicum.cli.molecules.files import SkipInvalid, SmilesColumn, StripSalts, check_outputs, open_pool
from modicum.errors import ConfigError


def label(  # noqa: PLR0913 - one argument an option
    molecules: Annotated[Path, typer.Argument(help="Molecules, .smi or .csv, such as select wrote.")],
    *,
    file: Annotated[Path, typer.Option("--out", help="CSV file of the labels.")],
    labeller: Annotated[
        Literal["openmm", "table"], typer.Option(help="Simulate (openmm), or look up published values (table).")
    ] = "openmm",
    tables: Annotated[list[Path] | None, typer.Option("--table", help="CSV of published values; repeatable.")] = None,
    quantity: Annotated[
        str | None, typer.Option("--property", help="Column of the tables, such as your own; density, hvap and cp.")
    ] = None,
    failed: Annotated[
        Path | None, typer.Option(help="CSV file of the molecules without a label, and why; for select --failed.")
    ] = None,
    temperature: Annotated[
        list[float] | None,
        typer.Option(
            "--temperature", "-t", help="K, repeatable; if none, 16 from 0.4 to 0.9 Tc (openmm) or all (table)."
        ),
    ] = None,
    nanoseconds: Annotated[float | None, typer.Option("--ns", help="Simulated at each temperature; 0.5.")] = None,
    count: Annotated[int | None, typer.Option("--molecules", help="In the simulated box; 250.")] = None,
    platform: Annotated[str | None, typer.Option(help="Of OpenMM: CPU (default), CUDA, OpenCL.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the simulations; 0.")] = None,
    engine: Annotated[str, typer.Option(help="local, inline, dask or dask://host:port.")] = "local",
    workers: Annotated[int | None, typer.Option(help="Processes; as many as cores by default.")] = None,
    folder: Annotated[Path | None, typer.Option("--journal", help="Folder of finished jobs; OUT.journal.")] = None,
    retry: Annotated[bool, typer.Option("--retry-failed", help="Try once more what failed before.")] = False,
    skip_invalid: SkipInvalid = False,
    smiles_column: SmilesColumn = None,
    strip_salts: StripSalts = False,
    json: Json = False,
) -> None:
    """Label molecules, one job each; a killed campaign goes on where it stopped.

    A molecule that cannot be labelled is listed with its reason, and the others go on. Ids and other columns of the
    molecules are kept.
    """
    from modicum.molecules.reading import smiles_columns
    from modicum.molecules.table import check_temperatures, write_table

    check_temperatures(temperature or ())
    simulation: dict[str, Any] = {"ns": nanoseconds, "molecules": count, "platform": platform, "seed": seed}
    simulation = {name: value for name, value in simulation.items() if value is not None}
    looked_up, paths = labeller == "table", tables or []
    _check_options(simulation, paths, quantity, looked_up=looked_up)
    check_outputs({"--out": file, "--failed": failed}, [molecules, *paths])
    named = smiles_columns([molecules, *paths], smiles_column)
    if smiles_column is not None and not any(named.values()):
        raise ConfigError(f"No file has a column {smiles_column!r}.", hint="Name a column of one by --smiles-col.")
    pool = open_pool(molecules, skip_invalid=skip_invalid, smiles_column=named[molecules], strip_salts=strip_salts)
    if looked_up:
        from modicum.molecules.tablelabeller import TableLabeller

        columns = {path: named[path] for path in paths}
        chosen = TableLabeller.read(columns, quantity, temperatures=temperature or None, strip_salts=strip_salts)
    else:
        from modicum.molecules.liquid.labeller import OpenMMLabeller

        chosen = OpenMMLabeller(temperatures=temperature or None, **simulation)
    from modicum.core.engine import open_engine
    from modicum.molecules.campaign import label_molecules

    journal = folder or file.with_name(f"{file.name}.journal")
    with (
        stoppable(resumed(journal)),
        open_engine("inline" if looked_up else engine, workers=workers) as running,
        progress_bar("label") as progress,
    ):
        campaign = label_molecules(
            pool.smiles, chosen, engine=running, folder=journal, progress=progress, retry_failed=retry
        )
    for line in campaign.missing():
        say(line)
    if failed is not None:
        campaign.write_failures(failed, pool)
    found = campaign.tables(pool)
    if found:
        write_table(file, *found.values())
    if json:
        rows = {name: len(table) for name, table in found.items()}
        counts = {"labelled": len(campaign.labels), "failed": dict(campaign.failures), "rows": rows}
        print_json({"labeller": chosen.name, **counts})
    say(f"{len(campaign.labels)} of {len(pool)} molecules labelled by {chosen.name}" + (f": {file}" if found else "."))
    if not found:
        raise typer.Exit(1)


def _check_options(simulation: dict[str, Any], tables: list[Path], quantity: str | None, *, looked_up: bool) -> None:
    if looked_up and simulation:
        raise ConfigError(f"--{next(iter(simulation))} is an option of --labeller openmm.", hint="Leave it out.")
    if not looked_up and (tables or quantity):
        raise ConfigError("--table and --property are options of --labeller table.", hint="Add --labeller table.")
    if looked_up and not tables:
        raise ConfigError("--labeller table needs published values.", hint="Name a CSV file with --table.")
