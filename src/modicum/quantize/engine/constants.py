"""The values of a step as the C code wants them: shifts merged, offsets and halves taken into the biases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from modicum.quantize.engine.layout import Buffer
from modicum.quantize.engine.steps import Integers, Layer, Step, Total


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Constants:
    """A step gives clip(((head + bias) << own) + (other value << other) + plus) >> shift), all arrays (channels,)."""

    # Where ``mask`` & the sum in front of the last shift is 0, there was a tie, and the last bit is cleared.

    bias: Integers  # added to what the head gives
    own: Integers | None  # None if all are 0
    other: Integers | None  # None if all are 0, or nothing is added
    plus: Integers | None  # None if it is in the bias
    shift: Integers | None  # None if all are 0
    mask: Integers | None  # None if ties go up
    low: int | None  # None if nothing is clipped below
    high: int | None  # None if nothing is clipped above
    zero: int  # added at last, the stored number for 0

    @property
    def arrays(self) -> dict[str, Integers]:
        """Those that there are, by name."""
        names = ("bias", "own", "other", "plus", "shift", "mask")
        return {name: it for name in names if (it := getattr(self, name)) is not None}


def moves_only(step: Step, given: Buffer, result: Buffer) -> bool:
    """Tell whether a step only picks and places stored numbers."""
    computes = isinstance(step.head, Layer | Total) or step.residual is not None or step.rectify
    return not computes and step.rescale is None and (given.kind, given.zero) == (result.kind, result.zero)


def constants(step: Step, given: Buffer, other: Buffer | None, result: Buffer) -> Constants:
    """Work the constants of a step out."""
    channels = result.channels
    nothing = np.zeros(channels, np.int64)
    bias = _bias(step, given, channels)
    own, more = nothing, None
    if step.residual is not None:
        own, more = step.residual.own, step.residual.other
    right, half = nothing, nothing
    if step.rescale is not None:
        left, right = np.maximum(-step.rescale.shift, 0), np.maximum(step.rescale.shift, 0)
        half = np.where(right > 0, np.int64(1) << np.maximum(right - 1, 0), 0)
        own, more = own + left, None if more is None else more + left
    plus = half
    if other is not None and more is not None:
        plus = plus - (np.int64(other.zero) << more)
    if not own.any():
        bias, plus = bias + plus, None
    even = step.rescale is not None and step.rescale.rounding == "half_even" and bool(right.any())
    low, high = (0 if step.rectify else None), None
    if step.rescale is not None:
        low, high = step.rescale.low, step.rescale.high
    return Constants(
        bias=bias,
        own=own if own.any() else None,
        other=more if more is not None and more.any() else None,
        plus=plus,
        shift=right if right.any() else None,
        # Without a shift there is no tie; a mask of ones meets 0 alone, whose last bit is clear anyway.
        mask=np.where(right > 0, (np.int64(1) << right) - 1, -1) if even else None,
        low=low,
        high=high,
        zero=result.zero,
    )


def _bias(step: Step, given: Buffer, channels: int) -> Integers:
    if isinstance(step.head, Layer):
        total = step.head.weight.reshape(channels, -1).sum(axis=1, dtype=np.int64)
        return step.head.bias - given.zero * total
    count = given.height * given.width if isinstance(step.head, Total) else 1
    return np.full(channels, -given.zero * count, np.int64)
