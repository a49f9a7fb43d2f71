"""Options and checks that the commands on molecules share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modicum.cli.console import say
from modicum.errors import ConfigError

if TYPE_CHECKING:
    from modicum.molecules import MarginalizedGraphKernel, Pool, PropertyTable

Device = Annotated[str, typer.Option(help="cpu, or a GPU as torch knows it: cuda.")]
PropertyName = Annotated[
    str, typer.Option("--property", "--quantity", help="Column of the property: density, hvap, cp or your own.")
]
SkipInvalid = Annotated[bool, typer.Option("--skip-invalid", help="Leave out rows that are no molecule; list them.")]
SmilesColumn = Annotated[
    str | None, typer.Option("--smiles-col", help="Column of the SMILES in CSV files; smiles, in any case.")
]
StripSalts = Annotated[
    bool, typer.Option("--strip-salts", help="Leave out fragments that RDKit knows as salts or solvents.")
]


def check_outputs(outputs: Mapping[str, Path | None], inputs: Iterable[Path | None]) -> None:
    """See whether files can be written, before the work: each, and none of them is another or is read."""
    from modicum.core.files import check_target

    read, taken = tuple(inputs), dict[Path, str]()
    for option, path in outputs.items():
        if path is None:
            continue
        check_target(path, option=option, inputs=read)
        if path.resolve() in taken:
            raise ConfigError(
                f"{option} {path} is the file of {taken[path.resolve()]}, too.", hint="Name another file."
            )
        taken[path.resolve()] = option


def open_pool(
    path: Path, *, skip_invalid: bool = False, smiles_column: str | None = None, strip_salts: bool = False
) -> Pool:
    """Read a pool; say which rows were left out."""
    from modicum.molecules.pool import read_pool

    pool = read_pool(path, skip_invalid=skip_invalid, smiles_column=smiles_column, strip_salts=strip_salts)
    for entry in pool.rejected:
        say(f"{path}, row {entry.row}: {entry.text!r} {entry.reason}; left out.")
    return pool


def open_failed(path: Path | None, smiles_column: str | None = None) -> dict[str, int]:
    """Read molecules that have no label, as `label --failed` or the user writes them; there may be none."""
    from modicum.molecules.pool import molecule_rows
    from modicum.molecules.reading import table_rows

    if path is None:
        return {}
    if smiles_column is not None:
        # `label` names the column smiles, whatever the pool's is
        smiles_column = smiles_column if smiles_column in table_rows(path)[0] else None
    _, rows = molecule_rows(path, smiles_column)
    if not rows:
        return {}
    numbers = {text: row for row, text, _ in rows}
    return {smiles: numbers[smiles] for smiles in open_pool(path, smiles_column=smiles_column).smiles}


def open_labels(
    path: Path,
    name: str,
    *,
    unit: str | None = None,
    without_temperature: bool = False,
    smiles_column: str | None = None,
    strip_salts: bool = False,
) -> PropertyTable:
    """Read the labels of a property; one of the user's own has a temperature if the file has a column T."""
    from dataclasses import replace

    from modicum.molecules.table import PROPERTIES, Property, read_table

    asked: Property | str = name
    if name in PROPERTIES:
        asked = Property(name, unit or PROPERTIES[name].unit, not without_temperature)
    elif without_temperature:
        asked = Property(name, unit or "", temperature=False)
    table = read_table(path, asked, smiles_column=smiles_column, strip_salts=strip_salts)
    if name in PROPERTIES:
        return table
    if not table.property.temperature and not without_temperature:
        say(f"{path} has no column T: {name} is a property without temperature.")
    return replace(table, unit=unit or "")


def open_kernel(path: Path | None, device: str) -> MarginalizedGraphKernel:
    """Make the published kernel, or the one of a file."""
    from modicum.molecules.hyperparameters import read_hyperparameters

    if path is not None:
        read_hyperparameters(path)  # a wrong file is refused before the heavy imports
    from modicum.molecules.kernel import MarginalizedGraphKernel

    # Residuals of 1e-7 move a std by about 1e-8.
    settings: dict[str, Any] = {"tolerance": 1e-7, "backend": "numba" if device == "cpu" else "torch", "device": device}
    if path is None:
        return MarginalizedGraphKernel.published(**settings)
    return MarginalizedGraphKernel.from_json(path, **settings)
