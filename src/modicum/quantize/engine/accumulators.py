"""What is known of the numbers inside of a step: exponents, the interval that they lie in, and the largest met."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from modicum.quantize.codes import ActivationGrid
from modicum.quantize.engine.program import Integers, Rescale, Residual, Value

Bounds = np.ndarray[tuple[int, ...], np.dtype[np.object_]]  # of Python's integers, which do not overflow


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Accumulator:
    """The values of a step, one entry a channel."""

    shape: tuple[int, ...]  # without the batch
    exponents: Integers  # the numbers stand for k 2^e, shape (channels,)
    low: Bounds  # no number of the channel is smaller
    high: Bounds  # no number of the channel is larger
    bound: int  # no number met so far is larger in magnitude

    def plus(self, other: Value) -> tuple[Accumulator, Residual]:
        """Add another value, both brought to the smaller exponent of each channel."""
        theirs = other.exponents if other.low or other.high else self.exponents  # 0 has any exponent
        exponents = np.minimum(self.exponents, theirs)
        own, more = _exact(self.exponents - exponents), _exact(theirs - exponents)
        low, high = (self.low << own) + (other.low << more), (self.high << own) + (other.high << more)
        met = (_magnitude(self.low, self.high) << own) + (max(abs(other.low), abs(other.high)) << more)
        residual = Residual(name=other.name, own=own.astype(np.int64), other=more.astype(np.int64))
        bound = max(self.bound, int(met.max()))
        return replace(self, exponents=exponents, low=low, high=high, bound=bound), residual

    def rectified(self) -> Accumulator:
        """Clip to numbers >= 0."""
        return replace(self, low=np.maximum(self.low, 0), high=np.maximum(self.high, 0))

    def on(self, grid: ActivationGrid) -> tuple[Accumulator, Rescale]:
        """Bring the numbers to a grid."""
        # A shift by more bits than a channel's numbers have gives 0 whatever the shift; it is cut to what int32 can do.
        magnitude = _magnitude(self.low, self.high)
        shift = np.minimum(grid.exponent - self.exponents, [int(it).bit_length() + 1 for it in magnitude])
        half = np.array([1 << max(int(it) - 1, 0) if it > 0 else 0 for it in shift], dtype=object)
        met = (magnitude << _exact(np.maximum(-shift, 0))) + half
        # The grid's own limits: what the numbers really reach is a matter of the data.
        rescale = Rescale(shift=shift.astype(np.int64), rounding=grid.rounding, low=grid.low, high=grid.high)
        ones = np.ones(len(self.exponents), dtype=object)
        result = Accumulator(
            shape=self.shape,
            exponents=np.full(len(ones), grid.exponent, np.int64),
            low=ones * grid.low,
            high=ones * grid.high,
            bound=max(self.bound, int(met.max())),
        )
        return result, rescale

    def value(self, name: str) -> Value:
        """Give what leaves the step."""
        return Value(
            name=name, shape=self.shape, exponents=self.exponents, low=int(self.low.min()), high=int(self.high.max())
        )


def known(value: Value) -> Accumulator:
    """Give the numbers of a value as a step begins with them."""
    ones = np.ones(len(value.exponents), dtype=object)
    return Accumulator(
        shape=value.shape,
        exponents=value.exponents,
        low=ones * value.low,
        high=ones * value.high,
        bound=max(abs(value.low), abs(value.high)),
    )


def _magnitude(low: Bounds, high: Bounds) -> Bounds:
    return np.maximum(np.abs(low), np.abs(high))


def _exact(shift: Integers) -> Bounds:
    return shift.astype(object)
