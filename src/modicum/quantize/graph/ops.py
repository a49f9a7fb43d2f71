"""The operations of a graph: each says what it computes, in any dtype, and holds its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from torch import Tensor
from torch.nn import functional

from modicum.quantize.engine.program import Pair


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Input:
    """What the network is given."""

    def run(self, x: Tensor) -> Tensor:
        """Hand it on."""
        return x


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Convolution:
    """A two-dimensional convolution with zeros around its input."""

    weight: Tensor  # shape (outgoing, incoming / groups, height, width)
    bias: Tensor  # shape (outgoing,)
    stride: Pair = (1, 1)  # of rows and columns
    padding: Pair = (0, 0)  # zeros on both sides of rows and of columns
    dilation: Pair = (1, 1)  # of rows and columns
    groups: int = 1  # of channels
    gamma: Tensor | None = None  # weight of the batch norm that was folded into this layer; None if there was none

    def run(self, x: Tensor) -> Tensor:
        """Map (batch, incoming, height, width) to (batch, outgoing, ...)."""
        return functional.conv2d(
            x,
            self.weight.to(x.dtype),
            self.bias.to(x.dtype),
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Linear:
    """A product with a matrix."""

    weight: Tensor  # shape (outgoing, incoming)
    bias: Tensor  # shape (outgoing,)
    gamma: Tensor | None = None  # as of `Convolution`

    def run(self, x: Tensor) -> Tensor:
        """Map (batch, incoming) to (batch, outgoing)."""
        return functional.linear(x, self.weight.to(x.dtype), self.bias.to(x.dtype))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BatchNorm:
    """A batch norm at rest: each channel is shifted and scaled by constants."""

    weight: Tensor  # gamma, shape (channels,)
    bias: Tensor  # beta, shape (channels,)
    mean: Tensor  # running mean, shape (channels,)
    variance: Tensor  # running variance, shape (channels,)
    epsilon: float  # added to the variance

    def run(self, x: Tensor) -> Tensor:
        """Normalise (batch, channels, ...)."""
        constants = (it.to(x.dtype) for it in (self.mean, self.variance, self.weight, self.bias))
        return functional.batch_norm(x, *constants, training=False, eps=self.epsilon)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Add:
    """The sum of two tensors of one shape."""

    def run(self, first: Tensor, second: Tensor) -> Tensor:
        """Add them, never in place."""
        return first + second


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Activation:
    """A ReLU."""

    ceiling: float | None = None  # 6 for ReLU6; None for ReLU

    def run(self, x: Tensor) -> Tensor:
        """Clip to [0, ceiling]."""
        return x.clamp(min=0, max=self.ceiling)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MaxPool:
    """The largest value of each window."""

    kernel: Pair  # rows and columns of the window
    stride: Pair  # of rows and columns
    padding: Pair = (0, 0)  # minus infinity around rows and columns

    def run(self, x: Tensor) -> Tensor:
        """Map (batch, channels, height, width) to a smaller map."""
        return functional.max_pool2d(x, self.kernel, self.stride, self.padding)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MeanPool:
    """The mean over all pixels of a channel."""

    pixels: int  # of the map, so that integers can divide by it
    keep: bool = False  # whether the result has shape (batch, channels, 1, 1) in place of (batch, channels)

    def run(self, x: Tensor) -> Tensor:
        """Map (batch, channels, height, width) to (batch, channels)."""
        return x.sum(dim=(2, 3), keepdim=self.keep) / self.pixels


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pad:
    """Zeros around a tensor."""

    channels: Pair = (0, 0)  # before and after
    rows: Pair = (0, 0)  # above and below
    columns: Pair = (0, 0)  # left and right

    def run(self, x: Tensor) -> Tensor:
        """Map (batch, channels, height, width) to a larger tensor."""
        return functional.pad(x, (*self.columns, *self.rows, *self.channels))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Slice:
    """Every n-th pixel."""

    stride: Pair  # of rows and columns, from the first of each

    def run(self, x: Tensor) -> Tensor:
        """Map (batch, channels, height, width) to a smaller map."""
        return x[:, :, :: self.stride[0], :: self.stride[1]]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Flatten:
    """All channels and pixels of an image in a row, channels first."""

    def run(self, x: Tensor) -> Tensor:
        """Map (batch, channels, height, width) to (batch, features)."""
        return x.flatten(1)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Opaque:
    """Anything else: it runs in float, and the network that has it has no integer engine."""

    label: str  # name of the operator, for messages
    call: Callable[[Sequence[Tensor], Mapping[str, Tensor]], Tensor]
    tensors: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])  # of its own, by their names in the module
    parameters: frozenset[str] = frozenset()  # which of these are parameters
    module: str = ""  # where in the network it stands, "layer1.0.act"; empty if nothing says so

    def run(self, *inputs: Tensor) -> Tensor:
        """Run it."""
        return self.call(inputs, self.tensors)


Operation: TypeAlias = (
    Input | Convolution | Linear | BatchNorm | Add | Activation | MaxPool | MeanPool | Pad | Slice | Flatten | Opaque
)


def is_layer(operation: Operation) -> bool:
    """Tell whether an operation has weights that are quantized."""
    return isinstance(operation, Convolution | Linear)
