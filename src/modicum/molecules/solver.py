"""Which pairs of molecules are solved, where, and what is kept for the next call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from modicum.core.extras import require
from modicum.errors import ConfigError
from modicum.molecules.factors import Factors, factors, slopes, table
from modicum.molecules.microkernels import Composite
from modicum.molecules.prepared import Packed, Prepared

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]

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
            from modicum.molecules import batched  # torch: seconds that the compiled loops need not wait

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
    from modicum.molecules import compiled

    return compiled
