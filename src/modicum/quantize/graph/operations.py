"""The operations of a graph: each says what it computes, in any dtype, and holds its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from torch import Tensor
from torch.nn import functional

__all__ = [
    "Activation",
    "Add",
    "BatchNorm",
    "Convolution",
    "Flatten",
    "Input",
    "Linear",
    "MaxPool",
    "MeanPool",
    "Opaque",
    "Operation",
    "Pad",
    "Pair",
    "Slice",
    "is_layer",
]

Pair: TypeAlias = tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Input:
    """What the network is given."""

    def run(self, x: Tensor) -> Tensor:
        """Hand it on."""
        return x


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Convolution:
    """A two-dimensional convolution with zeros around its input.

    Args:
        weight: shape (outgoing, incoming / groups, height, width).
        bias: shape (outgoing,).
        stride: of rows and columns.
        padding: zeros on both sides of rows and of columns.
        dilation: of rows and columns.
        groups: of channels.
        gamma: weight of the batch norm that was folded into this layer; None if there was none.
    """

    weight: Tensor
    bias: Tensor
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    gamma: Tensor | None = None

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
    """A product with a matrix.

    Args:
        weight: shape (outgoing, incoming).
        bias: shape (outgoing,).
        gamma: as of `Convolution`.
    """

    weight: Tensor
    bias: Tensor
    gamma: Tensor | None = None

    def run(self, x: Tensor) -> Tensor:
        """Map (batch, incoming) to (batch, outgoing)."""
        return functional.linear(x, self.weight.to(x.dtype), self.bias.to(x.dtype))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BatchNorm:
    """A batch norm at rest: each channel is shifted and scaled by constants.

    Args:
        weight: gamma, shape (channels,).
        bias: beta, shape (channels,).
        mean: running mean, shape (channels,).
        variance: running variance, shape (channels,).
        epsilon: added to the variance.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    variance: Tensor
    epsilon: float

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
    """A ReLU.

    Args:
        ceiling: 6 for ReLU6; None for ReLU.
    """

    ceiling: float | None = None

    def run(self, x: Tensor) -> Tensor:
        """Clip to [0, ceiling]."""
        return x.clamp(min=0, max=self.ceiling)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MaxPool:
    """The largest value of each window.

    Args:
        kernel: rows and columns of the window.
        stride: of rows and columns.
        padding: minus infinity around rows and columns.
    """

    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)

    def run(self, x: Tensor) -> Tensor:
        """Map (batch, channels, height, width) to a smaller map."""
        return functional.max_pool2d(x, self.kernel, self.stride, self.padding)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MeanPool:
    """The mean over all pixels of a channel.

    Args:
        pixels: of the map, so that integers can divide by it.
        keep: whether the result has shape (batch, channels, 1, 1) in place of (batch, channels).
    """

    pixels: int
    keep: bool = False

    def run(self, x: Tensor) -> Tensor:
        """Map (batch, channels, height, width) to (batch, channels)."""
        return x.sum(dim=(2, 3), keepdim=self.keep) / self.pixels


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pad:
    """Zeros around a tensor.

    Args:
        channels: before and after.
        rows: above and below.
        columns: left and right.
    """

    channels: Pair = (0, 0)
    rows: Pair = (0, 0)
    columns: Pair = (0, 0)

    def run(self, x: Tensor) -> Tensor:
        """Map (batch, channels, height, width) to a larger tensor."""
        return functional.pad(x, (*self.columns, *self.rows, *self.channels))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Slice:
    """Every n-th pixel.

    Args:
        stride: of rows and columns, from the first of each.
    """

    stride: Pair

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
    """Anything else: it runs in float, and the network that has it has no integer engine.

    Args:
        label: name of the operator, for messages.
        call: takes the input tensors, and the tensors of its own.
        tensors: of its own, by their names in the module.
        parameters: which of these are parameters.
        module: where in the network it stands, "layer1.0.act"; empty if nothing says so.
    """

    label: str
    call: Callable[[Sequence[Tensor], Mapping[str, Tensor]], Tensor]
    tensors: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    parameters: frozenset[str] = frozenset()
    module: str = ""

    def run(self, *inputs: Tensor) -> Tensor:
        """Run it."""
        return self.call(inputs, self.tensors)


Operation: TypeAlias = (
    Input | Convolution | Linear | BatchNorm | Add | Activation | MaxPool | MeanPool | Pad | Slice | Flatten | Opaque
)


def is_layer(operation: Operation) -> bool:
    """Tell whether an operation has weights that are quantized."""
    return isinstance(operation, Convolution | Linear)
