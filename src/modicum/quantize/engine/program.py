"""What an integer program consists of: values with integer exponents, and steps from one value to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from modicum.errors import ConfigError
from modicum.quantize.codes import ActivationGrid
from modicum.quantize.functional import Rounding

Integers: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

Pair: TypeAlias = tuple[int, int]

LARGEST = 2**31 - 1
OFFSET = 128  # signed numbers of 8 bits are stored with it, so that all stored numbers are unsigned


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Value:
    """A tensor of integers k that stand for k 2^e, without the batch."""

    name: str  # of the node of the graph that it is the output of
    shape: tuple[int, ...]  # (channels, height, width), or (features,)
    exponents: Integers  # e, shape (channels,)
    low: int  # no number is smaller
    high: int  # no number is larger

    @property
    def image(self) -> tuple[int, int, int]:
        """The shape as (channels, height, width); features are channels of one pixel."""
        channels, height, width = self.shape if len(self.shape) == 3 else (self.shape[0], 1, 1)
        return channels, height, width


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Layer:
    """A convolution; a linear layer is one of a single pixel."""

    weight: np.ndarray[tuple[int, ...], np.dtype[np.int8]]  # int8, shape (outgoing, incoming / groups, height, width)
    bias: Integers  # in units of the accumulator, int64 of shape (outgoing,)
    stride: Pair = (1, 1)  # of rows and columns
    padding: Pair = (0, 0)  # zeros on both sides of rows and of columns
    dilation: Pair = (1, 1)  # of rows and columns
    groups: int = 1  # of channels


@dataclass(frozen=True, kw_only=True, slots=True)
class Total:
    """The sum over all pixels of a channel."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowMaximum:
    """The largest number of each window; what lies outside of the image does not count."""

    kernel: Pair  # rows and columns of the window
    stride: Pair  # of rows and columns
    padding: Pair  # by which windows reach over the edge


@dataclass(frozen=True, kw_only=True, slots=True)
class Enlarge:
    """Zeros around a tensor: before and after its channels, rows and columns."""

    channels: Pair
    rows: Pair
    columns: Pair


@dataclass(frozen=True, kw_only=True, slots=True)
class Subsample:
    """Every n-th row and column, from the first of each."""

    stride: Pair


@dataclass(frozen=True, kw_only=True, slots=True)
class Ravel:
    """All channels and pixels in a row, channels first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Copy:
    """The numbers as they are, for an addition, a ReLU or a grid that nothing else can take along."""


Head: TypeAlias = Layer | Total | WindowMaximum | Enlarge | Subsample | Ravel | Copy


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Residual:
    """The addition of another value: (number << own) + (other number << other), exact."""

    name: str  # of the other value
    own: Integers  # left shift of what the head gives, shape (channels,)
    other: Integers  # left shift of the other value, shape (channels,)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Rescale:
    """The way to a grid: divide by 2^shift, round, and clip; a negative shift multiplies."""

    shift: Integers  # shape (channels,)
    rounding: Rounding  # what happens to a tie
    low: int  # smallest number of the grid
    high: int  # largest number of the grid


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Step:
    """One pass over the data: head, then addition, then ReLU, then grid."""

    head: Head  # what is computed first
    source: str  # name of the value that the head reads
    residual: Residual | None  # what is added to it; None for nothing
    rectify: bool  # whether negative numbers become 0
    rescale: Rescale | None  # to which grid; None leaves the accumulator
    result: Value  # the value that is made
    bound: int  # no number inside of the step, in any order of summation, is larger in magnitude

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the values that are read."""
        return (self.source,) if self.residual is None else (self.source, self.residual.name)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Program:
    """A network of integers."""

    input: Value  # the value that the caller gives
    grid: ActivationGrid  # that the input is brought to
    steps: tuple[Step, ...]  # in the order of running
    output: str  # name of the value that leaves
    align: Integers  # left shift that brings its channels to one exponent, shape (channels,)
    exponent: int  # that one
    bound: int  # no number of the aligned output is larger in magnitude

    @property
    def values(self) -> dict[str, Value]:
        """All values by name, in the order in which they are made."""
        return {self.input.name: self.input, **{step.result.name: step.result for step in self.steps}}

    def certify(self) -> None:
        """See that no number can leave int32."""
        bounds = {step.result.name: step.bound for step in self.steps} | {"the output": self.bound}
        for name, bound in bounds.items():
            if bound > LARGEST:
                raise ConfigError(
                    f"The values of {name} may need {bound.bit_length() + 1} bits, but the engine has 32.",
                    hint="Use fewer bits there (per_layer), or exponents that lie closer together.",
                )
