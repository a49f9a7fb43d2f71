"""The same solves in batches of padded matrices, by torch: for a GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from modicum.molecules.functional import FloatArray, IntArray
from modicum.molecules.kernel.features import Packed

if TYPE_CHECKING:
    from modicum.molecules.kernel.solver import Factors

_NUMBERS = 1 << 23  # in one padded (pairs, n, m) array: 64 MB of float64, of which about ten are alive


@dataclass(frozen=True, slots=True)
class Model:
    """The equation, as `solver` hands it to a backend."""

    factors: Factors  # of the node kernel between the two sets of classes
    product: bool  # whether they are multiplied or added
    edges: FloatArray  # edge kernel of each two classes of bonds
    q: float  # stopping probability
    tolerance: float  # of the residual, relative


def solve(
    rows: IntArray, columns: IntArray, left: Packed, right: Packed, model: Model, *, device: str, out: FloatArray
) -> int:
    """Solve for pairs of molecules on a device, in float64."""
    first, second = _Side(left, device), _Side(right, device)
    # Pairs of one size lie together, so that little is padded.
    sizes = first.sizes[rows].astype(np.int64) * second.sizes[columns]
    order = np.argsort(sizes, kind="stable")
    largest = int(first.sizes[rows].max(initial=1)) * int(second.sizes[columns].max(initial=1))
    step = max(1, _NUMBERS // largest)
    for low in range(0, len(order), step):
        chosen = order[low : low + step]
        total = _batch(first.batch(rows[chosen]), second.batch(columns[chosen]), model, device)
        if total is None:
            return low
        out[chosen] = total.cpu().numpy()
    return -1


@dataclass(frozen=True, slots=True, eq=False)
class _Graphs:
    # atoms: class of each atom (pairs, n), 0 where padded; mask: where atoms are; bonds: class + 1 of the bond
    # between each two atoms (pairs, n, n), 0 where there is none.
    atoms: Tensor
    mask: Tensor
    bonds: Tensor


class _Side:
    def __init__(self, packed: Packed, device: str) -> None:
        self.packed = packed
        self.device = device
        self.sizes = np.diff(packed.starts)

    def batch(self, chosen: IntArray) -> _Graphs:
        unique, places = np.unique(chosen, return_inverse=True)
        packed = self.packed
        width = int(self.sizes[unique].max())
        atoms = np.zeros((len(unique), width), dtype=np.int64)
        mask = np.arange(width) < self.sizes[unique][:, None]
        bonds = np.zeros((len(unique), width, width), dtype=np.int64)
        for row, molecule in enumerate(unique):
            start, end = packed.starts[molecule], packed.starts[molecule + 1]
            atoms[row, : end - start] = packed.atoms[start:end]
            low, high = packed.bond_starts[start], packed.bond_starts[end]
            here = np.repeat(np.arange(int(end - start)), np.diff(packed.bond_starts[start : end + 1]))
            bonds[row, here, packed.bond_ends[low:high]] = packed.bonds[low:high] + 1
        index = torch.from_numpy(places).to(self.device)
        return _Graphs(*(torch.from_numpy(array).to(self.device)[index] for array in (atoms, mask, bonds)))


def _batch(first: _Graphs, second: _Graphs, model: Model, device: str) -> Tensor | None:
    inside = first.mask[:, :, None] & second.mask[:, None, :]
    nodes = torch.where(inside, _nodes(first, second, model, device), 0.0)
    degrees = [(graphs.bonds > 0).sum(2).clamp(min=1).double() for graphs in (first, second)]
    degree = degrees[0][:, :, None] * degrees[1][:, None, :] / (1 - model.q) ** 2
    alive = nodes > 0
    diagonal = torch.where(alive, degree / nodes, 1.0)
    inverse = torch.where(alive, nodes / degree, 0.0)
    target = torch.where(alive, degree, 0.0)
    walks = _walks(first, second, model)

    def apply(vector: Tensor) -> Tensor:
        return diagonal * vector - sum(value * (a @ vector @ b) for value, a, b in walks)

    return _conjugate_gradients(apply, inverse, target, model.tolerance)


def _nodes(first: _Graphs, second: _Graphs, model: Model, device: str) -> Tensor:
    factors = model.factors
    entries = torch.from_numpy(factors.entries).to(device)
    parts: list[Tensor] = []
    for place, (offset, width) in enumerate(zip(factors.offsets, factors.widths, strict=True)):
        rows, columns = (
            torch.from_numpy(ids[place]).to(device).long()[graphs.atoms]
            for ids, graphs in ((factors.row_ids, first), (factors.column_ids, second))
        )
        parts.append(entries[int(offset) + rows[:, :, None] * int(width) + columns[:, None, :]])
    for place, (equal, unequal) in enumerate(zip(factors.equal, factors.unequal, strict=True)):
        rows, columns = (
            torch.from_numpy(codes[place]).to(device)[graphs.atoms]
            for codes, graphs in ((factors.row_codes, first), (factors.column_codes, second))
        )
        same = rows[:, :, None] == columns[:, None, :]
        parts.append(torch.where(same, float(equal), float(unequal)).double())
    stacked = torch.stack(parts)
    return stacked.prod(0) if model.product else stacked.sum(0)


def _walks(first: _Graphs, second: _Graphs, model: Model) -> list[tuple[float, Tensor, Tensor]]:
    # W X = sum over kinds of bonds of E A X A', with all bonds together where E is the same for all.
    if model.edges.size == 0:
        return []
    if (model.edges == model.edges.flat[0]).all():
        return [(float(model.edges.flat[0]), (first.bonds > 0).double(), (second.bonds > 0).double())]
    left, right = ([kind for kind in graphs.bonds.unique().tolist() if kind] for graphs in (first, second))
    return [
        (float(model.edges[a - 1, b - 1]), (first.bonds == a).double(), (second.bonds == b).double())
        for a in left
        for b in right
    ]


def _conjugate_gradients(
    apply: Callable[[Tensor], Tensor], inverse: Tensor, target: Tensor, tolerance: float
) -> Tensor | None:
    # As in `compiled`, with one step length a pair; a pair that has ended stands still.
    solution, residual = torch.zeros_like(target), target.clone()
    direction = inverse * target
    rho = (target * direction).sum((1, 2))
    limit = tolerance**2 * (target**2).sum((1, 2))
    for _ in range(10 * target[0].numel() + 100):
        running = (residual**2).sum((1, 2)) > limit
        if not bool(running.any()):
            return solution.sum((1, 2))
        product = apply(direction)
        curvature = (direction * product).sum((1, 2))
        if bool((running & ~(curvature > 0)).any()):
            return None
        alpha = torch.where(running, rho / curvature, 0.0)[:, None, None]
        solution += alpha * direction
        residual -= torch.where(inverse > 0, alpha * product, 0.0)
        fresh = (residual**2 * inverse).sum((1, 2))
        beta = torch.where(running, fresh / rho, 0.0)[:, None, None]
        rho = torch.where(running, fresh, rho)
        direction = inverse * residual + beta * direction
    return None
