"""Which pairs of molecules are solved, where, and what is kept for the next call.

The kernel of two atoms (or bonds) is a few small tables and comparisons, whatever the number of classes: a product over
attributes is one over groups of attributes. Attributes with few values are joined into one group, of which one table
holds every combination that occurs. A Kronecker delta over many values (the Morgan identifiers of a large pool) is no
table, but a comparison of two codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from modicum.core.extras import require
from modicum.errors import ConfigError
from modicum.molecules.functional import FloatArray, IntArray
from modicum.molecules.kernel.features import Classes, Codes, Packed, Prepared
from modicum.molecules.kernel.microkernels import Composite, KroneckerDelta, Microkernel

# Beyond this many values a delta is compared and not tabled, and groups are not joined: a table stays near 32 MB.
_LARGEST_GROUP = 2048
_LARGEST_TABLE = 100_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """Factors (or terms) of the kernel between the classes of two sets of molecules, for `compiled`."""

    row_ids: Codes  # shape (tables, row classes): which row of a table a class is
    column_ids: Codes  # shape (tables, column classes)
    offsets: npt.NDArray[np.int64]  # where in `entries` each table begins, shape (tables,)
    widths: npt.NDArray[np.int64]  # columns of each table, shape (tables,)
    entries: FloatArray  # all tables, row by row, one after another
    row_codes: Codes  # shape (comparisons, row classes): equal codes mean equal values
    column_codes: Codes  # shape (comparisons, column classes)
    equal: FloatArray  # what a comparison gives for equal codes, shape (comparisons,)
    unequal: FloatArray  # and for others


@dataclass(frozen=True, slots=True, eq=False)
class _Tabled:
    rows: Codes
    columns: Codes
    entries: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class _Compared:
    rows: Codes
    columns: Codes
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


def _stack(parts: Sequence[Codes], width: int) -> Codes:
    return np.ascontiguousarray(np.stack(parts)) if parts else np.zeros((0, width), dtype=np.int32)


_BLOCK = 1 << 20  # pairs at a time, so that their indices stay small


@dataclass(frozen=True, slots=True)
class Equation:
    """All numbers that a raw kernel value depends on."""

    nodes: Composite  # kernel of two atoms
    edges: Composite  # kernel of two bonds
    p: float  # starting probability
    q: float  # stopping probability
    tolerance: float  # of the residual, relative


class Solver:
    """Solves pairs of molecules, and remembers each molecule's kernel with itself."""

    def __init__(self, equation: Equation, place: tuple[str, str]) -> None:
        self.equation = equation
        self.place = place
        self._own: WeakKeyDictionary[Packed, FloatArray] = WeakKeyDictionary()
        self._factors: tuple[Packed, Packed, Factors, FloatArray] | None = None

    def own(self, molecules: Prepared) -> FloatArray:
        """Give K of each molecule with itself, shape (n,); computed once a molecule."""
        packed, index = molecules.packed, molecules.index
        known = self._own.setdefault(packed, np.full(len(packed.starts) - 1, np.nan))
        missing = np.unique(index[np.isnan(known[index])])
        if len(missing):
            known[missing] = self._solve(packed, packed, missing, missing)
        return known[index]

    def block(self, left: Prepared, right: Prepared) -> FloatArray:
        """Give K of each molecule of one set with each of the other, shape (n, m)."""
        n, m = len(left), len(right)
        result = np.empty(n * m)
        for low in range(0, n * m, _BLOCK):
            rows, columns = np.divmod(np.arange(low, min(n * m, low + _BLOCK)), m)
            result[low : low + _BLOCK] = self.pairs(left, right, rows, columns)
        return result.reshape(n, m)

    def pairs(self, left: Prepared, right: Prepared, rows: IntArray, columns: IntArray) -> FloatArray:
        """Give K of some pairs, by their places in the two sets; shape (pairs,)."""
        return self._solve(left.packed, right.packed, left.index[rows], right.index[columns])

    def gradients(
        self, molecules: Prepared, rows: IntArray, columns: IntArray, names: Sequence[str]
    ) -> tuple[FloatArray, FloatArray]:
        """Give K of some pairs, and its derivatives; on the CPU, whatever the backend."""
        packed = molecules.packed
        compiled = _compiled()
        nodes = [name.removeprefix("nodes:") for name in names if name.startswith("nodes:")]
        edges = [name.removeprefix("edges:") for name in names if name.startswith("edges:")]
        by_node, order = slopes(self.equation.nodes, nodes, packed.atom_classes, packed.atom_classes)
        by_edge = [
            table(self.equation.edges, packed.bond_classes, packed.bond_classes, slope_of=name) for name in edges
        ]
        out, found = np.empty(len(rows)), np.empty((len(rows), len(nodes) + len(edges) + 1))
        bad = compiled.gradients(
            molecules.index[rows],
            molecules.index[columns],
            _graph(packed),
            _graph(packed),
            *self._model(packed, packed),
            _fields(by_node),
            np.array(by_edge).reshape(len(edges), *[len(packed.bond_classes)] * 2),
            out,
            found,
        )
        _check_ended(bad)
        p = self.equation.p
        labels = [*(f"nodes:{name}" for name in order), *(f"edges:{name}" for name in edges), "q"]
        columns_by_name = {label: found[:, place] * p**2 for place, label in enumerate(labels)}
        columns_by_name["p"] = 2 * p * out
        return out * p**2, np.stack([columns_by_name[name] for name in names], axis=1) if names else found[:, :0]

    def _solve(self, left: Packed, right: Packed, rows: IntArray, columns: IntArray) -> FloatArray:
        out = np.empty(len(rows))
        backend, device = self.place
        if backend == "torch":
            from modicum.molecules.kernel import batched  # torch: seconds that the compiled loops need not wait

            nodes, edges = self._tables(left, right)
            model = batched.Model(nodes, self._multiplied, edges, self.equation.q, self.equation.tolerance)
            bad = batched.solve(rows, columns, left, right, model, device=device, out=out)
        else:
            bad = _compiled().values(rows, columns, _graph(left), _graph(right), *self._model(left, right), out)
        _check_ended(bad)
        return out * self.equation.p**2

    @property
    def _multiplied(self) -> bool:
        return self.equation.nodes.rule == "product"

    def _model(self, left: Packed, right: Packed) -> tuple[Any, ...]:
        nodes, edges = self._tables(left, right)
        uniform = bool(edges.size == 0 or (edges == edges.flat[0]).all())
        return _fields(nodes), edges, (self._multiplied, uniform, self.equation.q, self.equation.tolerance)

    def _tables(self, left: Packed, right: Packed) -> tuple[Factors, FloatArray]:
        held = self._factors
        if held is None or held[0] is not left or held[1] is not right:
            nodes = factors(self.equation.nodes, left.atom_classes, right.atom_classes)
            edges = np.ascontiguousarray(table(self.equation.edges, left.bond_classes, right.bond_classes))
            held = self._factors = (left, right, nodes, edges)
        return held[2], held[3]


def _check_ended(bad: int) -> None:
    # A solve that does not end has a matrix that is not positive definite.
    if bad >= 0:
        raise ConfigError(
            "The kernel of a pair of molecules has no solution: the walk does not end.",
            hint="Keep the kernels of atoms and of bonds within [0, 1], and q above 0.",
        )


def _graph(packed: Packed) -> tuple[npt.NDArray[Any], ...]:
    return packed.starts, packed.bond_starts, packed.bond_ends, packed.bonds, packed.atoms


def _fields(found: Factors) -> tuple[Any, ...]:
    return tuple(getattr(found, field.name) for field in fields(found))


def _compiled() -> Any:
    require("numba", extra="molecules", purpose="The graph kernel")
    from modicum.molecules.kernel import compiled

    return compiled
