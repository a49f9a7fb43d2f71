"""Posterior variances of a whole pool, each brought up to date only as far as somebody needs it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic

import numpy as np
import numpy.typing as npt

from modicum.molecules.cholesky import FloatArray, IntArray, RaggedRows, next_column, rotate, without
from modicum.molecules.covariance import Kernel, P, check_variance, cross_values, prior_variance

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

    def __init__(self, kernel: Kernel[P], names: tuple[str, ...], noise: float) -> None:
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
