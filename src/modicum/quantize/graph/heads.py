"""The first operation of each step: its integer form, and what can come out of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from modicum.errors import ConfigError, ModelError
from modicum.quantize.codes import ActivationGrid, WeightCode
from modicum.quantize.engine.accumulators import Accumulator, known
from modicum.quantize.engine.program import OFFSET, Enlarge, Head, Layer, Ravel, Subsample, Total, Value, WindowMaximum
from modicum.quantize.graph.graph import Node
from modicum.quantize.graph.ops import (
    Convolution,
    Flatten,
    Linear,
    MaxPool,
    MeanPool,
    Opaque,
    Pad,
    Slice,
)
from modicum.quantize.graph.placement import bias_integers, source

if TYPE_CHECKING:
    from modicum.quantize.model import QuantizedModel


def head_of(model: QuantizedModel, node: Node, values: Mapping[str, Value]) -> tuple[Head, Accumulator]:
    """Give the integer form of an operation."""
    operation, given = node.operation, values[node.inputs[0]]
    if isinstance(operation, Convolution | Linear):
        return _layer(model, node, operation, given)
    if isinstance(operation, Flatten):
        return _flat(given)
    if len(given.shape) != 3:
        raise ModelError(
            f"{node.name} must read an image (channels, height, width), but it reads shape {given.shape}.",
            hint="Give the network images.",
        )
    if isinstance(operation, MeanPool):
        return _mean(node, operation, given)
    if isinstance(operation, MaxPool):
        return _window(node, operation, given)
    if isinstance(operation, Pad):
        return _enlarged(node, operation, given)
    if isinstance(operation, Slice):
        return _subsampled(operation, given)
    label = operation.label if isinstance(operation, Opaque) else type(operation).__name__
    raise ModelError(
        f"The engine has no integer form of {label} ({node.name}).",
        hint="Replace the operator, fold batch norms into layers, or run the simulation, which has all operators.",
    )


def _layer(
    model: QuantizedModel, node: Node, operation: Convolution | Linear, given: Value
) -> tuple[Head, Accumulator]:
    code, name = model.codes.get(node.name), node.name
    if not isinstance(code, WeightCode):
        raise ConfigError(
            f"The weights of {name} are not on a grid of powers of two.", hint="Quantize with scales='power_of_two'."
        )
    at = source(model.graph, node.inputs[0])
    grid = model.grids.get(at)
    if not isinstance(grid, ActivationGrid):
        raise ConfigError(
            f"{name} reads {at}, which has no grid of integer exponents.", hint="Quantize activations, too."
        )
    integers = code.integers.cpu().numpy()
    bias = bias_integers(model.graph, {name: code}, {at: grid}, name).cpu().numpy()
    if isinstance(operation, Convolution):
        head = Layer(
            weight=integers,
            bias=bias,
            stride=operation.stride,
            padding=operation.padding,
            dilation=operation.dilation,
            groups=operation.groups,
        )
    else:
        head = Layer(weight=integers[:, :, None, None], bias=bias)
    exponents = code.exponent.cpu().numpy().astype(np.int64) + int(given.exponents[0])
    return head, _sums(head, exponents, given, name, flat=isinstance(operation, Linear))


def _sums(head: Layer, exponents: np.ndarray, given: Value, name: str, *, flat: bool) -> Accumulator:
    wanted = head.weight.shape[1] * head.groups
    if len(given.shape) != (1 if flat else 3) or given.shape[0] != wanted:
        kind = "features (batch, n)" if flat else "images (batch, n, height, width)"
        raise ModelError(
            f"The engine runs {name} on {kind} with n = {wanted}, but a sample has shape {given.shape}.",
            hint="Flatten in front of a linear layer; the engine has no other form of it.",
        )
    shape: tuple[int, ...] = (len(head.bias),)
    if not flat:
        size = (
            (side + 2 * pad - gap * (kernel - 1) - 1) // step + 1
            for side, pad, gap, kernel, step in zip(
                given.shape[1:], head.padding, head.dilation, head.weight.shape[2:], head.stride, strict=True
            )
        )
        shape = (*shape, *size)
    weight = head.weight.reshape(len(head.bias), -1).astype(np.int64)
    up, down = np.maximum(weight, 0).sum(1).astype(object), np.minimum(weight, 0).sum(1).astype(object)
    bias, reach = head.bias.astype(object), min(given.low, 0)  # zeros around an image count as well
    low, high = bias + up * reach + down * given.high, bias + up * given.high + down * reach
    # Stored numbers are >= 0: signed ones have an offset, which is taken back in the bias.
    offset = OFFSET if given.low < 0 else 0
    met = np.abs(bias) + (up - down) * (max(abs(given.low), abs(given.high)) + 2 * offset)
    # A channel that is always 0 has any exponent; one far from the others would ask for long shifts.
    alive = (low != 0) | (high != 0)
    exponents = np.where(alive, exponents, exponents[alive].max() if alive.any() else given.exponents[0])
    return Accumulator(shape=shape, exponents=exponents, low=low, high=high, bound=int(met.max()))


def _flat(given: Value) -> tuple[Head, Accumulator]:
    channels, height, width = given.image
    shape = (channels * height * width,)
    wide = replace(given, shape=shape, exponents=np.repeat(given.exponents, height * width))
    return Ravel(), known(wide)


def _mean(node: Node, operation: MeanPool, given: Value) -> tuple[Head, Accumulator]:
    pixels = operation.pixels
    if pixels & (pixels - 1):
        raise ModelError(
            f"{node.name} is a mean over {pixels} pixels, which no shift can divide by.",
            hint="Let only linear layers read it, so that its rest goes into their weights, or change the image size.",
        )
    channels, height, width = given.image
    shape = (channels, 1, 1) if operation.keep else (channels,)
    before, count = known(given), height * width
    exponents = given.exponents - int(math.log2(pixels))
    bound = (before.bound + (OFFSET if given.low < 0 else 0)) * count
    return Total(), Accumulator(
        shape=shape, exponents=exponents, low=before.low * count, high=before.high * count, bound=bound
    )


def _window(node: Node, operation: MaxPool, given: Value) -> tuple[Head, Accumulator]:
    channels, *sides = given.image
    if any(2 * pad > kernel for pad, kernel in zip(operation.padding, operation.kernel, strict=True)):
        raise ModelError(f"{node.name} has windows outside of the image.", hint="Pad by at most half a window.")
    height, width = (
        (side + 2 * pad - kernel) // step + 1
        for side, pad, kernel, step in zip(sides, operation.padding, operation.kernel, operation.stride, strict=True)
    )
    head = WindowMaximum(kernel=operation.kernel, stride=operation.stride, padding=operation.padding)
    return head, known(replace(given, shape=(channels, height, width)))


def _enlarged(node: Node, operation: Pad, given: Value) -> tuple[Head, Accumulator]:
    pairs = (operation.channels, operation.rows, operation.columns)
    if min(it for pair in pairs for it in pair) < 0:
        raise ModelError(f"{node.name} pads by a negative width.", hint="Slice instead.")
    shape = tuple(side + sum(pair) for side, pair in zip(given.image, pairs, strict=True))
    exponents = np.pad(given.exponents, operation.channels, constant_values=int(given.exponents.min()))
    wide = replace(given, shape=shape, exponents=exponents, low=min(given.low, 0), high=max(given.high, 0))
    return Enlarge(channels=operation.channels, rows=operation.rows, columns=operation.columns), known(wide)


def _subsampled(operation: Slice, given: Value) -> tuple[Head, Accumulator]:
    channels, *sides = given.image
    height, width = (-(-side // step) for side, step in zip(sides, operation.stride, strict=True))
    return Subsample(stride=operation.stride), known(replace(given, shape=(channels, height, width)))
