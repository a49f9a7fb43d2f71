"""Frames of one stream brought to the words, or other intervals, of another by their times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from modicum.errors import DataError
from modicum.fusion.recordings import FloatArray, IntArray

__all__ = ["Aligned", "align", "check_intervals"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Aligned:
    """What was found for W reference intervals.

    Args:
        values: mean of the frames of each, float32, shape (W, size); 0 where there are none.
        counts: how many frames that were, shape (W,).
        replaced: values that were not finite, and counted as 0 in the means.
    """

    values: FloatArray
    counts: IntArray
    replaced: int = 0


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
        raise DataError(
            f"There are {len(times)} intervals for features of shape {frames.shape}.",
            mend="Give one interval and one row of features for each frame.",
        )
    good = np.isfinite(frames)
    frames = np.where(good, frames, 0)
    begins, ends = times.T
    ends = np.where(ends == begins, np.nextafter(ends, np.inf), ends)  # so that a point at s is not over at s
    begun, sum_begun = _running(begins, frames, windows[:, 1], side="left")
    over, sum_over = _running(ends, frames, windows[:, 0], side="right")
    counts = begun - over
    sums = np.where(counts[:, None] > 0, sum_begun - sum_over, 0)
    with np.errstate(over="ignore"):
        values = (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
    return Aligned(values=values, counts=counts, replaced=int(good.size - np.count_nonzero(good)))


def _running(
    keys: npt.NDArray[np.float64], frames: npt.NDArray[np.float64], at: npt.NDArray[np.float64], *, side: str
) -> tuple[IntArray, npt.NDArray[np.float64]]:
    """Count and add the frames whose key lies before each place."""
    order = np.argsort(keys, kind="stable")
    sums = np.zeros((len(frames) + 1, frames.shape[1]))
    np.cumsum(frames[order], axis=0, out=sums[1:])
    places = np.searchsorted(keys[order], at, side="left" if side == "left" else "right").astype(np.int64)
    return places, sums[places]


def check_intervals(intervals: npt.ArrayLike, what: str) -> npt.NDArray[np.float64]:
    """Refuse intervals that are none.

    Args:
        intervals: in seconds, shape (n, 2).
        what: has them, for the message: "frame".

    Returns:
        The intervals in float64.

    Raises:
        DataError: if one is not finite, or ends before it begins.
    """
    times = np.asarray(intervals, dtype=np.float64)
    if times.ndim != 2 or times.shape[1] != 2:
        raise DataError(f"The intervals of a {what} have the shape {times.shape}.", mend="Give (begin, end) for each.")
    wrong = np.flatnonzero(~(np.isfinite(times).all(axis=1) & (times[:, 1] >= times[:, 0])))
    if len(wrong):
        begin, end = times[wrong[0]]
        raise DataError(
            f"The interval of {what} {wrong[0]} goes from {begin} s to {end} s.",
            mend="Give finite times, and no end before the beginning.",
        )
    return times
