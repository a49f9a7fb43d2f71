"""What an integer program consists of: values with integer exponents, and steps from one value to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from modicum.errors import ConfigError
from modicum.quantize.codes import ActivationGrid
from modicum.quantize.functional import Rounding
from modicum.quantize.graph.operations import Pair

__all__ = [
    "Copy",
    "Enlarge",
    "Head",
    "Integers",
    "Layer",
    "Program",
    "Ravel",
    "Rescale",
    "Residual",
    "Step",
    "Subsample",
    "Total",
    "Value",
    "WindowMaximum",
]

Integers: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

LARGEST = 2**31 - 1


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Value:
    """A tensor of integers k that stand for k 2^e, without the batch.

    Args:
        name: of the node of the graph that it is the output of.
        shape: (channels, height, width), or (features,).
        exponents: e, shape (channels,).
        low: no number is smaller.
        high: no number is larger.
    """

    name: str
    shape: tuple[int, ...]
    exponents: Integers
    low: int
    high: int

    @property
    def image(self) -> tuple[int, int, int]:
        """The shape as (channels, height, width); features are channels of one pixel."""
        channels, height, width = self.shape if len(self.shape) == 3 else (self.shape[0], 1, 1)
        return channels, height, width


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Layer:
    """A convolution; a linear layer is one of a single pixel.

    Args:
        weight: int8, shape (outgoing, incoming / groups, height, width).
        bias: in units of the accumulator, int64 of shape (outgoing,).
        stride: of rows and columns.
        padding: zeros on both sides of rows and of columns.
        dilation: of rows and columns.
        groups: of channels.
    """

    weight: np.ndarray[tuple[int, ...], np.dtype[np.int8]]
    bias: Integers
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Total:
    """The sum over all pixels of a channel."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowMaximum:
    """The largest number of each window; what lies outside of the image does not count.

    Args:
        kernel: rows and columns of the window.
        stride: of rows and columns.
        padding: by which windows reach over the edge.
    """

    kernel: Pair
    stride: Pair
    padding: Pair


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
    """The addition of another value: (number << own) + (other number << other), exact.

    Args:
        name: of the other value.
        own: left shift of what the head gives, shape (channels,).
        other: left shift of the other value, shape (channels,).
    """

    name: str
    own: Integers
    other: Integers


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Rescale:
    """The way to a grid: divide by 2^shift, round, and clip; a negative shift multiplies.

    Args:
        shift: shape (channels,).
        rounding: what happens to a tie.
        low: smallest number of the grid.
        high: largest number of the grid.
    """

    shift: Integers
    rounding: Rounding
    low: int
    high: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Step:
    """One pass over the data: head, then addition, then ReLU, then grid.

    Args:
        head: what is computed first.
        source: name of the value that the head reads.
        residual: what is added to it; None for nothing.
        rectify: whether negative numbers become 0.
        rescale: to which grid; None leaves the accumulator.
        result: the value that is made.
        bound: no number inside of the step, in any order of summation, is larger in magnitude.
    """

    head: Head
    source: str
    residual: Residual | None
    rectify: bool
    rescale: Rescale | None
    result: Value
    bound: int

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the values that are read."""
        return (self.source,) if self.residual is None else (self.source, self.residual.name)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Program:
    """A network of integers.

    Args:
        input: the value that the caller gives.
        grid: that the input is brought to.
        steps: in the order of running.
        output: name of the value that leaves.
        align: left shift that brings its channels to one exponent, shape (channels,).
        exponent: that one.
        bound: no number of the aligned output is larger in magnitude.
    """

    input: Value
    grid: ActivationGrid
    steps: tuple[Step, ...]
    output: str
    align: Integers
    exponent: int
    bound: int

    @property
    def values(self) -> dict[str, Value]:
        """All values by name, in the order in which they are made."""
        return {self.input.name: self.input, **{step.result.name: step.result for step in self.steps}}

    def certify(self) -> None:
        """See that no number can leave int32.

        Raises:
            ConfigError: naming the first step that could.
        """
        bounds = {step.result.name: step.bound for step in self.steps} | {"the output": self.bound}
        for name, bound in bounds.items():
            if bound > LARGEST:
                raise ConfigError(
                    f"The numbers of {name} may need {bound.bit_length() + 1} bits, but the engine has 32.",
                    hint="Use fewer bits there (per_layer), or exponents that lie closer together.",
                )
