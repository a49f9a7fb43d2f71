"""Greedy selection as it is usually done, dense and refitted at every step: what the lazy one is measured against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from modicum.molecules.select.lazy import FloatArray
from modicum.molecules.select.posterior import (
    MoleculeKernel,
    Molecules,
    P,
    check_noise,
    check_threshold,
    cross_values,
    smiles_of,
)

TIE = 1e-12  # variances no further apart are equal, and the first in the pool is selected


def pick_brute_force(
    kernel: MoleculeKernel[P],
    pool: Molecules,
    *,
    start: Sequence[int],
    noise: float = 0.01,
    stop_uncertainty: float = 0.5,
    max_picks: int | None = None,
    banned: Sequence[int] = (),
) -> tuple[tuple[int, ...], FloatArray]:
    """Select by the rule of `ActiveLearner`, with the whole kernel matrix and a new fit at every step."""
    # For tests and benchmarks only: memory goes with the square of the pool, time with the pool times the cube of the
    # number of picks.
    check_noise(noise)
    check_threshold(stop_uncertainty)
    names = smiles_of(pool)
    prepared = kernel.prepare(names)
    gram = cross_values(kernel, prepared, prepared, names.__getitem__)
    picks: list[int] = []
    deviations: list[float] = []
    limit = len(names) if max_picks is None else max_picks
    while True:
        deviation = np.sqrt(_variance(gram, picks, noise).clip(min=0))
        if len(picks) < len(start):
            index = start[len(picks)]
        else:
            free = np.setdiff1d(np.flatnonzero(deviation >= stop_uncertainty), [*picks, *banned])
            if not free.size or len(picks) >= limit:
                return tuple(picks), np.array(deviations)
            variance = np.square(deviation[free])
            index = int(free[variance >= variance.max() - TIE][0])
        picks.append(index)
        deviations.append(float(deviation[index]))


def _variance(gram: FloatArray, picks: Sequence[int], noise: float) -> FloatArray:
    if not picks:
        return np.diag(gram).copy()
    cross = gram[:, picks]
    fit = cho_factor(cross[picks] + noise * np.eye(len(picks)), lower=True)
    return np.diag(gram) - (cross.T * cho_solve(fit, cross.T)).sum(axis=0)
