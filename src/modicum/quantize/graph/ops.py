"""The operators of a graph: one class each, with all that the package has to know of it.

`run` computes in any dtype; `from_fx` reads a call of an exported program; `bounds` says how large its integers become;
`lower` gives its integer form for the engine; `to_onnx` writes it for onnxruntime. What `lower` gives is a `Layer` of
integers, or an operator that `engine.reference` and `engine.c_scalar` run as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor, fx
from torch.nn import functional

from modicum.errors import ModelError
from modicum.quantize.bounds import Integers, Own, Span, joined
from modicum.quantize.codes import ActivationGrid, WeightCode

if TYPE_CHECKING:
    from modicum.quantize.io.onnx import Program

Pair: TypeAlias = tuple[int, int]
Shape: TypeAlias = tuple[int, ...]

_TO_THE_END = 2**62
_INT64 = 7  # of ONNX


class Call:
    """A call in the exported program, with its arguments looked up."""

    def __init__(self, node: fx.Node, tensors: dict[str, Tensor]) -> None:
        self.node = node
        self.name = cast("Any", node.target)._schema.name.partition("::")[2].removesuffix("_")
        self.tensors = tensors

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """Give an argument; a constant tensor in place of the node that stands for it."""
        found = self.node.kwargs.get(name, default)
        if place < len(self.node.args):
            found = self.node.args[place]
        if isinstance(found, fx.Node) and found.name in self.tensors:
            return self.tensors[found.name]
        return found

    @property
    def is_batch(self) -> bool:
        """Whether its input has as many axes as a batch of what its name says."""
        axes = {"1d": 3, "2d": 4}.get(self.name[-2:])
        return axes is None or len(self.shape) == axes

    def pair(self, place: int, name: str, default: Any = None, *, neutral: int = 1) -> Pair:
        """Give an argument of rows and columns; a signal is an image of one row, for which it is neutral."""
        found = self.argument(place, name, default) or default
        rows, columns = _pair(found)
        return (neutral if len(self.shape) == 3 else rows, columns)

    def constant(self, place: int, name: str) -> Tensor | None:
        """Give an argument if it is a constant tensor."""
        found = self.argument(place, name)
        return found.detach().clone() if isinstance(found, Tensor) else None

    @property
    def shape(self) -> tuple[Any, ...]:
        """Shape of the first input; a free batch size is a symbol."""
        return tuple(cast("fx.Node", self.node.args[0]).meta["val"].shape)

    @property
    def result(self) -> tuple[Any, ...]:
        """Shape of the output."""
        return tuple(self.node.meta["val"].shape)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Layer:
    """What the engine runs of a convolution; a linear layer is one of a single pixel."""

    weight: np.ndarray[tuple[int, ...], np.dtype[np.int8]]  # int8, shape (outgoing, incoming / groups, height, width)
    bias: Integers  # in units of the accumulator, int64 of shape (outgoing,)
    stride: Pair = (1, 1)  # of rows and columns
    padding: Pair = (0, 0)  # zeros on both sides of rows and of columns
    dilation: Pair = (1, 1)  # of rows and columns
    groups: int = 1  # of channels


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Lookup:
    """What the engine runs of a function of single numbers."""

    values: Integers  # on the grid of the result, one for each number of the input
    low: int  # number that the first stands for


class Operator:
    """What all operators have; an operator is a frozen dataclass of its settings and tensors."""

    __slots__ = ()
    kind: ClassVar[str]  # its name in files
    torch_names: ClassVar[tuple[str, ...]] = ()  # of the calls that `from_fx` reads
    inputs: ClassVar[int | None] = 1  # how many tensors it reads; None for any number
    carries: ClassVar[bool] = False  # whether its output is on the grid of its input
    by_channel: ClassVar[bool] = False  # whether it moves the pixels of a channel, or weighs them alike

    @property
    def keeps_channels(self) -> bool:
        """Whether a factor on a channel of its input is one on that channel, or its pixels, of its output."""
        return self.by_channel

    @classmethod
    def from_fx(cls, call: Call) -> Self | str | None:
        """Read a call of an exported program; if it is of another form, what of it, in words, or None."""
        del call
        return None

    @classmethod
    def before(cls, call: Call) -> Operator | None:
        """Give what must run in front of it."""
        del call
        return None

    def bounds(self, inputs: Sequence[Span | None], own: Own) -> Span | str:
        """Bound the integers; the reason for none, or "" where one was given before."""
        del own
        return inputs[0] or ""

    def lower(self, own: Own, shape: Shape) -> tuple[Head, Shape]:
        """Give the integer form, and the shape of a sample behind it."""
        del shape
        raise ModelError(
            f"The engine has no integer form of {self.named()} ({own.name}).",
            hint="Replace the operator, fold batch norms into layers, or run the simulation, which has all operators.",
        )

    def to_onnx(self, onnx: Program, name: str, inputs: Sequence[str]) -> str:
        """Write it, and give the name of its output."""
        del onnx, inputs
        raise ModelError(
            f"{name} is the operator {self.named()}, which is not translated to ONNX.",
            hint="Take it out of the network, or export the float network with torch.onnx.",
        )

    def named(self) -> str:
        """Give its name for messages."""
        return type(self).__name__

    def mapped(self, fn: Callable[[Tensor], Tensor]) -> Self:
        """Give the same with a function of its tensors."""
        values = {it.name: getattr(self, it.name) for it in fields(self)}  # type: ignore[arg-type] - of subclasses
        return replace(self, **{name: fn(it) for name, it in values.items() if isinstance(it, Tensor)})  # type: ignore


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Input(Operator):
    """What the network is given; in the engine, integers that are copied."""

    kind: ClassVar[str] = "input"
    inputs: ClassVar[int | None] = 0

    def run(self, x: Tensor) -> Tensor:
        """Hand it on."""
        return x

    def bounds(self, inputs: Sequence[Span | None], own: Own) -> Span | str:
        """Nothing is known of it without a grid."""
        del inputs
        return "the input has no grid" if own.bare else ""

    def to_onnx(self, onnx: Program, name: str, inputs: Sequence[str]) -> str:
        """Read it by its name."""
        del onnx, inputs
        return name


class _Layer(Operator):
    """What convolutions and linear layers share."""

    __slots__ = ()
    weight: Tensor
    bias: Tensor

    def bounds(self, inputs: Sequence[Span | None], own: Own) -> Span | str:
        """Weigh and sum."""
        span = inputs[0]
        if not isinstance(own.code, WeightCode):
            return "its weights are real"
        if span is None or own.bias is None or len(span.exponents) > 1 or span.layers:
            return "its input is on no grid"
        return span.weighted(own.code.integers, own.bias, own.code.exponent, own.name)


def _integers(own: Own) -> tuple[Any, Integers]:
    assert isinstance(own.code, WeightCode) and own.bias is not None  # noqa: S101, PT018 - `lower` saw to it
    return own.code.integers.cpu().numpy(), own.bias.cpu().numpy()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Convolution(_Layer):
    """A convolution with zeros around its input; that of a signal (batch, channels, length) is one of a single row."""

    kind: ClassVar[str] = "convolution"
    torch_names: ClassVar[tuple[str, ...]] = ("conv2d", "conv1d", "conv_transpose2d")
    weight: Tensor  # shape (outgoing, incoming / groups, height, width)
    bias: Tensor  # shape (outgoing,)
    stride: Pair = (1, 1)  # of rows and columns
    padding: Pair = (0, 0)  # zeros on both sides of rows and of columns
    dilation: Pair = (1, 1)  # of rows and columns
    groups: int = 1  # of channels
    gamma: Tensor | None = None  # weight of the batch norm that was folded into this layer; None if there was none

    def run(self, x: Tensor) -> Tensor:
        """Map (batch, incoming, height, width) to (batch, outgoing, ...)."""
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        images = x if x.ndim == 4 else x[:, :, None]
        made = functional.conv2d(images, weight, bias, self.stride, self.padding, self.dilation, self.groups)
        return made if x.ndim == 4 else made[:, :, 0]

    @classmethod
    def from_fx(cls, call: Call) -> Self | str | None:
        """Read a batch's convolution of constant weights; what must lie between its pixels before is `before`'s."""
        if call.name == "conv_transpose2d":
            return cls._transposed(call)
        weight = call.constant(1, "weight")
        padding = call.argument(4, "padding", 0)
        dilation = call.pair(5, "dilation", 1)
        if weight is None:
            return None
        weight = weight if weight.ndim == 4 else weight[:, :, None]
        if isinstance(padding, str):
            reach = [step * (size - 1) for step, size in zip(dilation, weight.shape[2:], strict=True)]
            if padding == "same" and any(it % 2 for it in reach):
                return None
            around = _pair([it // 2 for it in reach]) if padding == "same" else (0, 0)
        else:
            around = call.pair(4, "padding", 0, neutral=0)
        bias = call.constant(2, "bias")
        return cls(
            weight=weight,
            bias=weight.new_zeros(len(weight)) if bias is None else bias,
            stride=call.pair(3, "stride", 1),
            padding=around,
            dilation=dilation,
            groups=call.argument(6, "groups", 1),
        )

    @classmethod
    def _transposed(cls, call: Call) -> Self | str | None:
        weight, bias, groups = call.constant(1, "weight"), call.constant(2, "bias"), call.argument(6, "groups", 1)
        if weight is None:
            return None
        by_group = weight.unflatten(0, (groups, -1)).transpose(1, 2)  # (groups, outgoing, incoming, rows, columns)
        weight, dilation = by_group.flatten(0, 1).flip(2, 3), call.pair(7, "dilation", 1)
        reach = [step * (size - 1) for step, size in zip(dilation, weight.shape[2:], strict=True)]
        padding = _pair([it - pad for it, pad in zip(reach, call.pair(4, "padding", 0), strict=True)])
        if min(padding) < 0:
            return "with a padding beyond its kernel"
        bias = weight.new_zeros(len(weight)) if bias is None else bias
        return cls(weight=weight, bias=bias, padding=padding, dilation=dilation, groups=groups)

    @classmethod
    def before(cls, call: Call) -> Operator | None:
        """Put zeros between the pixels of what a transposed convolution reads, so that it is an ordinary one."""
        if call.name != "conv_transpose2d":
            return None
        rows, columns = call.pair(5, "output_padding", 0)
        found = Pad(rows=(0, rows), columns=(0, columns), between=call.pair(3, "stride", 1))
        return None if (rows, columns, found.between) == (0, 0, (1, 1)) else found

    def lower(self, own: Own, shape: Shape) -> tuple[Head, Shape]:
        """Give its integers."""
        weight, bias = _integers(own)
        channels = weight.shape[1] * self.groups
        if len(shape) not in {2, 3} or shape[0] != channels:
            _refuse_shape(own.name, f"images (batch, n, height, width) with n = {channels}", shape)
        sizes = (
            (side + 2 * pad - gap * (kernel - 1) - 1) // step + 1
            for side, pad, gap, kernel, step in zip(
                _image(own.name, shape)[1:], self.padding, self.dilation, weight.shape[2:], self.stride, strict=True
            )
        )
        head = Layer(
            weight=weight,
            bias=bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        return head, _sized(shape, len(bias), *sizes)

    def to_onnx(self, onnx: Program, name: str, inputs: Sequence[str]) -> str:
        """Write Conv."""
        axes = onnx.axes(name)
        how = {"kernel_shape": self.weight.shape[2:][axes], "strides": self.stride[axes], "group": self.groups}
        how |= {"pads": 2 * self.padding[axes], "dilations": self.dilation[axes]}
        return onnx.call("Conv", [*inputs, *onnx.weights(name)], name, **how)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Linear(_Layer):
    """A product with a matrix."""

    kind: ClassVar[str] = "linear"
    torch_names: ClassVar[tuple[str, ...]] = ("linear",)
    weight: Tensor  # shape (outgoing, incoming)
    bias: Tensor  # shape (outgoing,)
    gamma: Tensor | None = None  # as of `Convolution`

    def run(self, x: Tensor) -> Tensor:
        """Map (batch, incoming) to (batch, outgoing)."""
        return functional.linear(x, self.weight.to(x.dtype), self.bias.to(x.dtype))

    @classmethod
    def from_fx(cls, call: Call) -> Self | None:
        """Read linear of constant weights."""
        weight, bias = call.constant(1, "weight"), call.constant(2, "bias")
        if weight is None:
            return None
        return cls(weight=weight, bias=weight.new_zeros(len(weight)) if bias is None else bias)

    def lower(self, own: Own, shape: Shape) -> tuple[Head, Shape]:
        """Give its integers, as those of a convolution of one pixel."""
        weight, bias = _integers(own)
        if len(shape) != 1 or shape[0] != weight.shape[1]:
            _refuse_shape(own.name, f"features (batch, n) with n = {weight.shape[1]}", shape)
        return Layer(weight=weight[:, :, None, None], bias=bias), (len(bias),)

    def to_onnx(self, onnx: Program, name: str, inputs: Sequence[str]) -> str:
        """Write Gemm, or MatMul and Add where a sample has several rows, which Gemm does not take."""
        weight, bias = onnx.weights(name)
        if len(onnx.shapes[name]) == 1:
            return onnx.call("Gemm", [*inputs, weight, bias], name, transB=1)
        turned = onnx.call("Transpose", [weight], f"{name}/transposed", perm=[1, 0])
        product = onnx.call("MatMul", [*inputs, turned], f"{name}/product")
        return onnx.call("Add", [product, bias], name)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BatchNorm(Operator):
    """A batch norm at rest: each channel is shifted and scaled by constants."""

    kind: ClassVar[str] = "batch_norm"
    torch_names: ClassVar[tuple[str, ...]] = ("batch_norm", "_native_batch_norm_legit_no_training")
    weight: Tensor  # gamma, shape (channels,)
    bias: Tensor  # beta, shape (channels,)
    mean: Tensor  # running mean, shape (channels,)
    variance: Tensor  # running variance, shape (channels,)
    epsilon: float  # added to the variance

    def run(self, x: Tensor) -> Tensor:
        """Normalise (batch, channels, ...)."""
        constants = (it.to(x.dtype) for it in (self.mean, self.variance, self.weight, self.bias))
        return functional.batch_norm(x, *constants, training=False, eps=self.epsilon)

    @classmethod
    def from_fx(cls, call: Call) -> Self | None:
        """Read batch norms that are not in training."""
        mean, variance = call.constant(3, "running_mean"), call.constant(4, "running_var")
        if mean is None or variance is None or call.argument(5, "training", default=False):
            return None
        weight, bias = call.constant(1, "weight"), call.constant(2, "bias")
        return cls(
            weight=torch.ones_like(mean) if weight is None else weight,
            bias=torch.zeros_like(mean) if bias is None else bias,
            mean=mean,
            variance=variance,
            epsilon=call.argument(7, "eps", 1e-5),
        )

    def bounds(self, inputs: Sequence[Span | None], own: Own) -> Span | str:
        """Its constants are real."""
        del inputs, own
        return "a batch norm that no layer took in"

    def to_onnx(self, onnx: Program, name: str, inputs: Sequence[str]) -> str:
        """Write BatchNormalization."""
        parts = {"weight": self.weight, "bias": self.bias, "mean": self.mean, "variance": self.variance}
        names = [onnx.constant(f"{name}/{key}", value.cpu(), np.float32) for key, value in parts.items()]
        return onnx.call("BatchNormalization", [*inputs, *names], name, epsilon=self.epsilon)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Add(Operator):
    """The sum of two tensors of one shape."""

    kind: ClassVar[str] = "add"
    torch_names: ClassVar[tuple[str, ...]] = ("add",)
    inputs: ClassVar[int | None] = 2

    def run(self, first: Tensor, second: Tensor) -> Tensor:
        """Add them, never in place."""
        return first + second

    @classmethod
    def from_fx(cls, call: Call) -> Self | None:
        """Read a sum of two tensors that are no constants."""
        first, second = call.node.args[:2]
        both = isinstance(first, fx.Node) and isinstance(second, fx.Node)
        if not both or call.argument(2, "alpha", 1) != 1:
            return None
        shapes = [tuple(cast("fx.Node", it).meta["val"].shape) for it in (first, second)]
        constant = any(isinstance(it, fx.Node) and it.name in call.tensors for it in call.node.args)
        return cls() if shapes[0] == shapes[1] and not constant else None

    def bounds(self, inputs: Sequence[Span | None], own: Own) -> Span | str:
        """Add both in the finer unit."""
        del own
        first, second = inputs
        return "" if first is None or second is None else first.plus(second)

    def to_onnx(self, onnx: Program, name: str, inputs: Sequence[str]) -> str:
        """Write Add."""
        return onnx.call("Add", inputs, name)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Concat(Operator):
    """The channels of several tensors, one behind the other; each keeps its unit until the next grid."""

    kind: ClassVar[str] = "concat"
    torch_names: ClassVar[tuple[str, ...]] = ("cat",)
    inputs: ClassVar[int | None] = None
    widths: tuple[int, ...]  # channels of each tensor

    def run(self, *inputs: Tensor) -> Tensor:
        """Join (batch, channels, ...) along the channels."""
        return torch.cat(inputs, 1)

    @classmethod
    def from_fx(cls, call: Call) -> Self | str | None:
        """Read what joins channels of tensors that are no constants."""
        shapes = [tuple(part.meta["val"].shape) for part in cast("Sequence[fx.Node]", call.argument(0, "tensors"))]
        axis = call.argument(1, "dim", 0) % len(shapes[0])
        return cls(widths=tuple(it[1] for it in shapes)) if axis == 1 else f"along dimension {axis}"

    def bounds(self, inputs: Sequence[Span | None], own: Own) -> Span | str:
        """Keep what is known of each channel."""
        del own
        parts = [it for it in inputs if it is not None]
        if any(len(it.exponents) not in {1, width} for it, width in zip(parts, self.widths, strict=False)):
            return "tensors of other channels than it says"
        return joined(parts, self.widths) if len(parts) == len(inputs) else ""

    def lower(self, own: Own, shape: Shape) -> tuple[Head, Shape]:
        """Run it as it is; the shifts behind it are those of each channel."""
        shapes = (shape, *own.others)
        if [it[0] for it in shapes] != list(self.widths) or any(it[1:] != shape[1:] for it in shapes):
            _refuse_shape(own.name, f"tensors of {', '.join(map(str, self.widths))} channels and one size", *shapes)
        return self, (sum(self.widths), *shape[1:])

    def to_onnx(self, onnx: Program, name: str, inputs: Sequence[str]) -> str:
        """Write Concat."""
        return onnx.call("Concat", inputs, name, axis=1)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Multiply(Operator):
    """The product of two tensors, of which one may have a single pixel a channel: a gate."""

    kind: ClassVar[str] = "multiply"
    torch_names: ClassVar[tuple[str, ...]] = ("mul",)
    inputs: ClassVar[int | None] = 2

    def run(self, first: Tensor, second: Tensor) -> Tensor:
        """Multiply them, never in place."""
        return first * second

    @classmethod
    def from_fx(cls, call: Call) -> Self | str | None:
        """Read a product of two tensors that are no constants, of which one has the shape of the result."""
        parts = [it for it in call.node.args[:2] if isinstance(it, fx.Node) and it.name not in call.tensors]
        if len(parts) < 2:
            return "by a constant"
        shapes = [tuple(it.meta["val"].shape) for it in parts]
        alike = all(it[:2] == call.result[:2] and (it == call.result or set(it[2:]) == {1}) for it in shapes)
        return cls() if alike and call.result in shapes else "of other shapes"

    def bounds(self, inputs: Sequence[Span | None], own: Own) -> Span | str:
        """Multiply what is on grids."""
        first, second = inputs
        if first is None or second is None:
            return ""
        return f"{own.name} of numbers on no grid" if first.layers or second.layers else first.times(second)

    def lower(self, own: Own, shape: Shape) -> tuple[Head, Shape]:
        """Run it as it is; the exponents add up."""
        if any(it.layers for it in own.spans):
            raise ModelError(f"{own.name} multiplies numbers on no grid.", hint="Quantize activations, too.")
        shapes = (shape, *own.others)
        large = max(shapes, key=math.prod)
        if any(it not in (large, (large[0], *(1 for _ in large[1:]))) for it in shapes):
            _refuse_shape(own.name, "two tensors of one shape, or one and its gates", *shapes)
        return self, large

    def to_onnx(self, onnx: Program, name: str, inputs: Sequence[str]) -> str:
        """Write Mul."""
        return onnx.call("Mul", inputs, name)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Activation(Operator):
    """A ReLU."""

    kind: ClassVar[str] = "activation"
    torch_names: ClassVar[tuple[str, ...]] = ("relu", "relu6", "hardtanh")
    ceiling: float | None = None  # 6 for ReLU6; None for ReLU

    def run(self, x: Tensor) -> Tensor:
        """Clip to [0, ceiling]."""
        return x.clamp(min=0, max=self.ceiling)

    @classmethod
    def from_fx(cls, call: Call) -> Self | None:
        """Read relu, relu6 and hardtanh from 0 on."""
        if call.name != "hardtanh":
            return cls(ceiling=6.0 if call.name == "relu6" else None)
        low, high = call.argument(1, "min_val", -1.0), call.argument(2, "max_val", 1.0)
        return cls(ceiling=float(high)) if low == 0 and high is not None and high > 0 else None

    def bounds(self, inputs: Sequence[Span | None], own: Own) -> Span | str:
        """Clip at 0; a ceiling is that of a grid."""
        if self.ceiling is not None and own.bare:
            return f"a ReLU up to {self.ceiling:g} without a grid"
        return "" if inputs[0] is None else inputs[0].rectified()

    def to_onnx(self, onnx: Program, name: str, inputs: Sequence[str]) -> str:
        """Write Relu or Clip."""
        if self.ceiling is None:
            return onnx.call("Relu", inputs, name)
        parts = {"floor": 0.0, "ceiling": self.ceiling}
        ends = [onnx.constant(f"{name}/{key}", value, np.float32) for key, value in parts.items()]
        return onnx.call("Clip", [*inputs, *ends], name)


_CURVES: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": functional.silu,
    "hardswish": functional.hardswish,
    "sigmoid": torch.sigmoid,
    "hardsigmoid": functional.hardsigmoid,
}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Table(Operator):
    """A function of single numbers; the engine looks it up, since its input has at most 256 values."""

    kind: ClassVar[str] = "table"
    torch_names: ClassVar[tuple[str, ...]] = tuple(_CURVES)
    function: str  # its name in torch

    @property
    def unsigned(self) -> bool:
        """Whether it gives no negative numbers."""
        return self.function.endswith("sigmoid")

    def run(self, x: Tensor) -> Tensor:
        """Compute it in float64: vector units give other digits of float32 than the rest of a row has."""
        return _CURVES[self.function](x.double()).to(x.dtype)

    @classmethod
    def from_fx(cls, call: Call) -> Self | str | None:
        """Read it."""
        return cls(function=call.name)

    def named(self) -> str:
        """Give its name as torch calls it."""
        return self.function

    def looked_up(self, given: Span, grid: ActivationGrid, dtype: torch.dtype = torch.float64) -> Integers:
        """Give the integers on a grid for all integers of the input."""
        points = torch.arange(int(given.low[0]), int(given.high[0]) + 1, dtype=dtype)
        values = grid.apply(self.run(torch.ldexp(points, torch.tensor(int(given.exponents[0])))))
        return np.round(np.ldexp(values.double().numpy(), -grid.exponent)).astype(np.int64)

    def bounds(self, inputs: Sequence[Span | None], own: Own) -> Span | str:
        """Look all up; where float32 would round one of them another way, it is not proved equal."""
        given = inputs[0]
        if own.grid is None:
            return f"{self.function} without a grid behind it"
        if given is None or given.layers or len(given.exponents) > 1:
            return "" if given is None else f"{self.function} of numbers on no grid"
        values = self.looked_up(given, own.grid)
        alike = np.array_equal(values, self.looked_up(given, own.grid, torch.float32))
        ends = [int(values.min()), int(values.max()), int(np.abs(values).max()) if alike else 2**24]
        low, high, reach = (np.array([it], dtype=object) for it in ends)
        return Span(exponents=np.array([own.grid.exponent]), low=low, high=high, reach=reach)

    def lower(self, own: Own, shape: Shape) -> tuple[Head, Shape]:
        """Give the table."""
        if own.grid is None or own.spans[0].layers or len(own.spans[0].exponents) > 1:
            raise ModelError(
                f"{own.name} ({self.function}) needs a grid before and behind it.",
                hint="Let a layer read it: the output of a network has no grid.",
            )
        given = own.spans[0]
        return Lookup(values=self.looked_up(given, own.grid), low=int(given.low[0])), shape

    def to_onnx(self, onnx: Program, name: str, inputs: Sequence[str]) -> str:
        """Write Gather from a table of the values."""
        grid = onnx.grid(name)
        if grid is None:
            return Operator.to_onnx(self, onnx, name, inputs)
        values = self.run(torch.arange(grid.low, grid.high + 1) * grid.scale)
        parts = {"step": grid.scale, "lowest": grid.low, "table": values}
        step, lowest, table = (onnx.constant(f"{name}/{key}", value, np.float32) for key, value in parts.items())
        whole = onnx.call("Round", [onnx.call("Div", [*inputs, step], f"{name}/div")], f"{name}/whole")
        index = onnx.call("Cast", [onnx.call("Sub", [whole, lowest], f"{name}/sub")], f"{name}/index", to=_INT64)
        return onnx.call("Gather", [table, index], name)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MaxPool(Operator):
    """The largest value of each window; what lies outside of the image does not count."""

    kind: ClassVar[str] = "max_pool"
    torch_names: ClassVar[tuple[str, ...]] = ("max_pool2d", "max_pool1d")
    by_channel: ClassVar[bool] = True
    carries: ClassVar[bool] = True
    kernel: Pair  # rows and columns of the window
    stride: Pair  # of rows and columns
    padding: Pair = (0, 0)  # minus infinity around rows and columns

    def run(self, x: Tensor) -> Tensor:
        """Map (batch, channels, height, width) to a smaller map."""
        return functional.max_pool2d(x, self.kernel, self.stride, self.padding)

    @classmethod
    def from_fx(cls, call: Call) -> Self | None:
        """Read windows without gaps and inside of the image."""
        kernel = call.pair(1, "kernel_size")
        if call.pair(4, "dilation", 1) != (1, 1) or call.argument(5, "ceil_mode", default=False):
            return None
        padding = call.pair(3, "padding", 0, neutral=0)
        return cls(kernel=kernel, stride=call.pair(2, "stride", kernel), padding=padding)

    def lower(self, own: Own, shape: Shape) -> tuple[Head, Shape]:
        """Run it as it is."""
        channels, *sides = _image(own.name, shape)
        if any(2 * pad > kernel for pad, kernel in zip(self.padding, self.kernel, strict=True)):
            raise ModelError(f"{own.name} has windows outside of the image.", hint="Pad by at most half a window.")
        sizes = (
            (side + 2 * pad - kernel) // step + 1
            for side, pad, kernel, step in zip(sides, self.padding, self.kernel, self.stride, strict=True)
        )
        return self, _sized(shape, channels, *sizes)

    def to_onnx(self, onnx: Program, name: str, inputs: Sequence[str]) -> str:
        """Write MaxPool."""
        axes = onnx.axes(name)
        kernel, strides, pads = self.kernel[axes], self.stride[axes], 2 * self.padding[axes]
        return onnx.call("MaxPool", inputs, name, kernel_shape=kernel, strides=strides, pads=pads)


class Mean(Operator):
    """What means over all pixels and over windows share: a sum that is divided by a constant."""

    __slots__ = ()
    pixels: int

    @property
    def is_shift(self) -> bool:
        """Whether a shift divides by its pixels."""
        return self.pixels & (self.pixels - 1) == 0

    def summed(self, span: Span | None, count: int) -> Span | str:
        """Sum so many pixels, and divide by a shift; a folded mean divides by more than it sums, never by less."""
        if span is None:
            return ""
        if not self.is_shift:
            return f"a mean that divides by {self.pixels}"
        return span.summed(count, self.pixels.bit_length() - 1)

    def check_shift(self, name: str) -> None:
        """Refuse what no shift can divide by."""
        if not self.is_shift:
            raise ModelError(
                f"{name} is a mean over {self.pixels} pixels, which no shift can divide by.",
                hint="Let only convolutions and linear layers read it, so that its rest goes into their weights, or "
                "change the size.",
            )

    def divided(self, onnx: Program, total: str, name: str) -> str:
        """Write Div: not a mean of ONNX, since a folded mean divides by another number than that of its pixels."""
        return onnx.call("Div", [total, onnx.constant(f"{name}/pixels", self.pixels, np.float32)], name)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MeanPool(Mean):
    """The mean over all pixels of a channel; in the engine, their sum."""

    kind: ClassVar[str] = "mean_pool"
    torch_names: ClassVar[tuple[str, ...]] = ("mean", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_avg_pool1d")
    by_channel: ClassVar[bool] = True
    pixels: int  # of the map, so that integers can divide by it
    keep: bool = False  # whether the result has shape (batch, channels, 1, 1) in place of (batch, channels)

    def run(self, x: Tensor) -> Tensor:
        """Map (batch, channels, height, width) to (batch, channels)."""
        return x.sum(dim=tuple(range(2, x.ndim)), keepdim=self.keep) / self.pixels

    @classmethod
    def from_fx(cls, call: Call) -> Self | None:
        """Read means over the entire image."""
        keep = True
        if call.name == "mean":
            axes = sorted(axis % len(call.shape) for axis in call.argument(1, "dim", None) or [])
            plain = axes == list(range(2, len(call.shape))) and call.argument(3, "dtype") is None
            keep = bool(call.argument(2, "keepdim", default=False))
        elif call.name == "avg_pool2d":
            sizes = zip(_pair(call.argument(1, "kernel_size")), call.shape[2:], strict=True)  # may be larger: ceil_mode
            plain = call.result[2:] == (1, 1) and all(size >= side for size, side in sizes)
            bare = _pair(call.argument(3, "padding", 0)) == (0, 0)
            plain = plain and bare and call.argument(6, "divisor_override") is None
        else:
            plain = _pair(call.argument(1, "output_size")) == (1, 1)
        if not plain or len(call.shape) not in {3, 4} or not all(isinstance(it, int) for it in call.shape[2:]):
            return None
        return cls(pixels=math.prod(call.shape[2:]), keep=keep)

    def bounds(self, inputs: Sequence[Span | None], own: Own) -> Span | str:
        """Sum all pixels."""
        return self.summed(inputs[0], own.pixels or self.pixels)

    def lower(self, own: Own, shape: Shape) -> tuple[Head, Shape]:
        """Sum as a window of all pixels; the exponents divide."""
        channels, *sides = _image(own.name, shape)
        self.check_shift(own.name)
        head = AvgPool(kernel=_pair(sides), stride=(1, 1), pixels=self.pixels)
        return head, _sized(shape, channels, 1, 1) if self.keep else (channels,)

    def to_onnx(self, onnx: Program, name: str, inputs: Sequence[str]) -> str:
        """Write ReduceSum and Div."""
        axes = onnx.constant(f"{name}/axes", [2, 3][: 2 - onnx.axes(name).start], np.int64)
        total = onnx.call("ReduceSum", [*inputs, axes], f"{name}/sum", keepdims=int(self.keep))
        return self.divided(onnx, total, name)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AvgPool(Mean):
    """The mean of each window, in which zeros around the image count; in the engine, its sum."""

    kind: ClassVar[str] = "avg_pool"
    torch_names: ClassVar[tuple[str, ...]] = ("avg_pool2d", "adaptive_avg_pool2d", "avg_pool1d")
    by_channel: ClassVar[bool] = True
    kernel: Pair  # rows and columns of the window
    stride: Pair  # of rows and columns
    padding: Pair = (0, 0)  # zeros around rows and columns
    pixels: int  # that a sum is divided by

    def run(self, x: Tensor) -> Tensor:
        """Map (batch, channels, height, width) to a smaller map."""
        return functional.avg_pool2d(x, self.kernel, self.stride, self.padding, divisor_override=self.pixels)

    @classmethod
    def from_fx(cls, call: Call) -> Self | str | None:
        """Read windows inside of the image and its padding, all of one divisor."""
        if call.name == "adaptive_avg_pool2d":
            sizes = list(zip(call.shape[2:], call.result[2:], strict=True))
            kernel = _pair([large // small for large, small in sizes])
            whole = all(large % small == 0 for large, small in sizes)
            return cls(kernel=kernel, stride=kernel, pixels=math.prod(kernel)) if whole else "of several window sizes"
        kernel, padding = call.pair(1, "kernel_size"), call.pair(3, "padding", 0, neutral=0)
        found = cls(
            kernel=kernel,
            stride=call.pair(2, "stride", kernel),
            padding=padding,
            pixels=call.argument(6, "divisor_override") or math.prod(kernel),
        )
        if found.sizes((1, 1, *call.shape[2:])[-2:])[4 - len(call.shape) :] != call.result[2:]:
            return "with ceil_mode"
        apart = any(padding) and not call.argument(5, "count_include_pad", default=True)
        return "without count_include_pad" if apart and not call.argument(6, "divisor_override") else found

    def sizes(self, sides: Sequence[int]) -> Shape:
        """Give rows and columns of the result."""
        return tuple(
            (side + 2 * pad - kernel) // step + 1
            for side, pad, kernel, step in zip(sides, self.padding, self.kernel, self.stride, strict=True)
        )

    def bounds(self, inputs: Sequence[Span | None], own: Own) -> Span | str:
        """Sum windows, of which zeros may be a part."""
        del own
        return self.summed(None if inputs[0] is None else inputs[0].padded((0, 0)), math.prod(self.kernel))

    def lower(self, own: Own, shape: Shape) -> tuple[Head, Shape]:
        """Sum windows; the exponents divide."""
        channels, *sides = _image(own.name, shape)
        self.check_shift(own.name)
        return self, _sized(shape, channels, *self.sizes(sides))

    def to_onnx(self, onnx: Program, name: str, inputs: Sequence[str]) -> str:
        """Write Conv with weights of 1, and Div."""
        count, axes = onnx.shapes[name][0], onnx.axes(name)
        ones = onnx.constant(f"{name}/ones", np.ones((count, 1, *self.kernel[axes])), np.float32)
        strides, pads = self.stride[axes], 2 * self.padding[axes]
        total = onnx.call("Conv", [*inputs, ones], f"{name}/sum", strides=strides, pads=pads, group=count)
        return self.divided(onnx, total, name)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pad(Operator):
    """Zeros around a tensor, and between its pixels."""

    kind: ClassVar[str] = "pad"
    torch_names: ClassVar[tuple[str, ...]] = ("pad", "constant_pad_nd")
    carries: ClassVar[bool] = True
    channels: Pair = (0, 0)  # before and after
    rows: Pair = (0, 0)  # above and below
    columns: Pair = (0, 0)  # left and right
    between: Pair = (1, 1)  # rows and columns from a pixel to the next

    @property
    def keeps_channels(self) -> bool:
        """It does unless it adds channels."""
        return self.channels == (0, 0)

    def run(self, x: Tensor) -> Tensor:
        """Map (batch, channels, height, width) to a larger tensor."""
        made = x
        if self.between != (1, 1):
            made = x.new_zeros(*x.shape[:2], *self.spread(x.shape[2:]))
            made[:, :, :: self.between[0], :: self.between[1]] = x
        return functional.pad(made, (*self.columns, *self.rows, *self.channels))

    def spread(self, sides: Sequence[int]) -> Shape:
        """Give rows and columns with the zeros between them."""
        return tuple((side - 1) * step + 1 for side, step in zip(sides, self.between, strict=True))

    @classmethod
    def from_fx(cls, call: Call) -> Self | None:
        """Read zeros around images."""
        widths = list(call.argument(1, "pad"))
        plain = call.argument(2, "mode", "constant") == "constant" and not call.argument(3, "value", 0.0)
        if len(call.shape) != 4 or not plain or len(widths) > 6 or min(widths) < 0:
            return None
        widths += [0] * (6 - len(widths))
        return cls(columns=_pair(widths[:2]), rows=_pair(widths[2:4]), channels=_pair(widths[4:]))

    def bounds(self, inputs: Sequence[Span | None], own: Own) -> Span | str:
        """Zeros are in any unit."""
        del own
        return "" if inputs[0] is None else inputs[0].padded(self.channels)

    def lower(self, own: Own, shape: Shape) -> tuple[Head, Shape]:
        """Run it as it is."""
        pairs = (self.channels, self.rows, self.columns)
        if min(it for pair in pairs for it in pair) < 0:
            raise ModelError(f"{own.name} pads by a negative width.", hint="Slice instead.")
        channels, *sides = _image(own.name, shape)
        sizes = (channels, *self.spread(sides))
        return self, tuple(side + sum(pair) for side, pair in zip(sizes, pairs, strict=True))

    def to_onnx(self, onnx: Program, name: str, inputs: Sequence[str]) -> str:
        """Write Pad, and before it a ConvTranspose with weights of 1 and one pixel."""
        if self.between != (1, 1):
            count = onnx.shapes[name][0] - sum(self.channels)
            ones = onnx.constant(f"{name}/ones", np.ones((count, 1, 1, 1)), np.float32)
            spread = onnx.call("ConvTranspose", [*inputs, ones], f"{name}/spread", strides=self.between, group=count)
            inputs = [spread]
        sides = (self.channels, self.rows, self.columns)
        pads = [0, *(first for first, _ in sides), 0, *(last for _, last in sides)]
        return onnx.call("Pad", [*inputs, onnx.constant(f"{name}/pads", pads, np.int64)], name)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Slice(Operator):
    """Every n-th pixel."""

    kind: ClassVar[str] = "slice"
    torch_names: ClassVar[tuple[str, ...]] = ("slice",)
    by_channel: ClassVar[bool] = True
    carries: ClassVar[bool] = True
    stride: Pair  # of rows and columns, from the first of each

    def run(self, x: Tensor) -> Tensor:
        """Map (batch, channels, height, width) to a smaller map."""
        return x[:, :, :: self.stride[0], :: self.stride[1]]

    @classmethod
    def from_fx(cls, call: Call) -> Self | None:
        """Read steps over entire axes, from their first."""
        axis, start, step = (
            call.argument(place, name, default)
            for place, name, default in ((1, "dim", 0), (2, "start", None), (4, "step", 1))
        )
        axis = axis % len(call.shape)
        # A size that is free is compared as it is written: x[: n // 2] is not the whole batch.
        expected = call.shape[axis] if step == 1 else -(-call.shape[axis] // step) if axis in {2, 3} else None
        if start or str(call.result[axis]) != str(expected) or (step > 1 and len(call.shape) != 4):
            return None
        return cls(stride=(step if axis == 2 else 1, step if axis == 3 else 1))

    def after(self, other: Slice) -> Slice:
        """Join two in a row, as which x[:, :, ::2, ::2] is traced."""
        return Slice(stride=(self.stride[0] * other.stride[0], self.stride[1] * other.stride[1]))

    def lower(self, own: Own, shape: Shape) -> tuple[Head, Shape]:
        """Run it as it is."""
        channels, *sides = _image(own.name, shape)
        return self, (channels, *(-(-side // step) for side, step in zip(sides, self.stride, strict=True)))

    def to_onnx(self, onnx: Program, name: str, inputs: Sequence[str]) -> str:
        """Write Slice."""
        parts = {"starts": [0, 0], "ends": [_TO_THE_END] * 2, "axes": [2, 3], "steps": list(self.stride)}
        names = [onnx.constant(f"{name}/{key}", value, np.int64) for key, value in parts.items()]
        return onnx.call("Slice", [*inputs, *names], name)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Upsample(Operator):
    """Every pixel several times: the nearest one of a map that is smaller by whole factors."""

    kind: ClassVar[str] = "upsample"
    torch_names: ClassVar[tuple[str, ...]] = ("upsample_nearest2d", "_upsample_nearest_exact2d")
    by_channel: ClassVar[bool] = True
    carries: ClassVar[bool] = True
    factor: Pair  # of rows and columns

    def run(self, x: Tensor) -> Tensor:
        """Map (batch, channels, height, width) to a larger map."""
        return x.repeat_interleave(self.factor[0], 2).repeat_interleave(self.factor[1], 3)

    @classmethod
    def from_fx(cls, call: Call) -> Self | str | None:
        """Read whole factors, of sizes and, where they are given, of scales."""
        factor = tuple(large // small for large, small in zip(call.result[2:], call.shape[2:], strict=True))
        given = [call.argument(place, "scale_factors", None) for place in range(2, len(call.node.args))]
        scales = [it for one in given for it in (one if isinstance(one, list | tuple) else [one]) if it is not None]
        whole = all(
            small * it == large for large, small, it in zip(call.result[2:], call.shape[2:], factor, strict=True)
        )
        if not whole or (scales and tuple(scales) != factor):
            return "by a fraction"
        return cls(factor=_pair(factor))

    def lower(self, own: Own, shape: Shape) -> tuple[Head, Shape]:
        """Run it as it is."""
        channels, *sides = _image(own.name, shape)
        return self, (channels, *(side * it for side, it in zip(sides, self.factor, strict=True)))

    def to_onnx(self, onnx: Program, name: str, inputs: Sequence[str]) -> str:
        """Write Resize."""
        scales = onnx.constant(f"{name}/scales", [1, 1, *self.factor], np.float32)
        how = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
        return onnx.call("Resize", [*inputs, "", scales], name, **how)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Flatten(Operator):
    """All channels and pixels of an image in a row, channels first."""

    kind: ClassVar[str] = "flatten"
    torch_names: ClassVar[tuple[str, ...]] = ("flatten", "view", "reshape")
    by_channel: ClassVar[bool] = True
    carries: ClassVar[bool] = True

    def run(self, x: Tensor) -> Tensor:
        """Map (batch, channels, height, width) to (batch, features)."""
        return x.flatten(1)

    @classmethod
    def from_fx(cls, call: Call) -> Self | None:
        """Read what brings images into rows."""
        features = call.shape[1:]
        flat = len(call.result) == 2 and len(features) in {1, 2, 3} and call.result[1] == math.prod(features)
        return cls() if flat else None

    def bounds(self, inputs: Sequence[Span | None], own: Own) -> Span | str:
        """Each pixel is as its channel; where nobody knows how many there are, channels are joined."""
        return "" if inputs[0] is None else inputs[0].flattened(own.pixels)

    def lower(self, own: Own, shape: Shape) -> tuple[Head, Shape]:
        """Run it as it is."""
        del own
        return self, (math.prod(shape),)

    def to_onnx(self, onnx: Program, name: str, inputs: Sequence[str]) -> str:
        """Write Flatten."""
        return onnx.call("Flatten", inputs, name, axis=1)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Opaque(Operator):
    """Anything else: it runs in float, and the network that has it has no integer engine."""

    kind: ClassVar[str] = "opaque"
    inputs: ClassVar[int | None] = None
    label: str  # name of the operator, for messages
    call: Callable[[Sequence[Tensor], Mapping[str, Tensor]], Tensor]
    tensors: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])  # of its own, by their names in the module
    parameters: frozenset[str] = frozenset()  # which of these are parameters
    module: str = ""  # where in the network it stands, "layer1.0.act"; empty if nothing says so
    form: str = ""  # what of it is not covered, where others of its name are: "along dimension 2"

    def run(self, *inputs: Tensor) -> Tensor:
        """Run it."""
        return self.call(inputs, self.tensors)

    def named(self) -> str:
        """Give its name as torch calls it, and its form."""
        return f"{self.label} {self.form}".rstrip()

    def bounds(self, inputs: Sequence[Span | None], own: Own) -> Span | str:
        """Nobody knows."""
        del inputs, own
        return f"{self.named()} has no integer form"

    def mapped(self, fn: Callable[[Tensor], Tensor]) -> Self:
        """Give the same with a function of its tensors."""
        return replace(self, tensors={name: fn(value) for name, value in self.tensors.items()})


Operation: TypeAlias = (
    Input
    | Convolution
    | Linear
    | BatchNorm
    | Add
    | Multiply
    | Concat
    | Activation
    | Table
    | MaxPool
    | MeanPool
    | AvgPool
    | Pad
    | Slice
    | Upsample
    | Flatten
    | Opaque
)
# What a step of the engine begins with.
Head: TypeAlias = Layer | Lookup | Multiply | Concat | AvgPool | MaxPool | Pad | Slice | Upsample | Flatten | Input

# A new operator is its class above, and its name here.
OPERATORS: tuple[type[Operation], ...] = (
    Input,
    Convolution,
    Linear,
    BatchNorm,
    Add,
    Multiply,
    Concat,
    Activation,
    Table,
    MaxPool,
    MeanPool,
    AvgPool,
    Pad,
    Slice,
    Upsample,
    Flatten,
    Opaque,
)


def is_layer(operation: Operation) -> bool:
    """Tell whether an operation has weights that are quantized."""
    return isinstance(operation, Convolution | Linear)


def _pair(value: Any) -> Pair:
    numbers = list(value) if isinstance(value, list | tuple) else [value]
    return (numbers[0], numbers[-1])


def _sized(shape: Shape, channels: int, *sides: int) -> Shape:
    return (channels, *sides[3 - len(shape) :])


def _image(name: str, shape: Shape) -> Shape:
    if len(shape) == 2:
        return (shape[0], 1, shape[1])
    if len(shape) != 3:
        raise ModelError(
            f"{name} must read an image (channels, height, width), but it reads shape {shape}.",
            hint="Give the network images.",
        )
    return shape


def _refuse_shape(name: str, wanted: str, *shapes: Shape) -> NoReturn:
    raise ModelError(
        f"The engine runs {name} on {wanted}, but a sample has shape {', '.join(map(str, shapes))}.",
        hint="Flatten in front of a linear layer; the engine has no other form of it.",
    )
