"""The inner loops of the kernel, compiled by numba: one preconditioned conjugate-gradient solve a pair of molecules.

Of two graphs with n and m atoms, x solves [D V^-1 - W] x = D 1, a system of n m unknowns that is symmetric and positive
definite (Tang and de Jong 2019, J. Chem. Phys. 150, 044107): V is the node kernel, D = d d' / (1 - q)^2 with degrees d
(1 for an atom without bonds), and W = (A x A') E with the edge kernel E; K is p^2 times the sum of x. W is never built:
its product is a sum over the bonds of both atoms.

Arguments come in bundles. A set of graphs is (starts, bond_starts, bond_ends, bonds, atoms), the fields of `Packed`.
Factors are the fields of `Factors`. Edges are the kernel of each two classes of bonds. Settings are (product, uniform,
q, tolerance): whether factors are multiplied or added, whether all entries of edges are the same, the stopping
probability, and the residual at which a solve ends, relative to that of zero. A pair is (first graph, second graph).

No loop has numba's ``fastmath``, which lets the compiler choose the order of a sum: loops compiled anew and those read
from the cache then gave other last bits, so that a result depended on whether the kernel had been used before.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange  # noqa: TID253 - this module is imported when the kernel is evaluated

_CHUNK = 32


@njit(cache=True)
def _shape(left, right, pair):
    first, second = pair
    return left[0][first + 1] - left[0][first], right[0][second + 1] - right[0][second]


@njit(cache=True)
def _degree(bond_starts, atom):
    bonds = bond_starts[atom + 1] - bond_starts[atom]
    return float(bonds) if bonds else 1.0


@njit(cache=True)
def _lookup(factors, place, row, column):
    # One factor, either a table or a comparison, of the classes of two atoms; tables come first.
    row_ids, column_ids, offsets, widths, entries, row_codes, column_codes, equal, unequal = factors
    if place < len(offsets):
        return entries[offsets[place] + row_ids[place, row] * widths[place] + column_ids[place, column]]
    place -= len(offsets)
    return equal[place] if row_codes[place, row] == column_codes[place, column] else unequal[place]


@njit(cache=True)
def _fill(factors, product, left_atoms, right_atoms, node):
    # The node kernel of each atom of one molecule with each of the other, one factor after another.
    row_ids, column_ids, offsets, widths, entries, row_codes, column_codes, equal, unequal = factors
    m = len(right_atoms)
    node[:] = 1.0 if product else 0.0
    for place in range(len(offsets)):
        for i in range(len(left_atoms)):
            base = offsets[place] + row_ids[place, left_atoms[i]] * widths[place]
            for j in range(m):
                value = entries[base + column_ids[place, right_atoms[j]]]
                node[i * m + j] = node[i * m + j] * value if product else node[i * m + j] + value
    for place in range(len(equal)):
        for i in range(len(left_atoms)):
            code = row_codes[place, left_atoms[i]]
            for j in range(m):
                value = equal[place] if code == column_codes[place, right_atoms[j]] else unequal[place]
                node[i * m + j] = node[i * m + j] * value if product else node[i * m + j] + value


@njit(cache=True)
def _set_up(left, right, pair, factors, settings, node, degree, system):
    # D = d d' / (1 - q)^2 and V of each two atoms; where V is 0 so is x, and the row is taken out.
    product, _, q, _ = settings
    diagonal, inverse, target = system
    n, m = _shape(left, right, pair)
    base_1, base_2 = left[0][pair[0]], right[0][pair[1]]
    scale = 1.0 / ((1.0 - q) * (1.0 - q))
    _fill(factors, product, left[4][base_1 : base_1 + n], right[4][base_2 : base_2 + m], node)
    for i in range(n):
        d = _degree(left[1], base_1 + i) * scale
        for j in range(m):
            k = i * m + j
            degree[k] = d * _degree(right[1], base_2 + j)
            if node[k] > 0.0:
                diagonal[k], inverse[k], target[k] = degree[k] / node[k], node[k] / degree[k], degree[k]
            else:
                diagonal[k], inverse[k], target[k] = 1.0, 0.0, 0.0


@njit(cache=True)
def _neighbours(graphs, graph, near):
    # near[b * m + j] is the b-th neighbour of atom j of m, or m where j has none; gives the largest number of them.
    base = graphs[0][graph]
    m = graphs[0][graph + 1] - base
    width = 0
    for j in range(m):
        width = max(width, graphs[1][base + j + 1] - graphs[1][base + j])
    for j in range(m):
        first = graphs[1][base + j]
        bonds = graphs[1][base + j + 1] - first
        for b in range(width):
            near[b * m + j] = graphs[2][first + b] if b < bonds else m
    return width


@njit(cache=True)
def _apply_uniform(left, right, pair, strength, width, system, vector, work, result):
    # result = (D V^-1 - W) vector with one edge kernel for all bonds: W is done one graph at a time. Each atom is given
    # as many neighbours as the others have, of which those too many add 0: half[m].
    n, m = _shape(left, right, pair)
    base = left[0][pair[0]]
    half, near = work
    half[m] = 0.0
    for i in range(n):
        for j in range(m):
            half[j] = 0.0
        for bond in range(left[1][base + i], left[1][base + i + 1]):
            other = left[2][bond] * m
            for j in range(m):
                half[j] += vector[other + j]
        row = i * m
        for j in range(m):
            result[row + j] = 0.0
        for b in range(width):
            for j in range(m):
                result[row + j] += half[near[b * m + j]]
        for j in range(m):
            result[row + j] = system[0][row + j] * vector[row + j] - strength * result[row + j]


@njit(cache=True)
def _apply_any(left, right, pair, edges, diagonal, vector, result):
    # result = (D V^-1 - W) vector: each bond of one atom with each bond of the other.
    n, m = _shape(left, right, pair)
    base_1, base_2 = left[0][pair[0]], right[0][pair[1]]
    for i in range(n):
        for j in range(m):
            total = 0.0
            for bond_1 in range(left[1][base_1 + i], left[1][base_1 + i + 1]):
                other = left[2][bond_1] * m
                kind = left[3][bond_1]
                for bond_2 in range(right[1][base_2 + j], right[1][base_2 + j + 1]):
                    total += edges[kind, right[3][bond_2]] * vector[other + right[2][bond_2]]
            result[i * m + j] = diagonal[i * m + j] * vector[i * m + j] - total


@njit(cache=True)
def _dot(first, second):
    # Four sums side by side, in an order that does not depend on how the loop is compiled.
    a = b = c = d = 0.0
    whole = len(first) // 4 * 4
    for k in range(0, whole, 4):
        a += first[k] * second[k]
        b += first[k + 1] * second[k + 1]
        c += first[k + 2] * second[k + 2]
        d += first[k + 3] * second[k + 3]
    for k in range(whole, len(first)):
        a += first[k] * second[k]
    return (a + b) + (c + d)


@njit(cache=True)
def _sum(values):
    a = b = c = d = 0.0
    whole = len(values) // 4 * 4
    for k in range(0, whole, 4):
        a += values[k]
        b += values[k + 1]
        c += values[k + 2]
        d += values[k + 3]
    for k in range(whole, len(values)):
        a += values[k]
    return (a + b) + (c + d)


@njit(cache=True)
def _solve(left, right, pair, edges, settings, system, solution, work):
    # Preconditioned conjugate gradients from zero; tells whether they came to the end.
    _, uniform, _, tolerance = settings
    diagonal, inverse, target = system
    residual, direction, product, square, half, near = work
    size = len(diagonal)
    strength = edges[0, 0] if edges.size else 0.0
    norm = 0.0
    rho = 0.0
    for k in range(size):
        solution[k] = 0.0
        residual[k] = target[k]
        direction[k] = inverse[k] * target[k]
        norm += target[k] * target[k]
        rho += target[k] * direction[k]
    limit = tolerance * tolerance * norm
    width = _neighbours(right, pair[1], near) if uniform else 0
    for _ in range(10 * size + 100):
        if norm <= limit:
            return True
        if uniform:
            _apply_uniform(left, right, pair, strength, width, system, direction, (half, near), product)
        else:
            _apply_any(left, right, pair, edges, diagonal, direction, product)
        curvature = _dot(direction, product)
        if not curvature > 0.0:
            return False
        alpha = rho / curvature
        for k in range(size):
            solution[k] += alpha * direction[k]
            residual[k] = residual[k] - alpha * product[k] if inverse[k] > 0.0 else 0.0
            square[k] = residual[k] * residual[k]
        norm = _sum(square)
        fresh = _dot(square, inverse)
        beta = fresh / rho
        rho = fresh
        for k in range(size):
            direction[k] = inverse[k] * residual[k] + beta * direction[k]
    return False


@njit(cache=True)
def _largest(starts, chosen):
    largest = 0
    for place in chosen:
        largest = max(largest, starts[place + 1] - starts[place])
    return largest


@njit(cache=True, parallel=True)
def values(rows, columns, left, right, factors, edges, settings, out):
    """Solve for pairs of molecules."""
    pairs = len(rows)
    chunks = (pairs + _CHUNK - 1) // _CHUNK
    bad = np.full(chunks, -1, dtype=np.int64)
    for chunk in prange(chunks):
        low, high = chunk * _CHUNK, min(pairs, (chunk + 1) * _CHUNK)
        m = _largest(right[0], columns[low:high])
        room = np.empty((10, _largest(left[0], rows[low:high]) * m))
        half, near = np.empty(m + 1), np.empty(m * m, dtype=np.int64)
        for place in range(low, high):
            pair = (rows[place], columns[place])
            n, m = _shape(left, right, pair)
            size = n * m
            system = (room[0, :size], room[1, :size], room[2, :size])
            work = (room[3, :size], room[4, :size], room[5, :size], room[9, :size], half, near)
            x = room[6, :size]
            _set_up(left, right, pair, factors, settings, room[7, :size], room[8, :size], system)
            if not _solve(left, right, pair, edges, settings, system, x, work):
                bad[chunk] = place
            total = 0.0
            for k in range(size):
                total += x[k]
            out[place] = total
    return bad.max() if chunks else -1


@njit(cache=True, parallel=True)
def gradients(rows, columns, left, right, factors, edges, settings, slopes, edge_slopes, out, out_slopes):
    """Solve for pairs of molecules, and for the derivatives of K."""
    # With M = D V^-1 - W and M y = 1, the derivative of K = 1' x is y' (dD 1 - dM x): one more solve for all of them.
    bad = np.full(len(rows), -1, dtype=np.int64)
    numbers = len(slopes[2]) + len(slopes[7])
    for place in prange(len(rows)):
        pair = (rows[place], columns[place])
        n, m = _shape(left, right, pair)
        room = np.empty((11, n * m))
        system = (room[0], room[1], room[2])
        work = (room[3], room[4], room[5], room[10], np.empty(m + 1), np.empty(m * m, dtype=np.int64))
        node, weight, x, y = room[6], room[7], room[8], room[9]
        _set_up(left, right, pair, factors, settings, node, weight, system)
        ended = _solve(left, right, pair, edges, settings, system, x, work)
        for k in range(n * m):
            system[2][k] = 1.0 if system[1][k] > 0.0 else 0.0
        if not (_solve(left, right, pair, edges, settings, system, y, work) and ended):
            bad[place] = place
        out[place] = x.sum()
        by_q = _weigh(settings[0], system[1], node, weight, x, y)
        _node_slopes(left, right, pair, slopes, weight, out_slopes[place])
        for number in range(len(edge_slopes)):
            out_slopes[place, numbers + number] = _edge_slope(left, right, pair, edge_slopes[number], x, y)
        out_slopes[place, numbers + len(edge_slopes)] = by_q * 2.0 / (1.0 - settings[2])
    return bad.max() if len(bad) else -1


@njit(cache=True)
def _weigh(multiplied, inverse, node, weight, x, y):
    # Turns D into the weight of dV, y D x / V^2 (times V if dV is relative), and gives y' D (1 - x / V).
    total = 0.0
    for k in range(len(x)):
        if inverse[k] > 0.0:
            total += y[k] * weight[k] * (1.0 - x[k] / node[k])
            weight[k] *= y[k] * x[k] / (node[k] if multiplied else node[k] * node[k])
        else:
            weight[k] = 0.0
    return total


@njit(cache=True)
def _node_slopes(left, right, pair, slopes, weight, out):
    n, m = _shape(left, right, pair)
    base_1, base_2 = left[0][pair[0]], right[0][pair[1]]
    for number in range(len(slopes[2]) + len(slopes[7])):
        total = 0.0
        for i in range(n):
            for j in range(m):
                slope = _lookup(slopes, number, left[4][base_1 + i], right[4][base_2 + j])
                total += weight[i * m + j] * slope
        out[number] = total


@njit(cache=True)
def _edge_slope(left, right, pair, slope, x, y):
    # y' dW x: each bond of one graph with each bond of the other.
    n, m = _shape(left, right, pair)
    base_1, base_2 = left[0][pair[0]], right[0][pair[1]]
    total = 0.0
    for i in range(n):
        for bond_1 in range(left[1][base_1 + i], left[1][base_1 + i + 1]):
            for j in range(m):
                for bond_2 in range(right[1][base_2 + j], right[1][base_2 + j + 1]):
                    far = left[2][bond_1] * m + right[2][bond_2]
                    total += y[i * m + j] * slope[left[3][bond_1], right[3][bond_2]] * x[far]
    return total
