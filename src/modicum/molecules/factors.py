"""The kernel of two atoms (or bonds) as a few small tables and comparisons, whatever the number of classes.

A product over attributes is a product over groups of attributes. Attributes with few values are joined into one
group, of which one table holds every combination that occurs. A Kronecker delta over many values (the Morgan
identifiers of a large pool) is no table, but a comparison of two codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from modicum.errors import ConfigError
from modicum.molecules.microkernels import Composite, KroneckerDelta, Microkernel
from modicum.molecules.prepared import Classes

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int32]

# Beyond this many values a delta is compared and not tabled, and groups are not joined: a table stays near 32 MB.
_LARGEST_GROUP = 2048
_LARGEST_TABLE = 100_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """Factors (or terms) of the kernel between the classes of two sets of molecules, for `compiled`."""

    row_ids: IntArray  # shape (tables, row classes): which row of a table a class is
    column_ids: IntArray  # shape (tables, column classes)
    offsets: npt.NDArray[np.int64]  # where in `entries` each table begins, shape (tables,)
    widths: npt.NDArray[np.int64]  # columns of each table, shape (tables,)
    entries: FloatArray  # all tables, row by row, one after another
    row_codes: IntArray  # shape (comparisons, row classes): equal codes mean equal values
    column_codes: IntArray  # shape (comparisons, column classes)
    equal: FloatArray  # what a comparison gives for equal codes, shape (comparisons,)
    unequal: FloatArray  # and for others


@dataclass(frozen=True, slots=True, eq=False)
class _Tabled:
    rows: IntArray
    columns: IntArray
    entries: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class _Compared:
    rows: IntArray
    columns: IntArray
    equal: float
    unequal: float


def factors(kernel: Composite, rows: Classes, columns: Classes) -> Factors:
    """Tabulate a kernel between two sets of classes."""
    groups: list[_Tabled] = []
    compared: list[_Compared] = []
    for name, part in kernel.parts.items():
        entry = _entry(name, part, rows, columns)
        if isinstance(entry, _Compared):
            compared.append(entry)
        elif groups and (joined := _join(groups[-1], entry, kernel.rule)) is not None:
            groups[-1] = joined
        else:
            groups.append(entry)
    return _pack(groups, compared, len(rows), len(columns))


def slopes(kernel: Composite, names: Sequence[str], rows: Classes, columns: Classes) -> tuple[Factors, tuple[str, ...]]:
    """Tabulate how the kernel changes with the numbers of some of its parts."""
    tables: dict[str, _Tabled] = {}
    compared: dict[str, _Compared] = {}
    relative = kernel.rule == "product"
    for name in names:
        part = kernel.parts[name]
        entry = _entry(name, part, rows, columns)
        if isinstance(entry, _Compared):
            compared[name] = _Compared(entry.rows, entry.columns, 0.0, 1 / part.value if relative else 1.0)
        else:
            place = rows.names.index(name)
            by = part.slope(rows.values[place], columns.values[place])
            tables[name] = _Tabled(entry.rows, entry.columns, by / entry.entries if relative else by)
    packed = _pack([*tables.values()], [*compared.values()], len(rows), len(columns))
    return packed, (*tables, *compared)


def table(kernel: Composite, rows: Classes, columns: Classes, *, slope_of: str | None = None) -> FloatArray:
    """Evaluate a kernel of each two classes: for bonds, which have few."""
    parts: list[FloatArray] = []
    for name, part in kernel.parts.items():
        place = _place(name, rows)
        function = part.slope if name == slope_of else part.table
        if slope_of is None or kernel.rule == "product" or name == slope_of:
            values = function(rows.values[place], columns.values[place])
            parts.append(values[np.ix_(rows.codes[place], columns.codes[place])])
    return np.prod(parts, axis=0) if kernel.rule == "product" else np.sum(parts, axis=0)


def _entry(name: str, part: Microkernel, rows: Classes, columns: Classes) -> _Tabled | _Compared:
    place = _place(name, rows)
    left, right = rows.values[place], columns.values[place]
    if isinstance(part, KroneckerDelta) and max(len(left), len(right)) > _LARGEST_GROUP // 8:
        codes = {value: code for code, value in enumerate(left)}
        renumbered = np.array([codes.setdefault(value, len(codes)) for value in right], dtype=np.int32)
        return _Compared(rows.codes[place], renumbered[columns.codes[place]], 1.0, part.value)
    if len(left) * len(right) > _LARGEST_TABLE:
        raise ConfigError(
            f"The attribute {name} has {max(len(left), len(right)):,} different values, too many for a table.",
            hint="Give fewer molecules at a time, or leave that attribute out of the kernel.",
        )
    return _Tabled(rows.codes[place], columns.codes[place], part.table(left, right))


def _place(name: str, classes: Classes) -> int:
    if name not in classes.names:
        raise ConfigError(
            f"There is no attribute {name!r} of atoms or bonds.", hint=f"Use one of: {', '.join(classes.names)}."
        )
    return classes.names.index(name)


def _join(first: _Tabled, second: _Tabled, rule: str) -> _Tabled | None:
    # The combinations that occur on each side become the rows and columns of one table.
    rows, row_ids = np.unique(np.stack([first.rows, second.rows]), axis=1, return_inverse=True)
    columns, column_ids = np.unique(np.stack([first.columns, second.columns]), axis=1, return_inverse=True)
    if max(rows.shape[1], columns.shape[1]) > _LARGEST_GROUP:
        return None
    left, right = (entry.entries[np.ix_(rows[place], columns[place])] for place, entry in enumerate((first, second)))
    entries = left * right if rule == "product" else left + right
    return _Tabled(row_ids.astype(np.int32), column_ids.astype(np.int32), entries)


def _pack(groups: Sequence[_Tabled], compared: Sequence[_Compared], rows: int, columns: int) -> Factors:
    sizes = [group.entries.size for group in groups]
    return Factors(
        row_ids=_stack([group.rows for group in groups], rows),
        column_ids=_stack([group.columns for group in groups], columns),
        offsets=np.cumsum([0, *sizes])[:-1].astype(np.int64),
        widths=np.array([group.entries.shape[1] for group in groups], dtype=np.int64),
        entries=np.concatenate([np.zeros(0), *(group.entries.ravel() for group in groups)]),
        row_codes=_stack([entry.rows for entry in compared], rows),
        column_codes=_stack([entry.columns for entry in compared], columns),
        equal=np.array([entry.equal for entry in compared], dtype=np.float64),
        unequal=np.array([entry.unequal for entry in compared], dtype=np.float64),
    )


def _stack(parts: Sequence[IntArray], width: int) -> IntArray:
    return np.ascontiguousarray(np.stack(parts)) if parts else np.zeros((0, width), dtype=np.int32)
