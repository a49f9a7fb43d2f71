"""``modicum molecules label``: simulate molecules, or look their labels up."""

from __future__ import annotations

import json as json_format
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modicum.cli.compare import resumed
from modicum.cli.console import Json, progress_bar, say, stoppable
from modicum.cli.molecules.shared import (
    SkipInvalid,
    SmilesColumn,
    StripSalts,
    check_outputs,
    open_labels,
    open_pool,
)
from modicum.errors import ConfigError, DataError

if TYPE_CHECKING:
    from modicum.molecules import Pool, PropertyTable
    from modicum.molecules.campaign import Campaign
    from modicum.molecules.labeller import Labeller


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
    from modicum.molecules.table import check_temperatures, write_table

    check_temperatures(temperature or ())
    simulation: dict[str, Any] = {"ns": nanoseconds, "molecules": count, "platform": platform, "seed": seed}
    simulation = {name: value for name, value in simulation.items() if value is not None}
    _check_options(labeller, simulation, tables, quantity)
    check_outputs({"--out": file, "--failed": failed}, [molecules, *(tables or [])])
    named = _columns((molecules, *(tables or [])), smiles_column)
    pool = open_pool(molecules, skip_invalid=skip_invalid, smiles_column=named[molecules], strip_salts=strip_salts)
    if labeller is LabellerName.table:
        chosen = _look_up(tables or [], quantity, named, temperature, strip_salts=strip_salts)
    else:
        from modicum.molecules.liquid.labeller import OpenMMLabeller

        chosen = OpenMMLabeller(temperatures=temperature or None, **simulation)
    from modicum.core.engine import open_engine
    from modicum.molecules.campaign import label_molecules

    place = folder or file.with_name(f"{file.name}.journal")
    with (
        stoppable(resumed(place)),
        open_engine("inline" if labeller is LabellerName.table else engine, workers=workers) as running,
        progress_bar("label") as progress,
    ):
        campaign = label_molecules(
            pool.smiles, chosen, engine=running, folder=place, progress=progress, retry_failed=retry
        )
    rest = _other_columns(pool)
    _tell(campaign)
    if failed is not None:
        _write_failures(failed, campaign.failures, rest)
    found = {
        name: replace(
            table, columns={column: tuple(texts[smiles] for smiles in table.smiles) for column, texts in rest.items()}
        )
        for name, table in campaign.tables().items()
    }
    if found:
        write_table(file, *found.values())
    summary = {
        "labeller": chosen.name,
        "labelled": len(campaign.labels),
        "failed": dict(campaign.failures),
        "rows": {name: len(table) for name, table in found.items()},
    }
    if json:
        typer.echo(json_format.dumps(summary, indent=2))
    say(f"{len(campaign.labels)} of {len(pool)} molecules labelled by {chosen.name}" + (f": {file}" if found else "."))
    if not found:
        raise typer.Exit(1)


def _check_options(
    labeller: LabellerName, simulation: Mapping[str, Any], tables: list[Path] | None, quantity: str | None
) -> None:
    if labeller is LabellerName.table and simulation:
        raise ConfigError(f"--{next(iter(simulation))} is an option of --labeller openmm.", hint="Leave it out.")
    if labeller is LabellerName.openmm and (tables or quantity):
        raise ConfigError("--table and --property are options of --labeller table.", hint="Add --labeller table.")
    if labeller is LabellerName.table and not tables:
        raise ConfigError("--labeller table needs published values.", hint="Name a CSV file with --table.")


def _columns(paths: Sequence[Path], name: str | None) -> dict[Path, str | None]:
    """Find which files have the column of SMILES: molecules that select wrote have another than the user's tables."""
    from modicum.molecules.reading import table_rows

    found: dict[Path, str | None] = dict.fromkeys(paths)
    if name is None:
        return found
    for path in paths:
        found[path] = name if name in table_rows(path)[0] else None
    if not any(found.values()):
        raise ConfigError(f"No file has a column {name!r}.", hint="Name a column of one by --smiles-col.")
    return found


def _look_up(
    paths: Sequence[Path],
    quantity: str | None,
    named: Mapping[Path, str | None],
    temperatures: list[float] | None,
    *,
    strip_salts: bool,
) -> Labeller:
    from modicum.molecules.tablelabeller import TableLabeller

    return TableLabeller(
        [
            table
            for path in paths
            for table in _tables(path, quantity, smiles_column=named[path], strip_salts=strip_salts)
        ],
        source=", ".join(path.name for path in paths),
        temperatures=temperatures or None,
    )


def _tell(campaign: Campaign) -> None:
    for smiles, reason in campaign.failures.items():
        say(f"{smiles} has no label: {reason}")
    for smiles, made in campaign.labels.items():
        for kelvin in (name for name in made.missing if name.endswith(" K")):
            say(f"{smiles} has no label at {kelvin}: {made.missing[kelvin]}")


def _tables(path: Path, name: str | None, *, smiles_column: str | None, strip_salts: bool) -> list[PropertyTable]:
    from modicum.molecules.reading import table_rows
    from modicum.molecules.table import PROPERTIES

    header, _ = table_rows(path)
    names = [name] if name is not None else [known for known in PROPERTIES if known in header]
    if not names:
        raise DataError(f"{path} has no column {', '.join(PROPERTIES)}.", hint="Name its column by --property.")
    return [open_labels(path, one, smiles_column=smiles_column, strip_salts=strip_salts) for one in names]


def _other_columns(pool: Pool) -> dict[str, dict[str, str]]:
    """Give the other columns of the pool by the canonical SMILES of a campaign."""
    from modicum.molecules.smiles import canonical

    if not pool.columns:
        return {}
    names = [canonical(smiles) for smiles in pool.smiles]
    return {column: dict(zip(names, texts, strict=True)) for column, texts in pool.columns.items()}


def _write_failures(path: Path, failures: Mapping[str, str], rest: Mapping[str, Mapping[str, str]]) -> None:
    from modicum.core.tables import write_rows

    kept = {name: texts for name, texts in rest.items() if name not in ("smiles", "reason")}
    rows = (
        {"smiles": smiles, "reason": reason} | {name: texts[smiles] for name, texts in kept.items()}
        for smiles, reason in failures.items()
    )
    write_rows(path, ["smiles", "reason", *kept], rows, form="csv")
