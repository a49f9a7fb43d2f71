"""Samples out of padded arrays: where the frames of each begin and end."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from modicum.errors import DataError
from modicum.fusion.recordings import FloatArray, IntArray, Ragged

Side: TypeAlias = Literal["front", "back", "no"]


def spans(values: npt.NDArray[np.generic]) -> IntArray:
    """Find the frames between the first and the last that is not zero throughout."""
    telling = (values != 0).any(axis=2)
    first = telling.argmax(axis=1)
    end = telling.shape[1] - telling[:, ::-1].argmax(axis=1)
    return np.where(telling.any(axis=1)[:, None], np.stack([first, end], axis=1), 0).astype(np.int64)


def padding_side(found: IntArray, size: int) -> Side:
    """Tell on which side of its samples an array of ``size`` frames is padded: the one with more zeros in all."""
    telling = found[found[:, 1] > 0]
    front, back = int(telling[:, 0].sum()), int((size - telling[:, 1]).sum())
    if front == back == 0:
        return "no"
    return "front" if front > back else "back"


def spans_of_lengths(found: IntArray, size: int, lengths: object, where: str) -> IntArray:
    """Place frames by the lengths that a file tells."""
    try:
        told = np.asarray(lengths, dtype=np.int64).reshape(-1)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"The lengths of {where} are no integers ({error}).", hint="Give one for each sample."
        ) from error
    if len(told) != len(found):
        raise DataError(f"{where} has {len(found)} samples and {len(told)} lengths.", hint="Give one for each.")
    wrong = np.flatnonzero((told < 0) | (told > size))
    if len(wrong):
        raise DataError(
            f"{where}, row {wrong[0]}, has {told[wrong[0]]} frames by its length, and room for {size}.",
            hint="Correct the length.",
        )
    begin = size - told if padding_side(found, size) == "front" else np.zeros_like(told)
    return np.where(found[:, 1:] > 0, np.stack([begin, begin + told], axis=1), 0)


def common_spans(found: dict[str, IntArray], size: int) -> tuple[dict[str, IntArray], Side]:
    """Keep streams together whose frames belong to each other."""
    # Only the padding is taken off, from the side where it is, and from all streams of a sample alike: zeros on the
    # other side, and those that one stream alone has, are frames.
    pairs = np.stack(list(found.values()))
    there = pairs[:, :, 1] > 0
    first = np.where(there, pairs[:, :, 0], size).min(axis=0)
    end = pairs[:, :, 1].max(axis=0)
    side = padding_side(np.stack([np.minimum(first, end), end], axis=1), size)
    if side != "front":
        first = np.zeros_like(first)
    if side != "back":
        end = np.full_like(end, size)
    both = np.stack([first, end], axis=1)
    return {name: np.where(span[:, 1:] > 0, both, 0) for name, span in found.items()}, side


def unpad(values: FloatArray, places: IntArray) -> Ragged:
    """Take the frames of each sample out of a padded array."""
    frame = np.arange(values.shape[1])
    inside = (frame >= places[:, :1]) & (frame < places[:, 1:])
    return Ragged(values=values[inside], lengths=inside.sum(axis=1, dtype=np.int64))
