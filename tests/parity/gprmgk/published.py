"""What else the authors of GPR-MGK published: their predictions, and which molecules a set has."""

from __future__ import annotations

from pathlib import Path

from modicum.core import catalogue
from modicum.molecules import PropertyTable, read_table

LABELLED = (
    *("0.3_0", "0.4_0", "0.5_0", "0.5_1", "0.5_2"),
    *(f"0.5_{rule}{draw}" for rule in ("random", "nheavy") for draw in range(3)),
    "test",
)


def folder() -> Path:
    return catalogue.fetch("alkanes") / "data"


def published_predictions(name: str, quantity: str) -> PropertyTable:
    return read_table(folder() / "data_test3000" / f"{quantity}-{name}-pred.csv", quantity)


def published_selection(name: str) -> tuple[str, ...]:
    """Read an entire list; of some sets only the molecules whose simulation gave labels are known."""
    path = folder() / f"data_{name}" / f"al_{name}.csv"
    if not path.exists():
        return read_table(folder() / f"data_{name}" / "density.csv", "density").molecules
    header, *molecules = path.read_text(encoding="utf-8").split()
    assert header == "smiles"
    return tuple(molecules)
