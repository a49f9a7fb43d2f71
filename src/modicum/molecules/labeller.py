"""What gives labels to molecules: a simulation, a table, or anything else that keeps this protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from modicum.molecules.table import PropertyTable, Quantity

__all__ = ["Label", "Labeller", "StatePoint", "tabulate"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StatePoint:
    """What is known of a liquid at one temperature; None for what is not known.

    Args:
        temperature: K.
        density: kg/m3.
        density_error: standard error, kg/m3.
        hvap: enthalpy of vaporisation, kJ/mol.
        hvap_error: standard error, kJ/mol.
        cp: heat capacity at constant pressure, J/mol/K.
        cp_error: standard error, J/mol/K.
    """

    temperature: float
    density: float | None = None
    density_error: float | None = None
    hvap: float | None = None
    hvap_error: float | None = None
    cp: float | None = None
    cp_error: float | None = None


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
        points = [{name: value for name, value in asdict(point).items() if value is not None} for point in self.points]
        return {"points": points, "missing": dict(self.missing), "seconds": self.seconds}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Label:
        """Read what `to_json` gave."""
        points = tuple(StatePoint(**point) for point in data["points"])
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


def tabulate(labels: Mapping[str, Label]) -> dict[Quantity, PropertyTable]:
    """Turn labels into one table a quantity; quantities that no molecule has are left out.

    Args:
        labels: by SMILES.

    Returns:
        Tables; with standard errors where every row has one.
    """
    quantities: tuple[Quantity, ...] = ("density", "hvap", "cp")
    tables = [_table(quantity, labels) for quantity in quantities]
    return {table.quantity: table for table in tables if len(table)}


def _table(quantity: Quantity, labels: Mapping[str, Label]) -> PropertyTable:
    rows: Sequence[tuple[str, float, float, float | None]] = [
        (smiles, point.temperature, value, getattr(point, f"{quantity}_error"))
        for smiles, label in labels.items()
        for point in label.points
        if (value := getattr(point, quantity)) is not None
    ]
    errors = [error for *_, error in rows if error is not None]
    return PropertyTable(
        quantity=quantity,
        smiles=tuple(row[0] for row in rows),
        temperature=np.array([row[1] for row in rows], dtype=float),
        value=np.array([row[2] for row in rows], dtype=float),
        error=np.array(errors) if rows and len(errors) == len(rows) else None,
    )
