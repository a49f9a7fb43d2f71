"""Pivoted Cholesky of K + aI, one column a selected molecule: what greedy selection by a Gaussian process comes to.

With the selected molecules S in order, C Cᵀ = K_SS + aI, and L Cᵀ = K_xS for any rows x, the posterior variance is
k(x, x) - Σ_j L[x, j]². C is lower triangular, so that L is solved column by column,

    L[x, j] = (k(x, s_j) - Σ_{i<j} L[x, i] C[j, i]) / C[j, j].

For i < j, C[j, i] satisfies the equation of L[s_j, i]: row j of C is the row of s_j itself at the time it is selected,
and C[j, j]² = k(s_j, s_j) + a - Σ_{i<j} L[s_j, i]² is its variance at that time plus a, the pivot. A further molecule
adds a column and changes none before it: nothing is ever refitted, and a variance can only fall.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
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
