"""What gives labels to molecules: a simulation, a table, or anything else that keeps this protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np

from modicum.molecules.table import PROPERTIES, PropertyTable


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
