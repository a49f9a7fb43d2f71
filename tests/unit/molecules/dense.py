"""The kernel of two molecules from their attributes, one pair of atoms at a time: nothing of the fast path."""

from __future__ import annotations

from itertools import product

import numpy as np

from modicum.molecules.functional import FloatArray
from modicum.molecules.kernel.features import ATOM_ATTRIBUTES, BOND_ATTRIBUTES, MoleculeGraph, molecule_graph
from modicum.molecules.kernel.marginalized import MarginalizedGraphKernel
from modicum.molecules.kernel.microkernels import Composite, Convolution, KroneckerDelta, Microkernel


def product_system(
    first: FloatArray, second: FloatArray, nodes: FloatArray, edges: FloatArray, *, q: float
) -> tuple[FloatArray, FloatArray]:
    """[D V^-1 - W] x = D 1 of the product graph (Tang and de Jong 2019): D = d d' / (1 - q)^2 and W = (A x A') E."""
    n, m = nodes.shape
    degrees = [np.where(graph.sum(axis=1) == 0, 1.0, graph.sum(axis=1)) for graph in (first, second)]
    d = np.outer(*degrees).ravel() / (1 - q) ** 2
    # Atom (i, k) of the product is a neighbour of (j, l) if i is one of j and k is one of l.
    w = np.einsum("ij,kl,ijkl->ikjl", first, second, edges).reshape(n * m, n * m)
    return np.diag(d / nodes.ravel()) - w, d


def marginalized_kernel(
    first: FloatArray, second: FloatArray, nodes: FloatArray, edges: FloatArray, *, q: float, p: float = 1.0
) -> float:
    """K = sum of p p' x over all pairs of atoms."""
    matrix, target = product_system(first, second, nodes, edges, q=q)
    return float(p**2 * np.linalg.solve(matrix, target).sum())


def dense_kernel(kernel: MarginalizedGraphKernel, first: str, second: str) -> float:
    one, other = molecule_graph(first), molecule_graph(second)
    nodes = np.array([[composite(kernel.nodes, ATOM_ATTRIBUTES, a, b) for b in other.atoms] for a in one.atoms])
    (adjacency_1, bonds_1), (adjacency_2, bonds_2) = bonds(one), bonds(other)
    n, m = nodes.shape
    edges = np.zeros((n, n, m, m))
    for (i, j), (k, far) in product(bonds_1, bonds_2):
        edges[i, j, k, far] = composite(kernel.edges, BOND_ATTRIBUTES, bonds_1[i, j], bonds_2[k, far])
    return marginalized_kernel(adjacency_1, adjacency_2, nodes, edges, q=kernel.q.value, p=kernel.p.value)


def bonds(graph: MoleculeGraph) -> tuple[np.ndarray, dict[tuple[int, int], tuple]]:
    adjacency = np.zeros((len(graph.atoms),) * 2)
    found = {}
    for i, j, attributes in graph.bonds:
        adjacency[i, j] = adjacency[j, i] = 1
        found[i, j] = found[j, i] = attributes
    return adjacency, found


def composite(kernel: Composite, names: tuple[str, ...], first: tuple, second: tuple) -> float:
    values = [scalar(part, first[names.index(name)], second[names.index(name)]) for name, part in kernel.parts.items()]
    return float(np.prod(values) if kernel.rule == "product" else np.sum(values))


def scalar(kernel: Microkernel, x: object, y: object) -> float:
    match kernel:
        case KroneckerDelta():
            return 1.0 if x == y else kernel.value
        case Convolution():
            pairs = [scalar(kernel.base, a, b) for a in x for b in y]  # type: ignore[attr-defined]
            return sum(pairs) / len(pairs)
    return float(kernel.table([x], [y])[0, 0])  # type: ignore[list-item]
