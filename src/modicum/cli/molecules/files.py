"""Options and checks that the commands on molecules share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modicum.cli.common import say
from modicum.core.files import check_target
from modicum.errors import ConfigError

if TYPE_CHECKING:
    from modicum.molecules import MarginalizedGraphKernel, Pool, PropertyTable

SkipInvalid = Annotated[bool, typer.Option("--skip-invalid", help="Leave out rows that are no molecule; list them.")]
SmilesColumn = Annotated[
    str | None, typer.Option("--smiles-col", help="Column of the SMILES in CSV files; smiles, in any case.")
]
StripSalts = Annotated[
    bool, typer.Option("--strip-salts", help="Leave out fragments that RDKit knows as salts or solvents.")
]


def check_outputs(outputs: Mapping[str, Path | None], inputs: Iterable[Path | None]) -> None:
    """See whether files can be written, before the work: each, and none of them is another or is read."""
    read, taken = tuple(inputs), dict[Path, str]()
    for option, path in outputs.items():
        if path is None:
            continue
        check_target(path, option=option, inputs=read)
        if (other := taken.setdefault(path.resolve(), option)) != option:
            raise ConfigError(f"{option} {path} is the file of {other}, too.", hint="Name another file.")


def open_pool(path: Path, *, skip_invalid: bool = False, **reading: Any) -> Pool:
    """Read a pool; say which rows were left out."""
    from modicum.molecules.pool import read_pool

    pool = read_pool(path, skip_invalid=skip_invalid, **reading)
    for entry in pool.rejected:
        say(f"{path}, row {entry.row}: {entry.text!r} {entry.reason}; left out.")
    return pool


def open_labels(
    path: Path, name: str, *, unit: str | None = None, without_temperature: bool = False, **reading: Any
) -> PropertyTable:
    """Read the labels of a property; one of the user's own has a temperature if the file has a column T."""
    from modicum.molecules.table import PROPERTIES, Property, read_table

    asked: Property | str = name
    if name in PROPERTIES:
        asked = Property(name, unit or PROPERTIES[name].unit, not without_temperature)
    elif without_temperature:
        asked = Property(name, unit or "", temperature=False)
    table = read_table(path, asked, **reading)
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
