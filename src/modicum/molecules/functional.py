"""The equations of the method, written to be read: dense, one pair of molecules at a time.

The library computes the same with `kernel.compiled` and `kernel.batched`; tests and benchmarks compare them with this module.

Sources: Tang and de Jong 2019 (J. Chem. Phys. 150, 044107) for the kernel; Xiang et al. 2024 for its normalisation
and the posterior deviation.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]


def product_system(
    first: FloatArray, second: FloatArray, nodes: FloatArray, edges: FloatArray, *, q: float
) -> tuple[FloatArray, FloatArray]:
    """Build the linear system of the product graph, [D V^-1 - W] x = D 1.

    With degrees d (1 for an atom without bonds), D = d d' / (1 - q)^2 and W = (A x A') E.

    Args:
        first: adjacency A of one graph, shape (n, n).
        second: adjacency A' of the other, shape (m, m).
        nodes: node kernel V of each two atoms, > 0, shape (n, m).
        edges: edge kernel E, shape (n, n, m, m): of the bond i-j with the bond k-l; read where both are bonds.
        q: probability that the walk stops at a step, in (0, 1].

    Returns:
        The matrix, shape (n m, n m), and the right side, shape (n m,).
    """
    n, m = nodes.shape
    degrees = [np.where(graph.sum(axis=1) == 0, 1.0, graph.sum(axis=1)) for graph in (first, second)]
    d = np.outer(*degrees).ravel() / (1 - q) ** 2
    # Atom (i, k) of the product is a neighbour of (j, l) if i is one of j and k is one of l.
    w = np.einsum("ij,kl,ijkl->ikjl", first, second, edges).reshape(n * m, n * m)
    return np.diag(d / nodes.ravel()) - w, d


def marginalized_kernel(
    first: FloatArray,
    second: FloatArray,
    nodes: FloatArray,
    edges: FloatArray,
    *,
    q: float,
    p: float = 1.0,
) -> float:
    """Give K = sum of p p' x over all pairs of atoms, by a dense solve of `product_system`.

    Args:
        first: adjacency, shape (n, n).
        second: adjacency, shape (m, m).
        nodes: node kernel, shape (n, m).
        edges: edge kernel, shape (n, n, m, m).
        q: stopping probability.
        p: starting probability of each atom; 1 in the published kernel, so that K grows with size.

    Returns:
        The kernel of two graphs, not normalised.

    Example:
        Two atoms and a bond in both graphs, all alike: K = 4 / (1 - (1 - q)^2).

        >>> pair = np.array([[0.0, 1.0], [1.0, 0.0]])
        >>> round(marginalized_kernel(pair, pair, np.ones((2, 2)), np.ones((2, 2, 2, 2)), q=0.01), 6)
        201.005025
    """
    matrix, target = product_system(first, second, nodes, edges, q=q)
    return float(p**2 * np.linalg.solve(matrix, target).sum())


def normalise(kernel: FloatArray, first: FloatArray, second: FloatArray, *, scale: float | None) -> FloatArray:
    """Normalise by size: k = K_xy / sqrt(K_xx K_yy) exp(-((K_xx - K_yy) / s)^2).

    Args:
        kernel: K_xy, shape (n, m).
        first: K_xx, shape (n,).
        second: K_yy, shape (m,).
        scale: s, in the unit of K; None leaves the exponential out (the cosine).

    Returns:
        Shape (n, m); 1 for a molecule with itself.
    """
    cosine = kernel / np.sqrt(np.outer(first, second))
    return cosine if scale is None else cosine * np.exp(-(((first[:, None] - second) / scale) ** 2))
