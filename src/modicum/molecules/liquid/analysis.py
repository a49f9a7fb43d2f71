"""What the series of a simulation say: means and their errors, and whether there is an equilibrated liquid."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]

BLOCKS = 5  # official code (aimstools)
TOLERATED = 0.002  # of the mean: a drift below it is small against the force field's own error


def block_error(series: FloatArray, *, blocks: int = BLOCKS) -> float:
    """Give the standard error of the mean of a correlated series, from the means of its blocks."""
    length = len(series) // blocks
    means = series[: length * blocks].reshape(blocks, length).mean(axis=1)
    return float(means.std(ddof=1) / math.sqrt(blocks))


def drifts(series: FloatArray) -> bool:
    """Say whether the halves of a series differ: by more than 3 standard errors and by more than 0.2 %."""
    first, second = np.array_split(series, 2)
    gap = abs(float(first.mean() - second.mean()))
    error = math.hypot(block_error(first), block_error(second))
    return gap > max(3 * error, TOLERATED * abs(float(series.mean())))


def diffusion(centres: FloatArray, edges: FloatArray, *, interval: float) -> float:
    """Estimate the self-diffusion of molecules from the slope of their mean-square displacement, MSD = 6 D t."""
    # Displacements are followed in units of the edge and through the periodic walls, so that a box that breathes does
    # not count as motion; the drift of the whole box is taken out.
    steps = np.diff(centres / edges[:, None, None], axis=0)
    steps -= np.round(steps)
    paths = np.cumsum(steps - steps.mean(axis=1, keepdims=True), axis=0) * edges.mean()
    lags = np.unique(np.linspace(len(paths) // 4, 3 * len(paths) // 4, 8, dtype=int))  # past the rattling in a cage
    moved = [float(np.mean(np.sum((paths[lag:] - paths[:-lag]) ** 2, axis=2))) for lag in lags]
    slope = np.polyfit(lags * interval, moved, 1)[0]
    return float(slope) / 6 * 1e-2  # nm2/ps is 1e-2 cm2/s
