"""Frames of one stream brought to the words, or other intervals, of another by their times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from modicum.errors import DataError
from modicum.fusion.recordings import FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, slots=True)
class Aligned:
    """What was found for W reference intervals."""

    values: FloatArray  # mean of the frames of each, float32, shape (W, size); 0 where there are none
    counts: IntArray  # how many frames that were, shape (W,)
    replaced: int = 0  # values that were not finite, and counted as 0 in the means


def align(intervals: npt.ArrayLike, features: npt.ArrayLike, reference: npt.ArrayLike) -> Aligned:
    """Average the frames that overlap each reference interval.

    A frame [a, b) overlaps [s, e) if a < e and b > s, and then counts once however long the overlap is; a frame of no
    length counts where s <= a < e. Frames and reference intervals may overlap each other, and come in any order.

    The frames that overlap are those that begin before e without those that end before s, so that two running sums
    give all means: no loop, and no more than sorting and looking up. They are in float64; a mean is good to about
    1e-16 of the largest running sum.

    Args:
        intervals: beginning and end of each frame in seconds, shape (N, 2).
        features: shape (N, size).
        reference: beginning and end of what is aligned to in seconds, shape (W, 2).

    Returns:
        Mean and count for each reference interval, in the order in which they came.

    Raises:
        DataError: if an interval is NaN, or ends before it begins, or there is not one for each frame.
    """
    times, windows = check_intervals(intervals, "frame"), check_intervals(reference, "reference interval")
    frames = np.asarray(features, dtype=np.float64)
    if frames.ndim != 2 or len(frames) != len(times):
        hint = "Give one interval and one row of features for each frame."
        raise DataError(f"There are {len(times)} intervals for features of shape {frames.shape}.", hint=hint)
    good = np.isfinite(frames)
    replaced = int(good.size - np.count_nonzero(good))
    if replaced:
        frames = np.where(good, frames, 0)
    begins, ends = times.T
    ends = np.where(ends == begins, np.nextafter(ends, np.inf), ends)  # so that a point at s is not over at s
    by_begin, by_end = (np.argsort(keys, kind="stable") for keys in (begins, ends))
    sums = _running(frames[by_begin])
    # Where no frame lies inside another the orders are one, and so are the sums.
    sums_over = sums if np.array_equal(by_begin, by_end) else _running(frames[by_end])
    begun = np.searchsorted(begins[by_begin], windows[:, 1], side="left")
    over = np.searchsorted(ends[by_end], windows[:, 0], side="right")
    counts = (begun - over).astype(np.int64)
    found = np.where(counts[:, None] > 0, sums[begun] - sums_over[over], 0)
    with np.errstate(over="ignore"):
        values = (found / np.maximum(counts, 1)[:, None]).astype(np.float32)
    return Aligned(values=values, counts=counts, replaced=replaced)


def _running(frames: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    sums = np.zeros((len(frames) + 1, frames.shape[1]))
    np.cumsum(frames, axis=0, out=sums[1:])
    return sums


def check_intervals(intervals: npt.ArrayLike, what: str) -> npt.NDArray[np.float64]:
    """Refuse intervals that are none."""
    times = np.asarray(intervals, dtype=np.float64)
    if times.ndim != 2 or times.shape[1] != 2:
        raise DataError(f"The intervals of a {what} have the shape {times.shape}.", hint="Give (begin, end) for each.")
    wrong = np.flatnonzero(~(np.isfinite(times).all(axis=1) & (times[:, 1] >= times[:, 0])))
    if len(wrong):
        begin, end = times[wrong[0]]
        hint = "Give finite times, and no end before the beginning."
        raise DataError(f"The interval of {what} {wrong[0]} goes from {begin} s to {end} s.", hint=hint)
    return times
