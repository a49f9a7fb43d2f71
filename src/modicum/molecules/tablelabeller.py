"""Labels from published tables: values that somebody else simulated or measured, and called so."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from modicum.errors import ConfigError, DataError, SimulationError
from modicum.molecules.labeller import Label, StatePoint
from modicum.molecules.reading import table_rows
from modicum.molecules.smiles import canonical
from modicum.molecules.table import PROPERTIES, PropertyTable, check_temperatures, read_table


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
