"""Labels: a property of molecules at temperatures, simulated, measured or predicted."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from modicum.core.files import replacing
from modicum.errors import ConfigError, DataError

__all__ = ["UNITS", "PropertyTable", "Quantity", "quantities", "read_table", "write_table"]

FloatArray: TypeAlias = npt.NDArray[np.float64]
Quantity: TypeAlias = Literal["density", "hvap", "cp"]

UNITS: dict[Quantity, str] = {"density": "kg/m3", "hvap": "kJ/mol", "cp": "J/mol/K"}


@dataclass(frozen=True, kw_only=True, slots=True)
class PropertyTable:
    """One property, one row a molecule and temperature.

    Args:
        quantity: "density" (kg/m3), "hvap" (enthalpy of vaporisation, kJ/mol) or "cp" (heat capacity, J/mol/K).
        smiles: of the molecule of each row; a molecule has as many rows as it has temperatures.
        temperature: K, shape (n,).
        value: in the unit of the quantity, shape (n,).
        error: standard error in that unit, shape (n,); None if it is not known.

    Raises:
        ConfigError: if the columns differ in length or there is no such quantity.
    """

    quantity: Quantity
    smiles: tuple[str, ...]
    temperature: FloatArray
    value: FloatArray
    error: FloatArray | None = None

    def __post_init__(self) -> None:
        if self.quantity not in UNITS:
            raise ConfigError(
                f"There is no quantity {self.quantity!r}.", hint=f"Use one of: {', '.join(get_args(Quantity))}."
            )
        columns = (self.temperature, self.value) if self.error is None else (self.temperature, self.value, self.error)
        if any(column.shape != (len(self.smiles),) for column in columns):
            raise ConfigError(
                f"The columns of a table must have its {len(self.smiles)} rows, got "
                f"{', '.join(str(column.shape) for column in columns)}.",
                hint="Give one temperature and one value a row.",
            )

    def __len__(self) -> int:
        return len(self.smiles)

    @property
    def molecules(self) -> tuple[str, ...]:
        """The distinct molecules, in the order of their first rows."""
        return tuple(dict.fromkeys(self.smiles))

    def of(self, molecules: frozenset[str]) -> PropertyTable:
        """Keep the rows of some molecules."""
        rows = np.array([place for place, smiles in enumerate(self.smiles) if smiles in molecules], dtype=int)
        return PropertyTable(
            quantity=self.quantity,
            smiles=tuple(self.smiles[row] for row in rows),
            temperature=self.temperature[rows],
            value=self.value[rows],
            error=None if self.error is None else self.error[rows],
        )


def read_table(path: Path, quantity: Quantity) -> PropertyTable:
    """Read a table with the columns ``smiles``, ``T`` (K) and the quantity; others are left alone.

    A column ``density_error`` (or of the quantity at hand) is read as standard errors. Rows whose value is empty are
    passed over: one file may hold several quantities.

    Args:
        path: of a CSV file with a header.
        quantity: whose column is read.

    Returns:
        The rows in the order of the file.

    Raises:
        DataError: if the file cannot be read, a column is missing, or a row is broken; the file and the row are named.
    """
    smiles: list[str] = []
    columns: list[tuple[float, float, float]] = []
    for place, row in _rows(path, ("smiles", "T", quantity)):
        if not row[quantity]:
            continue
        numbers = [_number(path, place, name, row[name]) for name in ("T", quantity)]
        text = row.get(f"{quantity}_error")
        numbers.append(_number(path, place, f"{quantity}_error", text) if text else math.nan)
        smiles.append(row["smiles"])
        columns.append((numbers[0], numbers[1], numbers[2]))
    if not smiles:
        raise DataError(f"{path} holds no value of {quantity}.", hint="Give at least one row with a value.")
    temperature, value, error = np.array(columns).T
    return PropertyTable(
        quantity=quantity,
        smiles=tuple(smiles),
        temperature=temperature,
        value=value,
        error=None if np.isnan(error).any() else error,
    )


def quantities(path: Path) -> tuple[Quantity, ...]:
    """Tell which quantities a file has columns for.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header = next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}).", hint="Give a CSV file in UTF-8.") from error
    return tuple(quantity for quantity in UNITS if quantity in header)


def write_table(path: Path, *tables: PropertyTable) -> None:
    """Write tables of different quantities into one CSV file, whole or not at all.

    Args:
        path: replaced if it exists.
        tables: at most one a quantity; rows of the same molecule and temperature become one row.

    Raises:
        ConfigError: if the file cannot be written.
    """
    header = ["smiles", "T"]
    rows: dict[tuple[str, float], dict[str, str]] = {}
    for table in tables:
        header += [table.quantity] if table.error is None else [table.quantity, f"{table.quantity}_error"]
        for place, (smiles, temperature) in enumerate(zip(table.smiles, table.temperature, strict=True)):
            row = rows.setdefault((smiles, float(temperature)), {"smiles": smiles, "T": repr(float(temperature))})
            row[table.quantity] = repr(float(table.value[place]))
            if table.error is not None:
                row[f"{table.quantity}_error"] = repr(float(table.error[place]))
    with replacing(path) as file:
        writer = csv.DictWriter(file, header, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows.values())


def _rows(path: Path, needed: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            missing = [name for name in needed if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(
                    f"{path} has no column {missing[0]!r}, but {', '.join(reader.fieldnames or ('nothing',))}.",
                    hint=f"Give it the columns {', '.join(needed)}.",
                )
            for row in reader:
                if None in row or not row["smiles"]:
                    raise DataError(
                        f"{path}, row {reader.line_num}: expected {len(reader.fieldnames or ())} fields with a SMILES, "
                        f"got {row}.",
                        hint="Correct or remove that row.",
                    )
                yield reader.line_num, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}).", hint="Give a CSV file in UTF-8.") from error


def _number(path: Path, row: int, name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(
            f"{path}, row {row}: {name} must be a number, got {text!r}.", hint="Correct or remove that row."
        )
    return number
