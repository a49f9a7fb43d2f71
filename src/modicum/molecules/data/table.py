"""Labels: a property of molecules, at temperatures or without, simulated, measured or predicted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from modicum.core.tables import write_rows
from modicum.errors import ConfigError, DataError
from modicum.molecules.data.smiles import column, others, parse, refuse, silent_rdkit, table_rows
from modicum.molecules.functional import FloatArray

Quantity: TypeAlias = Literal["density", "hvap", "cp"]

HOTTEST = 5000.0  # ours, K: no molecule lasts there, so that the number is in another unit or a slip
_VALUES = "Give a file with that column; train and label can take another one by --property."


@dataclass(frozen=True, slots=True)
class Property:
    """A quantity that molecules have.

    Args:
        name: of its column in tables; "density", "hvap" and "cp" are those of `PROPERTIES`.
        unit: of its values, for pictures and messages; "" if it has none.
        temperature: whether a value belongs to a temperature. A boiling point has none.

    Raises:
        ConfigError: if the name is empty, is that of another column, or is one of `PROPERTIES` with another unit or
            without temperature.
    """

    name: str
    unit: str = ""
    temperature: bool = True

    def __post_init__(self) -> None:
        if not self.name.strip() or self.name in ("smiles", "T"):
            raise ConfigError(f"A property cannot have the name {self.name!r}.", hint="Name it as its column.")
        known = PROPERTIES.get(self.name)
        if known is not None and (self.unit, self.temperature) != (known.unit, known.temperature):
            raise ConfigError(
                f"{self.name} is in {known.unit} and belongs to a temperature, got the unit {self.unit!r}"
                f"{'' if self.temperature else ' and no temperature'}.",
                hint="Convert the values, or give your property another name.",
            )


PROPERTIES: dict[str, Property] = {}
PROPERTIES |= {
    "density": Property("density", "kg/m3"),
    "hvap": Property("hvap", "kJ/mol"),
    "cp": Property("cp", "J/mol/K"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class PropertyTable:
    """One property, one row a molecule and temperature.

    Args:
        quantity: name of the property: "density" (kg/m3), "hvap" (enthalpy of vaporisation, kJ/mol), "cp" (heat
            capacity, J/mol/K) or one of your own.
        smiles: of the molecule of each row; a molecule has as many rows as it has temperatures.
        temperature: K, shape (n,), above 0 and up to 5000; leave it out for a property without temperature, whose
            rows then have NaN.
        value: in the unit of the property, shape (n,).
        error: standard error in that unit, shape (n,); None if it is not known.
        unit: of a property of your own; "" if it has none, or of `PROPERTIES`.
        columns: other columns by name, one text a row: ids, names.

    Raises:
        ConfigError: if the columns differ in length, a temperature is impossible, or the property is (`Property`).
    """

    quantity: str
    smiles: tuple[str, ...]
    temperature: FloatArray = field(default_factory=lambda: np.empty(0))
    value: FloatArray
    error: FloatArray | None = None
    unit: str = ""
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    def __post_init__(self) -> None:
        count = len(self.smiles)
        if not self.temperature.size:
            object.__setattr__(self, "temperature", np.full(count, np.nan))
        columns = (self.temperature, self.value) if self.error is None else (self.temperature, self.value, self.error)
        lengths = [len(texts) for texts in self.columns.values()]
        if any(column.shape != (count,) for column in columns) or any(length != count for length in lengths):
            raise ConfigError(
                f"The columns of a table must have its {count} rows, got "
                f"{', '.join(map(str, [*(column.shape for column in columns), *lengths]))}.",
                hint="Give one temperature and one value a row.",
            )
        if self.property.temperature:
            check_temperatures(self.temperature)

    def __len__(self) -> int:
        return len(self.smiles)

    @property
    def molecules(self) -> tuple[str, ...]:
        """The distinct molecules, in the order of their first rows."""
        return tuple(dict.fromkeys(self.smiles))

    @property
    def property(self) -> Property:
        """What the values are."""
        without = bool(len(self) and np.isnan(self.temperature).all())
        known = PROPERTIES.get(self.quantity)
        return Property(self.quantity, self.unit or (known.unit if known else ""), not without)

    def of(self, molecules: frozenset[str]) -> PropertyTable:
        """Keep the rows of some molecules."""
        return self.take([place for place, smiles in enumerate(self.smiles) if smiles in molecules])

    def take(self, rows: Sequence[int]) -> PropertyTable:
        """Keep some rows, by their places."""
        index = np.array(rows, dtype=int)
        return PropertyTable(
            quantity=self.quantity,
            smiles=tuple(self.smiles[row] for row in rows),
            temperature=self.temperature[index],
            value=self.value[index],
            error=None if self.error is None else self.error[index],
            unit=self.unit,
            columns={name: tuple(texts[row] for row in rows) for name, texts in self.columns.items()},
        )


def check_temperatures(temperatures: Iterable[float]) -> None:
    """See whether temperatures can be those of a molecule: above 0 and up to `HOTTEST`, in K."""
    given = np.array([*temperatures], dtype=float)
    wrong = given[~((given > 0) & (given <= HOTTEST))]
    if wrong.size:
        raise ConfigError(
            f"A temperature must be above 0 and at most {HOTTEST:g} K, got {wrong[0]:g}.", hint="Give it in kelvin."
        )


def kelvins(known: Property | None, count: int, temperature: FloatArray | None) -> FloatArray:
    """Give the temperatures at which a model of a property computes rows: those that are given, after a check."""
    # A property without temperature is computed at one for all, which then says nothing: the trend in T and the factor
    # of the covariance are constants.
    if known is not None and not known.temperature:
        if temperature is not None and not np.isnan(temperature).all():
            raise ConfigError(f"{known.name} was learnt without temperature.", hint="Give no temperature.")
        return np.full(count, 298.15)
    if temperature is None or temperature.shape != (count,):
        shape = "none" if temperature is None else f"temperatures of shape {temperature.shape}"
        raise ConfigError(f"There are {count} molecules, but {shape}.", hint="Give one temperature for each molecule.")
    check_temperatures(temperature)
    return temperature


def read_table(
    path: Path, quantity: Property | str, *, smiles_column: str | None = None, strip_salts: bool = False
) -> PropertyTable:
    """Read a table with a column of SMILES, ``T`` (K) and the property; all others are kept as they are.

    A column ``density_error`` (or of the property at hand) is read as standard errors. Rows whose value is empty are
    passed over: one file may hold several properties.

    Args:
        path: of a CSV file with a header; it may be compressed (``.gz``).
        quantity: whose column is read. The name of a property of your own has a temperature where the file has a
            column ``T``; of a `Property` without temperature a column ``T`` is not read.
        smiles_column: name of the column of SMILES; None takes ``smiles``, in any case.
        strip_salts: leave out fragments that RDKit knows as salts or solvents; such a molecule is then spelt as RDKit
            spells what is left.

    Returns:
        The rows in the order of the file.

    Raises:
        DataError: if the file cannot be read, a column is missing, or rows are bad: no number, a temperature or a
            density that cannot be, no SMILES of one molecule. All bad rows are named.
        MissingExtraError: if RDKit is not installed.
    """
    header, rows = table_rows(path)
    asked = _property(quantity, header)
    places = {"smiles": column(path, header, smiles_column)}
    places |= {"T": column(path, header, "T", hint="Temperatures (K) are the column T.")} if asked.temperature else {}
    places[asked.name] = column(path, header, asked.name, hint=_VALUES)
    error_name = f"{asked.name}_error"
    if error_name in header:
        places[error_name] = column(path, header, error_name)
    with silent_rdkit():
        good, bad = _read_rows(rows, asked, len(header), places, strip_salts=strip_salts)
    if bad:
        refuse(path, bad, "Correct or remove them.", strip_salts=strip_salts)
    if not good:
        raise DataError(f"{path} holds no value of {asked.name}.", hint="Give at least one row with a value.")
    smiles, numbers, cells = zip(*good, strict=True)
    temperature, value, error = np.array(numbers).T
    return PropertyTable(
        quantity=asked.name,
        smiles=smiles,
        temperature=temperature,
        value=value,
        error=None if np.isnan(error).any() else error,
        unit=asked.unit,
        columns={
            name: tuple(row[index] for row in cells) for name, index in others(header, [*places.values()]).items()
        },
    )


def _property(quantity: Property | str, header: Sequence[str]) -> Property:
    if isinstance(quantity, Property):
        return quantity
    return PROPERTIES.get(quantity) or Property(quantity, temperature="T" in header)


def _read_rows(
    rows: Iterable[tuple[int, list[str]]], asked: Property, width: int, columns: Mapping[str, int], *, strip_salts: bool
) -> tuple[list[tuple[str, tuple[float, float, float], list[str]]], list[tuple[int, str]]]:
    """Give SMILES, numbers (T, value, error) and cells of each good row, and line and reason of each bad one."""
    good: list[tuple[str, tuple[float, float, float], list[str]]] = []
    bad: list[tuple[int, str]] = []
    molecules: dict[str, tuple[str, str]] = {}
    for row, read in rows:
        cells = read + [""] * (width - len(read))
        names = ("smiles", "T", asked.name, f"{asked.name}_error")
        smiles, at, given, error = (cells[columns[name]] if name in columns else "" for name in names)
        if len(cells) > width:
            bad.append((row, f"expected {width} fields, got {len(cells)}: {', '.join(cells)}"))
        elif not smiles:
            bad.append((row, f"the SMILES is empty, got {', '.join(cells)}"))
        elif given:
            if smiles not in molecules:
                molecules[smiles] = _molecule(smiles, strip_salts=strip_salts)
            spelt, reason = molecules[smiles]
            numbers = (_number(at), _number(given), _number(error))
            reasons = [reason] if reason else []
            if asked.temperature and not 0 < numbers[0] <= HOTTEST:
                reasons.append(f"T must be a temperature in K, above 0 and at most {HOTTEST:g}, got {at!r}")
            if not _possible(asked.name, numbers[1]):
                above = " above 0" if asked.name in PROPERTIES else ""
                reasons.append(f"{asked.name} must be a number{above}, got {given!r}")
            if error and not 0 <= numbers[2] < math.inf:
                reasons.append(f"{asked.name}_error must be a number, 0 or above, got {error!r}")
            if reasons:
                bad.append((row, "; ".join(reasons)))
            else:
                good.append((spelt, numbers, cells))
    return good, bad


def _molecule(text: str, *, strip_salts: bool) -> tuple[str, str]:
    molecule, spelt = parse(text, strip_salts=strip_salts)
    return (spelt if strip_salts and "." in text else text, "" if molecule is not None else f"{text!r} {spelt}")


def _possible(name: str, value: float) -> bool:
    return math.isfinite(value) and (value > 0 or name not in PROPERTIES)


def check_labels(table: PropertyTable) -> None:
    """See whether the values of a table can be labels, before a model learns them."""
    for smiles, value in zip(table.smiles, table.value.tolist(), strict=True):
        if not _possible(table.quantity, value):
            raise ConfigError(f"{smiles} cannot have a {table.quantity} of {value:g}.", hint="Correct that label.")


def _number(text: str) -> float:
    try:
        return float(text) if text else math.nan
    except ValueError:
        return math.nan


def write_table(path: Path, *tables: PropertyTable) -> None:
    """Write tables of different properties into one CSV file, whole or not at all.

    Args:
        path: replaced if it exists.
        tables: at most one a property; of several, rows of the same molecule and temperature become one row. Other
            columns of theirs stand last; one that has the name of a column of the properties is left out.

    Raises:
        ConfigError: if the file cannot be written.
    """
    header = ["smiles", "T"] if any(table.property.temperature for table in tables) else ["smiles"]
    for table in tables:
        header += [table.quantity] if table.error is None else [table.quantity, f"{table.quantity}_error"]
    rest = dict.fromkeys(name for table in tables for name in table.columns if name not in header)
    rows: dict[tuple[object, ...], dict[str, str]] = {}
    for table in tables:
        for place, (smiles, temperature) in enumerate(zip(table.smiles, table.temperature.tolist(), strict=True)):
            kelvin = "" if math.isnan(temperature) else repr(temperature)
            key = (place,) if len(tables) == 1 else (smiles, kelvin)
            row = rows.setdefault(key, {"smiles": smiles, "T": kelvin})
            row[table.quantity] = repr(float(table.value[place]))
            if table.error is not None:
                row[f"{table.quantity}_error"] = repr(float(table.error[place]))
            row |= {name: texts[place] for name, texts in table.columns.items() if name in rest}
    columns = [*header, *rest]
    write_rows(path, columns, ({name: row.get(name) for name in columns} for row in rows.values()), form="csv")
