"""Labels from published tables: values that somebody else simulated or measured, and called so."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

from modicum.errors import ConfigError, SimulationError
from modicum.molecules.labeller import Label, StatePoint
from modicum.molecules.smiles import canonical
from modicum.molecules.table import PropertyTable

__all__ = ["TableLabeller"]


class TableLabeller:
    """Looks labels up in published tables; nothing is simulated, and its name says so.

    It carries its tables with every job: give it the engine "inline" rather than worker processes.

    Args:
        tables: any quantities; rows of one molecule and temperature are joined.
        source: where the values come from, for its name: "ALMS, U = 0.5".

    Raises:
        ConfigError: if there is no table, or two values for one quantity of one molecule at one temperature.
        DataError: if a molecule of a table is not a SMILES string.
    """

    def __init__(self, tables: Sequence[PropertyTable], *, source: str) -> None:
        if not tables:
            raise ConfigError("A TableLabeller needs at least one table, got none.", hint="Read one with read_table.")
        self.name = f"published table ({source}), not simulated"
        self._source = source
        self._points: dict[str, dict[float, dict[str, float]]] = {}
        digest = hashlib.sha256()
        spelling = {smiles: canonical(smiles) for table in tables for smiles in table.molecules}
        for table in tables:
            for row in self._add(table, spelling):
                digest.update(row.encode())
        self._digest = digest.hexdigest()

    def settings(self) -> dict[str, Any]:
        """Give the source and the hash of all values."""
        return {"source": self._source, "values": self._digest}

    def label(self, smiles: str) -> Label:
        """Look one molecule up, in any spelling.

        Args:
            smiles: of the molecule.

        Returns:
            Its published values, by rising temperature.

        Raises:
            SimulationError: if it is in none of the tables.
        """
        rows = self._points.get(canonical(smiles))
        if rows is None:
            raise SimulationError(
                f"{smiles} is not in the published table ({self._source}).",
                hint="Choose among the molecules of the table, or simulate it with OpenMMLabeller.",
            )
        points = tuple(StatePoint(temperature=temperature, **rows[temperature]) for temperature in sorted(rows))
        known = {name for row in rows.values() for name in row}
        missing = {name: "not in the table" for name in ("density", "hvap", "cp") if name not in known}
        return Label(points=points, missing=missing, seconds=0.0)

    def _add(self, table: PropertyTable, spelling: dict[str, str]) -> Iterator[str]:
        for place, smiles in enumerate(table.smiles):
            temperature, value = float(table.temperature[place]), float(table.value[place])
            row = self._points.setdefault(spelling[smiles], {}).setdefault(temperature, {})
            if table.quantity in row:
                raise ConfigError(
                    f"The tables give {table.quantity} of {smiles} at {temperature:g} K twice.",
                    hint="Keep one of the two rows.",
                )
            row[table.quantity] = value
            error = None if table.error is None else float(table.error[place])
            if error is not None:
                row[f"{table.quantity}_error"] = error
            yield f"{spelling[smiles]} {temperature!r} {table.quantity} {value!r} {error!r}\n"
