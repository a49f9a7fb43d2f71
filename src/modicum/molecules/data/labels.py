"""Labels of one molecule each: the protocol of what gives them, and published tables that do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from modicum.errors import ConfigError, DataError, SimulationError
from modicum.molecules.data.smiles import canonical, table_rows
from modicum.molecules.data.table import PROPERTIES, PropertyTable, check_temperatures, read_table


@dataclass(frozen=True, kw_only=True, slots=True)
class StatePoint:
    """What is known of a molecule at one temperature; None for what is not known."""

    temperature: float | None = None  # K; None for properties without temperature
    density: float | None = None  # kg/m3
    density_error: float | None = None  # standard error, kg/m3
    hvap: float | None = None  # enthalpy of vaporisation, kJ/mol
    hvap_error: float | None = None  # standard error, kJ/mol
    cp: float | None = None  # heat capacity at constant pressure, J/mol/K
    cp_error: float | None = None  # standard error, J/mol/K
    others: Mapping[str, tuple[float, float | None]] = field(default_factory=dict[str, tuple[float, float | None]])

    def properties(self) -> dict[str, tuple[float, float | None]]:
        """Give all that is known: value and standard error by the name of the property."""
        known = {name: (getattr(self, name), getattr(self, f"{name}_error")) for name in PROPERTIES}
        return {**{name: pair for name, pair in known.items() if pair[0] is not None}, **self.others}


@dataclass(frozen=True, kw_only=True, slots=True)
class Label:
    """The label of one molecule.

    Args:
        points: by rising temperature, at least one.
        missing: what it leaves out and why, by a name such as "cp" or "450 K".
        seconds: of wall clock that it took.
    """

    points: tuple[StatePoint, ...]
    missing: Mapping[str, str]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Give plain JSON data; `from_json` reads it back to the last bit."""
        points = [
            {name: value for name, value in asdict(point).items() if value not in (None, {})} for point in self.points
        ]
        return {"points": points, "missing": dict(self.missing), "seconds": self.seconds}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Label:
        """Read what `to_json` gave."""
        points = tuple(
            StatePoint(**{**point, "others": {name: tuple(pair) for name, pair in point.get("others", {}).items()}})
            for point in data["points"]
        )
        return cls(points=points, missing=dict(data["missing"]), seconds=data["seconds"])


class Labeller(Protocol):
    """Gives a molecule its label; it is sent to worker processes, and so must be picklable.

    Args:
        name: says where the values come from.
    """

    name: str

    def settings(self) -> dict[str, Any]:
        """Give everything that determines a label beside the molecule, as JSON: another setting is another job."""
        ...

    def label(self, smiles: str) -> Label:
        """Label one molecule.

        Args:
            smiles: of the molecule.

        Returns:
            Its label.

        Raises:
            SimulationError: if this molecule cannot be labelled; the reason is recorded and others go on.
        """
        ...


def tabulate(labels: Mapping[str, Label]) -> dict[str, PropertyTable]:
    """Turn labels into one table a property; properties that no molecule has are left out."""
    rows: dict[str, list[tuple[str, float, float, float | None]]] = {name: [] for name in PROPERTIES}
    for smiles, label in labels.items():
        for point in label.points:
            kelvin = np.nan if point.temperature is None else point.temperature
            for name, (value, error) in point.properties().items():
                rows.setdefault(name, []).append((smiles, kelvin, value, error))
    return {name: _table(name, found) for name, found in rows.items() if found}


def _table(name: str, rows: Sequence[tuple[str, float, float, float | None]]) -> PropertyTable:
    errors = [error for *_, error in rows if error is not None]
    return PropertyTable(
        quantity=name,
        smiles=tuple(row[0] for row in rows),
        temperature=np.array([row[1] for row in rows], dtype=float),
        value=np.array([row[2] for row in rows], dtype=float),
        error=np.array(errors) if len(errors) == len(rows) else None,
    )


class TableLabeller:
    """Looks labels up in published tables; nothing is simulated, and its name says so.

    It carries its tables with every job: give it the engine "inline" rather than worker processes.

    Args:
        tables: any properties; rows of one molecule and temperature are joined.
        source: where the values come from, for its name: "ALMS, U = 0.5".
        temperatures: K; rows of other temperatures are left out, nothing is interpolated. None takes all.

    Raises:
        ConfigError: if there is no table, a temperature is impossible, or there are two values for one property of one
            molecule at one temperature.
        DataError: if a molecule of a table is not a SMILES string.
    """

    def __init__(
        self, tables: Sequence[PropertyTable], *, source: str, temperatures: Sequence[float] | None = None
    ) -> None:
        if not tables:
            raise ConfigError("A TableLabeller needs at least one table, got none.", hint="Read one with read_table.")
        check_temperatures(temperatures or ())
        self._temperatures = None if temperatures is None else tuple(sorted({float(t) for t in temperatures}))
        self.name = f"published table ({source}), not simulated"
        self._source = source
        self._points: dict[str, dict[float | None, dict[str, tuple[float, float | None]]]] = {}
        self._names = dict.fromkeys([*PROPERTIES, *(table.quantity for table in tables)])
        digest = hashlib.sha256()
        spelling = {smiles: canonical(smiles) for table in tables for smiles in table.molecules}
        for table in tables:
            for row in self._add(table, spelling):
                digest.update(row.encode())
        self._digest = digest.hexdigest()

    @classmethod
    def read(
        cls,
        paths: Mapping[Path, str | None],
        quantity: str | None = None,
        *,
        temperatures: Sequence[float] | None = None,
        strip_salts: bool = False,
    ) -> TableLabeller:
        """Read CSV files, each with the name of its column of SMILES; of no property named, all that are known.

        Args:
            paths: files, with the names of their columns of SMILES; None takes ``smiles``.
            quantity: name of one property, or None.
            temperatures: as above.
            strip_salts: see `read_table`.

        Returns:
            The labeller, called by the names of the files.

        Raises:
            DataError: if a file has no such column, or cannot be read.
        """
        tables: list[PropertyTable] = []
        for path, smiles_column in paths.items():
            header, _ = table_rows(path)
            names = [known for known in PROPERTIES if known in header] if quantity is None else [quantity]
            if not names:
                raise DataError(f"{path} has no column {', '.join(PROPERTIES)}.", hint="Name its column by --property.")
            tables += [read_table(path, name, smiles_column=smiles_column, strip_salts=strip_salts) for name in names]
        return cls(tables, source=", ".join(path.name for path in paths), temperatures=temperatures)

    def settings(self) -> dict[str, Any]:
        """Give the source, the hash of all values, and the temperatures that are asked for."""
        asked = self._temperatures and list(self._temperatures)
        return {"source": self._source, "values": self._digest, "temperatures": asked}

    def label(self, smiles: str) -> Label:
        """Look one molecule up, in any spelling.

        Args:
            smiles: of the molecule.

        Returns:
            Its published values, by rising temperature.

        Raises:
            SimulationError: if it is in none of the tables, or not at these temperatures.
        """
        rows = self._points.get(canonical(smiles))
        if rows is None:
            raise SimulationError(
                f"{smiles} is not in the published table ({self._source}).",
                hint="Choose among the molecules of the table, or simulate it with OpenMMLabeller.",
            )
        there = sorted(kelvin for kelvin in rows if kelvin is not None)
        asked = there if self._temperatures is None else self._temperatures
        points = tuple(_point(kelvin, rows[kelvin]) for kelvin in (None, *asked) if kelvin in rows)
        if not points:
            raise SimulationError(
                f"{smiles} is in the published table ({self._source}) at {', '.join(f'{t:g}' for t in there)} K alone, "
                f"not at {', '.join(f'{t:g}' for t in asked)} K.",
                hint="Ask for a temperature of the table, or for none: then all are taken.",
            )
        known = {name for point in points for name in point.properties()}
        absent = [name for name in self._names if name not in known]
        absent += [f"{kelvin:g} K" for kelvin in asked if kelvin not in rows]
        return Label(points=points, missing=dict.fromkeys(absent, "not in the table"), seconds=0.0)

    def _add(self, table: PropertyTable, spelling: dict[str, str]) -> Iterator[str]:
        for place, smiles in enumerate(table.smiles):
            value = float(table.value[place])
            temperature = float(table.temperature[place]) if table.property.temperature else None
            row = self._points.setdefault(spelling[smiles], {}).setdefault(temperature, {})
            if table.quantity in row:
                raise ConfigError(
                    f"The tables give {table.quantity} of {smiles}"
                    f"{'' if temperature is None else f' at {temperature:g} K'} twice.",
                    hint="Keep one of the two rows.",
                )
            error = None if table.error is None else float(table.error[place])
            row[table.quantity] = (value, error)
            yield f"{spelling[smiles]} {temperature!r} {table.quantity} {value!r} {error!r}\n"


def _point(temperature: float | None, row: Mapping[str, tuple[float, float | None]]) -> StatePoint:
    known = {name: row[name] for name in PROPERTIES if name in row}
    fields = {name: pair[0] for name, pair in known.items()} | {
        f"{name}_error": pair[1] for name, pair in known.items()
    }
    others = {name: pair for name, pair in row.items() if name not in PROPERTIES}
    return StatePoint(temperature=temperature, **fields, others=others)
