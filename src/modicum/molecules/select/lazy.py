"""Pivoted Cholesky of K + aI, one column a selected molecule: what greedy selection by a Gaussian process comes to.

With the selected molecules S in order, C Cᵀ = K_SS + aI, and L Cᵀ = K_xS for any rows x, the posterior variance is
k(x, x) - Σ_j L[x, j]². C is lower triangular, so that L is solved column by column,

    L[x, j] = (k(x, s_j) - Σ_{i<j} L[x, i] C[j, i]) / C[j, j].

For i < j, C[j, i] satisfies the equation of L[s_j, i]: row j of C is the row of s_j itself at the time it is selected,
and C[j, j]² = k(s_j, s_j) + a - Σ_{i<j} L[s_j, i]² is its variance at that time plus a, the pivot. A further molecule
adds a column and changes none before it: nothing is ever refitted, and a variance can only fall. So each row is brought
up to date only as far as somebody needs it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from modicum.molecules.functional import FloatArray, IntArray
from modicum.molecules.select.posterior import MoleculeKernel, P, check_variance, cross_values, prior_variance

_Values = TypeVar("_Values", float, FloatArray)

PAGE = 64  # columns; ours: half a kilobyte a row, so that what a short row wastes is small
PIECE = 4096  # rows; ours: their page, 2 MiB, stays in the cache between its copy and its product


def next_column(cross: FloatArray, explained: FloatArray, pivot: float) -> FloatArray:
    """Compute the column of L that a newly selected molecule s adds."""
    return (cross - explained) / np.sqrt(pivot)


def rotate(value: _Values, carry: _Values, cosine: float, sine: float) -> tuple[_Values, _Values]:
    """Rotate the next column and the one carried along, so that the carried one leaves the factor."""
    return cosine * value + sine * carry, cosine * carry - sine * value


def without(factor: FloatArray, place: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Take one selected molecule out of C, without a kernel value."""
    # Its row is deleted. Its column is carried through the later ones by Givens rotations, each of which makes one
    # diagonal entry again what it must be. The same rotations of the same columns turn L into that of the molecules
    # that are left, and what is carried at the end is, squared, the variance that a row gets back.
    kept = np.delete(factor, place, axis=0)
    carry = kept[:, place].copy()
    cosines, sines = np.empty((2, len(kept) - place))
    for step, row in enumerate(range(place, len(kept))):
        length = np.hypot(kept[row, row + 1], carry[row])
        cosines[step], sines[step] = kept[row, row + 1] / length, carry[row] / length
        kept[:, row], carry = rotate(kept[:, row + 1], carry, cosines[step], sines[step])
    return kept[:, :-1], cosines, sines


@dataclass(slots=True)
class _Page:
    slots: npt.NDArray[np.int32]  # of each row in this page; -1 if it has none
    values: FloatArray
    used: int = 0

    def give_room(self, rows: IntArray) -> None:
        """Give each row that has none a slot."""
        new = rows[self.slots[rows] < 0]
        room, needed = len(self.values), self.used + len(new)
        if needed > room:
            grown = np.zeros((max(needed, min(len(self.slots), room + room // 2)), PAGE))
            grown[:room] = self.values
            self.values = grown
        # Counted as used first: an interruption here loses a slot, and never gives one slot to two rows.
        self.used = needed
        self.slots[new] = np.arange(needed - len(new), needed)


class RaggedRows:
    """Rows of L, each as long as it needs to be, in pages of 64 columns."""

    # A row takes room in a page from its first entry there on, so that the memory goes with the entries that were
    # computed and not with molecules times selected molecules.

    def __init__(self, size: int) -> None:
        self._size = size
        self._pages: list[_Page] = []

    def put(self, rows: IntArray, column: int, values: FloatArray) -> None:
        """Write one entry a row; the columns before it must have been written."""
        place, column = divmod(column, PAGE)
        if place == len(self._pages):
            self._pages.append(_Page(np.full(self._size, -1, dtype=np.int32), np.zeros((0, PAGE))))
        page = self._pages[place]
        page.give_room(rows)
        page.values[page.slots[rows], column] = values

    def get(self, rows: IntArray, column: int) -> FloatArray:
        """Read one entry a row, each of which must have been written."""
        page = self._pages[column // PAGE]
        return page.values[page.slots[rows], column % PAGE]

    def row(self, row: int, length: int) -> FloatArray:
        """Read the first entries of one row, which must have been written."""
        pages = self._pages[: -(-length // PAGE)]
        return np.concatenate([*(page.values[page.slots[row]] for page in pages), np.empty(0)])[:length]

    def dot(self, rows: IntArray, vector: FloatArray) -> FloatArray:
        """Multiply the beginning of each row with a vector."""
        # What a page holds behind the end of a row is finite, so that zeros may multiply it.
        padded = np.zeros((-(-len(vector) // PAGE), PAGE))
        padded.ravel()[: len(vector)] = vector
        total = np.zeros(len(rows))
        for start in range(0, len(rows), PIECE):
            piece = rows[start : start + PIECE]
            for part, page in zip(padded, self._pages, strict=False):
                total[start : start + PIECE] += page.values.take(page.slots[piece], axis=0) @ part
        return total


TIE = 1e-12  # variances no further apart are equal, and the first in the pool is the largest
CHUNK = 16384  # rows a kernel call; ours: half a second of the graph kernel, so that an interruption is heard soon
# One value a molecule, so that no interruption comes between its two halves.
STATE = np.dtype([("variance", np.float64), ("depth", np.int64)])


@dataclass(frozen=True, slots=True)
class Pick:
    """A selected molecule."""

    index: int  # in the pool
    variance: float  # posterior, just before it was selected
    row: FloatArray  # of C, left of the diagonal; its length is the number of molecules selected before

    @property
    def deviation(self) -> float:
        """Posterior deviation just before it was selected."""
        return math.sqrt(max(self.variance, 0.0))


class LazyPosterior(Generic[P]):
    """Variances given the first selected molecules: as many of them as the depth of each molecule says."""

    # A variance that is behind is an upper bound of the one that is up to date, since a column can only lower it. An
    # interruption between any two steps leaves a state from which every method gives what it would have given.

    def __init__(self, kernel: MoleculeKernel[P], names: tuple[str, ...], noise: float) -> None:
        self._kernel, self._names, self._noise = kernel, names, noise
        self._prepared = kernel.prepare(names)
        self._prior = np.zeros(len(names), dtype=STATE)
        self._prior["variance"] = prior_variance(kernel, self._prepared, names.__getitem__)
        self._state = self._prior.copy()
        self._rows = RaggedRows(len(names))
        self.picks: list[Pick] = []
        self.evaluations = 0

    def bound(self, index: int) -> float:
        """Give the variance of a molecule at its depth."""
        return float(self._state["variance"][index])

    def largest(self, allowed: npt.NDArray[np.bool_], *, floor: float, batch: int) -> int:
        """Find the molecule of the largest variance."""
        variance, depth = self._state["variance"], self._state["depth"]
        while True:
            exact = allowed & (depth == len(self.picks))
            level = max(variance[exact].max(initial=-math.inf) - TIE, floor)
            behind = np.flatnonzero(allowed & ~exact & (variance >= level))
            if not behind.size:
                break
            if behind.size > batch:
                behind = np.sort(behind[np.argpartition(variance[behind], -batch)[-batch:]])
            self.update(behind, level)
            batch *= 4
        top = variance[allowed].max()
        level = max(top - TIE, floor) if top >= floor else top
        return int(np.flatnonzero(allowed & (variance >= level))[0])

    def update(self, rows: IntArray, level: float) -> None:
        """Bring molecules up to date, each until its variance falls below a level."""
        variance, depth = self._state["variance"], self._state["depth"]
        first = int(depth[rows].min(initial=len(self.picks)))
        for column in range(first, len(self.picks)):
            ready = rows[(depth[rows] == column) & (variance[rows] >= level)]
            for start in range(0, len(ready), CHUNK):
                self._extend(ready[start : start + CHUNK], column)

    def add(self, index: int) -> None:
        """Select a molecule."""
        self.update(np.array([index]), -math.inf)
        self.picks.append(Pick(index, self.bound(index), self._rows.row(index, len(self.picks))))

    def remove(self, place: int) -> None:
        """Take the pick of some place out, and give back what it explained; no kernel value is computed."""
        rows = np.flatnonzero(self._state["depth"] > place)
        factor = np.zeros((len(self.picks), len(self.picks)))
        for order, pick in enumerate(self.picks):
            factor[order, :order], factor[order, order] = pick.row, math.sqrt(pick.variance + self._noise)
        factor, cosines, sines = without(factor, place)
        # What the removed one explained of a later one, at the time of that one, is given back to it as well.
        gain = np.square(sines * np.diag(factor)[place:])
        later = [
            Pick(pick.index, pick.variance + float(more), factor[order, :order].copy())
            for order, (pick, more) in enumerate(zip(self.picks[place + 1 :], gain, strict=True), place)
        ]
        try:
            self._rotate(rows, place, cosines, sines)
            self.picks = self.picks[:place] + later
        except BaseException:
            # Some rows are rotated and some are not: they begin anew, and cost kernel values again, but are right.
            self._state[rows] = self._prior[rows]
            raise

    def _rotate(self, rows: IntArray, place: int, cosines: FloatArray, sines: FloatArray) -> None:
        state = self._state[rows]
        carry = self._rows.get(rows, place)
        for column, (cosine, sine) in enumerate(zip(cosines, sines, strict=True), place + 1):
            deep = np.flatnonzero(state["depth"] > column)
            entries, carry[deep] = rotate(self._rows.get(rows[deep], column), carry[deep], cosine, sine)
            self._rows.put(rows[deep], column - 1, entries)
        state["variance"] += np.square(carry)
        state["depth"] -= 1
        self._state[rows] = state

    def _extend(self, rows: IntArray, column: int) -> None:
        pick = self.picks[column]
        name: Callable[[int], str] = lambda row: self._names[rows[row]]
        chosen = self._prepared.take(np.array([pick.index]))
        cross = cross_values(self._kernel, self._prepared.take(rows), chosen, name)[:, 0]
        self.evaluations += len(rows)
        entries = next_column(cross, self._rows.dot(rows, pick.row), pick.variance + self._noise)
        state = np.empty(len(rows), dtype=STATE)
        state["variance"] = self._state["variance"][rows] - np.square(entries)
        state["depth"] = column + 1
        check_variance(state["variance"], name)
        self._rows.put(rows, column, entries)
        self._state[rows] = state
