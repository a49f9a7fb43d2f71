"""Rows of CSV files: matrices of numbers and columns by name."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from modicum.core.tables import read_cells, read_text, split_cells
from modicum.errors import DataError


def read_matrix(
    path: Path,
    *,
    skip: int | Callable[[Sequence[str]], int] = 0,
    delimiter: str = ",",
    quote: str = '"',
    header: bool | None = False,
    text: str | None = None,
) -> npt.NDArray[np.float64]:
    """Read a table of numbers, whatever its line ends are; "nan" and "inf" are read as such."""
    # ``skip`` counts the columns on the left that are no features, such as names and times, or counts them in the cells
    # of the first row. ``header`` says whether that row has names; None looks whether its last cell is a number.
    # ``text`` is that of the file, where it was read before.
    text = read_text(path) if text is None else text
    rows = split_cells(first_line(text), str(path), separator=delimiter, quote=quote)
    first = [cell.strip() for cell in rows[0][1]] if rows else []
    left = skip if isinstance(skip, int) else skip(first) if first else 1
    if len(first) <= left:
        raise DataError(f"{path} has {len(first)} columns, and {left} of them are no features.", hint="Check the file.")
    named = not is_number(first[-1]) if header is None else header
    lines = io.StringIO(text, newline=None)
    try:
        return np.loadtxt(
            lines, delimiter=delimiter, quotechar=quote, skiprows=int(named), usecols=range(left, len(first)), ndmin=2
        )
    except ValueError as error:
        raise DataError(
            f"{path} is no numeric table ({error}).",
            hint="Correct the row, or remove it; a decimal sign is a point.",
        ) from error


def first_line(text: str) -> str:
    """Give the first line of a text, whatever its line ends are."""
    return io.StringIO(text, newline=None).readline().rstrip("\n")


def is_number(cell: str) -> bool:
    """Tell whether a cell is a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def read_columns(path: Path, needed: Sequence[Sequence[str]]) -> list[tuple[int, list[str]]]:
    """Read the cells of columns by their names, each row with its line; of a column one of several names."""
    rows = read_cells(path)
    if not rows:
        raise DataError(f"{path} is empty.", hint="Fetch the file again.")
    names = [name.strip() for name in rows[0][1]]
    places = [next((names.index(name) for name in choice if name in names), None) for choice in needed]
    if None in places:
        lost = " or ".join(map(repr, needed[places.index(None)]))
        raise DataError(
            f"{path} has no column {lost}; it has {', '.join(map(repr, names))}.", hint="Rename the column."
        )
    for line, cells in rows[1:]:
        if len(cells) != len(names):
            raise DataError(
                f"{path}, row {line}, has {len(cells)} cells for {len(names)} columns.", hint="Correct the row."
            )
    return [(line, [cells[place].strip() for place in places if place is not None]) for line, cells in rows[1:]]
