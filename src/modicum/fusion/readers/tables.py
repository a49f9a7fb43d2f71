"""Rows of CSV files: matrices of numbers and columns by name."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from modicum.core.safeload.limits import MAX_BYTES, read_bounded
from modicum.errors import DataError


def read_rows(path: Path, *, delimiter: str = ",", quote: str = '"') -> list[list[str]]:
    """Read the cells of a file in UTF-8; blank lines are no rows."""
    try:
        text = read_bounded(path, max_bytes=MAX_BYTES).decode("utf-8-sig")
        rows = [row for row in csv.reader(io.StringIO(text, newline=None), delimiter=delimiter, quotechar=quote) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no CSV file in UTF-8 ({error}).", hint="Write it again from its source.") from error
    if not rows:
        raise DataError(f"{path} is empty.", hint="Fetch the file again.")
    return rows


def read_matrix(
    path: Path,
    *,
    skip: int | Callable[[Sequence[str]], int] = 0,
    delimiter: str = ",",
    quote: str = '"',
    header: bool | None = False,
) -> npt.NDArray[np.float64]:
    """Read a table of numbers in UTF-8, whatever its line ends are; "nan" and "inf" are read as such."""
    # ``skip`` counts the columns on the left that are no features, such as names and times, or counts them in the cells
    # of the first row. ``header`` says whether that row has names; None looks whether its last cell is a number.
    text = read_bounded(path, max_bytes=MAX_BYTES).decode("utf-8-sig", errors="replace")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    first = [
        cell.strip() for cell in next(csv.reader([text.partition("\n")[0]], delimiter=delimiter, quotechar=quote), [])
    ]
    left = skip if isinstance(skip, int) else skip(first) if first else 1
    if len(first) <= left:
        raise DataError(f"{path} has {len(first)} columns, and {left} of them are no features.", hint="Check the file.")
    named = not is_number(first[-1]) if header is None else header
    columns = range(left, len(first))
    try:
        return np.loadtxt(
            io.StringIO(text), delimiter=delimiter, quotechar=quote, skiprows=int(named), usecols=columns, ndmin=2
        )
    except ValueError as error:
        raise DataError(
            f"{path} is no table of numbers ({error}).",
            hint="Correct the row, or remove it; a decimal sign is a point.",
        ) from error


def is_number(cell: str) -> bool:
    """Tell whether a cell is a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def read_columns(path: Path, needed: Sequence[Sequence[str]]) -> list[list[str]]:
    """Read columns by their names."""
    rows = read_rows(path)
    if len(rows[0]) == 1 and ";" in rows[0][0]:
        rows = read_rows(path, delimiter=";")
    names = [name.strip() for name in rows[0]]
    places = [next((names.index(name) for name in choice if name in names), None) for choice in needed]
    if None in places:
        lost = " or ".join(map(repr, needed[places.index(None)]))
        raise DataError(
            f"{path} has no column {lost}; it has {', '.join(map(repr, names))}.", hint="Rename the column."
        )
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != len(names):
            raise DataError(
                f"{path}, row {line}, has {len(row)} cells for {len(names)} columns.", hint="Correct the row."
            )
    return [[row[place].strip() for row in rows[1:]] for place in places if place is not None]
