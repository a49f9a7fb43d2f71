"""Operators of an exported program that a graph knows by name: each reader gives an operation, or nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, fx

from modicum.quantize.graph.ops import (
    Activation,
    Add,
    BatchNorm,
    Convolution,
    Flatten,
    Linear,
    MaxPool,
    MeanPool,
    Operation,
    Pad,
    Pair,
    Slice,
)

Reader: TypeAlias = "Callable[[Call], tuple[Operation, int] | None]"


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


def _convolution(call: Call) -> tuple[Operation, int] | None:
    weight = call.constant(1, "weight")
    padding = call.argument(4, "padding", 0)
    dilation = _pair(call.argument(5, "dilation", 1))
    if weight is None:
        return None
    if isinstance(padding, str):
        reach = [step * (size - 1) for step, size in zip(dilation, weight.shape[2:], strict=True)]
        if padding == "same" and any(it % 2 for it in reach):
            return None
        padding = [it // 2 for it in reach] if padding == "same" else 0
    bias = call.constant(2, "bias")
    return Convolution(
        weight=weight,
        bias=weight.new_zeros(len(weight)) if bias is None else bias,
        stride=_pair(call.argument(3, "stride", 1)),
        padding=_pair(padding),
        dilation=dilation,
        groups=call.argument(6, "groups", 1),
    ), 1


def _linear(call: Call) -> tuple[Operation, int] | None:
    weight, bias = call.constant(1, "weight"), call.constant(2, "bias")
    if weight is None:
        return None
    return Linear(weight=weight, bias=weight.new_zeros(len(weight)) if bias is None else bias), 1


def _batch_norm(call: Call) -> tuple[Operation, int] | None:
    mean, variance = call.constant(3, "running_mean"), call.constant(4, "running_var")
    if mean is None or variance is None or call.argument(5, "training", default=False):
        return None
    weight, bias = call.constant(1, "weight"), call.constant(2, "bias")
    return BatchNorm(
        weight=torch.ones_like(mean) if weight is None else weight,
        bias=torch.zeros_like(mean) if bias is None else bias,
        mean=mean,
        variance=variance,
        epsilon=call.argument(7, "eps", 1e-5),
    ), 1


def _add(call: Call) -> tuple[Operation, int] | None:
    first, second = call.node.args[:2]
    both = isinstance(first, fx.Node) and isinstance(second, fx.Node)
    if not both or call.argument(2, "alpha", 1) != 1:
        return None
    shapes = [tuple(cast("fx.Node", it).meta["val"].shape) for it in (first, second)]
    return (Add(), 2) if shapes[0] == shapes[1] and not _constants(call) else None


def _hardtanh(call: Call) -> tuple[Operation, int] | None:
    low, high = call.argument(1, "min_val", -1.0), call.argument(2, "max_val", 1.0)
    return (Activation(ceiling=float(high)), 1) if low == 0 and high is not None and high > 0 else None


def _max_pool(call: Call) -> tuple[Operation, int] | None:
    kernel = _pair(call.argument(1, "kernel_size"))
    stride = _pair(call.argument(2, "stride") or kernel)
    if _pair(call.argument(4, "dilation", 1)) != (1, 1) or call.argument(5, "ceil_mode", default=False):
        return None
    return MaxPool(kernel=kernel, stride=stride, padding=_pair(call.argument(3, "padding", 0))), 1


def _mean(call: Call) -> tuple[Operation, int] | None:
    axes = sorted(axis % len(call.shape) for axis in call.argument(1, "dim", None) or [])
    plain = axes == [2, 3] and call.argument(3, "dtype") is None
    return _pool(call, keep=bool(call.argument(2, "keepdim", default=False))) if plain else None


def _average_pool(call: Call) -> tuple[Operation, int] | None:
    whole = _pair(call.argument(1, "kernel_size")) == call.shape[2:] and call.result[2:] == (1, 1)
    plain = call.argument(6, "divisor_override") is None and _pair(call.argument(3, "padding", 0)) == (0, 0)
    return _pool(call, keep=True) if whole and plain else None


def _adaptive_pool(call: Call) -> tuple[Operation, int] | None:
    return _pool(call, keep=True) if _pair(call.argument(1, "output_size")) == (1, 1) else None


def _pool(call: Call, *, keep: bool) -> tuple[Operation, int] | None:
    if len(call.shape) != 4 or not all(isinstance(it, int) for it in call.shape[2:]):
        return None
    return MeanPool(pixels=math.prod(call.shape[2:]), keep=keep), 1


def _pad(call: Call) -> tuple[Operation, int] | None:
    widths = list(call.argument(1, "pad"))
    plain = call.argument(2, "mode", "constant") == "constant" and not call.argument(3, "value", 0.0)
    if len(call.shape) != 4 or not plain or len(widths) > 6 or min(widths) < 0:
        return None
    widths += [0] * (6 - len(widths))
    return Pad(columns=_pair(widths[:2]), rows=_pair(widths[2:4]), channels=_pair(widths[4:])), 1


def _slice(call: Call) -> tuple[Operation, int] | None:
    axis, start, step = (
        call.argument(place, name, default)
        for place, name, default in ((1, "dim", 0), (2, "start", None), (4, "step", 1))
    )
    axis = axis % len(call.shape)
    # A size that is free is compared as it is written: x[: n // 2] is not the whole batch.
    expected = call.shape[axis] if step == 1 else -(-call.shape[axis] // step) if axis in {2, 3} else None
    if start or str(call.result[axis]) != str(expected) or (step > 1 and len(call.shape) != 4):
        return None
    return Slice(stride=(step if axis == 2 else 1, step if axis == 3 else 1)), 1


def _flatten(call: Call) -> tuple[Operation, int] | None:
    features = call.shape[1:]
    flat = len(call.result) == 2 and len(features) in {1, 3} and call.result[1] == math.prod(features)
    return (Flatten(), 1) if flat else None


READERS: dict[str, Reader] = {
    "conv2d": _convolution,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "_native_batch_norm_legit_no_training": _batch_norm,
    "add": _add,
    "relu": lambda _: (Activation(), 1),
    "relu6": lambda _: (Activation(ceiling=6.0), 1),
    "hardtanh": _hardtanh,
    "max_pool2d": _max_pool,
    "mean": _mean,
    "avg_pool2d": _average_pool,
    "adaptive_avg_pool2d": _adaptive_pool,
    "pad": _pad,
    "constant_pad_nd": _pad,
    "slice": _slice,
    "flatten": _flatten,
    "view": _flatten,
    "reshape": _flatten,
}


def _constants(call: Call) -> bool:
    return any(isinstance(it, fx.Node) and it.name in call.tensors for it in call.node.args)


def _pair(value: Any) -> Pair:
    numbers = list(value) if isinstance(value, list | tuple) else [value]
    return (numbers[0], numbers[-1])
