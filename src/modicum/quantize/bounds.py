"""How large the integers of a quantized network can become: the one interval arithmetic, of certificate and engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from torch import Tensor

from modicum.quantize.codes import ActivationGrid, FloatWeightCode, WeightCode

Integers: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
Exact: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.object_]]  # of Python's integers, which do not overflow


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Span:
    """What a tensor's values can be: k 2^exponent with low <= k <= high, one entry a channel, or one for all."""

    exponents: Integers
    low: Exact  # no k is smaller
    high: Exact  # no k is larger
    reach: Exact  # no partial sum, in any order of summation, is larger in magnitude
    layers: frozenset[str] = frozenset()  # those whose accumulators are in these numbers, not yet brought to a grid

    @property
    def largest(self) -> int:
        """The largest reach of a channel."""
        return int(self.reach.max())

    @property
    def magnitude(self) -> Exact:
        """The largest |k| of each channel."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    def shifted(self, left: Integers) -> tuple[Exact, Exact, Exact]:
        """Give low, high and reach in units that are finer by so many bits."""
        exact = left.astype(object)
        return self.low << exact, self.high << exact, self.reach << exact

    def plus(self, other: Span) -> Span:
        """Add another tensor, both brought to the finer unit by a left shift, channel by channel."""
        exponents = np.minimum(self.exponents, other.exponents)
        pairs = zip(self.shifted(self.exponents - exponents), other.shifted(other.exponents - exponents), strict=True)
        low, high, reach = (own + more for own, more in pairs)
        return Span(exponents=exponents, low=low, high=high, reach=reach, layers=self.layers | other.layers)

    def times(self, other: Span) -> Span:
        """Multiply with another tensor."""
        ends = [own * more for own in (self.low, self.high) for more in (other.low, other.high)]
        low, high = np.minimum.reduce(ends), np.maximum.reduce(ends)
        exponents = self.exponents + other.exponents
        return Span(exponents=exponents, low=low, high=high, reach=np.maximum(np.abs(low), np.abs(high)))

    def rectified(self) -> Span:
        """Clip to numbers >= 0."""
        return replace(self, low=np.maximum(self.low, 0), high=np.maximum(self.high, 0))

    def weighted(self, integers: Tensor, bias: Tensor, exponents: Tensor, name: str) -> Span:
        """Multiply with the weights of a layer, sum, and add its biases; zeros around an image count as well."""
        weight = integers.cpu().flatten(1).numpy().astype(np.int64)
        up, down = np.maximum(weight, 0).sum(1).astype(object), np.minimum(weight, 0).sum(1).astype(object)
        own = bias.cpu().numpy().astype(object)
        low, high = min(int(self.low.min()), 0), int(self.high.max())
        return Span(
            exponents=exponents.cpu().numpy().astype(np.int64) + self.exponents[0],
            low=own + up * low + down * high,
            high=own + up * high + down * low,
            reach=(up - down) * self.largest + np.abs(own),
            layers=frozenset([name]),
        )

    def summed(self, count: int, halvings: int) -> Span:
        """Sum so many pixels, and divide by a power of two."""
        exponents = self.exponents - halvings
        return replace(
            self, exponents=exponents, low=self.low * count, high=self.high * count, reach=self.reach * count
        )

    def padded(self, channels: tuple[int, int]) -> Span:
        """Put zeros around the pixels, and channels of zeros around the channels."""
        low, high = np.minimum(self.low, 0), np.maximum(self.high, 0)
        if len(self.exponents) == 1:
            return replace(self, low=low, high=high)
        exponents = np.pad(self.exponents, channels, constant_values=int(self.exponents.max()))
        low, high, reach = (np.pad(it, channels, constant_values=0) for it in (low, high, self.reach))
        return replace(self, exponents=exponents, low=low, high=high, reach=reach)

    def flattened(self, pixels: int | None) -> Span:
        """Give an entry for each pixel, or, if nobody knows their number, one for all channels in the finest unit."""
        if len(self.exponents) == 1:
            return self
        if pixels is not None:
            parts = (self.exponents, self.low, self.high, self.reach)
            exponents, low, high, reach = (np.repeat(it, pixels) for it in parts)
            return replace(self, exponents=exponents, low=low, high=high, reach=reach)
        finest = self.exponents.min()
        low, high, reach = self.shifted(self.exponents - finest)
        ends = (np.array([it], dtype=object) for it in (low.min(), high.max(), reach.max()))
        low, high, reach = ends
        return replace(self, exponents=np.array([finest]), low=low, high=high, reach=reach)


@dataclass(frozen=True, kw_only=True, slots=True)
class Own:
    """What a node has of its own beside its operation."""

    name: str
    code: WeightCode | FloatWeightCode | None = None  # of a layer's weights
    bias: Tensor | None = None  # of a layer, in units of its accumulator; None where these are real
    grid: ActivationGrid | None = None  # that its output is brought to
    bare: bool = False  # whether its output is brought to no grid
    pixels: int | None = None  # of a channel of its input; None if nobody knows
    others: tuple[tuple[int, ...], ...] = ()  # shapes of a sample of its inputs behind the first, for `lower`
    spans: tuple[Span, ...] = ()  # of its inputs, likewise


def joined(parts: Sequence[Span], widths: Sequence[int]) -> Span:
    """Put the channels of tensors one behind the other, so many of each."""
    columns = [
        np.concatenate([np.broadcast_to(column, (width,)) for column, width in zip(by_part, widths, strict=True)])
        for by_part in zip(*((it.exponents, it.low, it.high, it.reach) for it in parts), strict=True)
    ]
    exponents, low, high, reach = columns
    layers = frozenset[str]().union(*(it.layers for it in parts))
    return Span(exponents=exponents, low=low, high=high, reach=reach, layers=layers)


def span_of(grid: ActivationGrid) -> Span:
    """Give what is on a grid."""
    low, high, reach = (np.array([it], dtype=object) for it in (grid.low, grid.high, max(-grid.low, grid.high)))
    return Span(exponents=np.array([grid.exponent]), low=low, high=high, reach=reach)
