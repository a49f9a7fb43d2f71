"""How large the integers of a quantized network can become: interval arithmetic over its graph."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from modicum.quantize.codes import ActivationGrid, Codes, Grids, WeightCode
from modicum.quantize.graph.graph import Graph, Node
from modicum.quantize.graph.ops import (
    Activation,
    Add,
    BatchNorm,
    Convolution,
    Flatten,
    Input,
    Linear,
    MeanPool,
    Opaque,
    Operation,
    Pad,
)
from modicum.quantize.graph.placement import bias_integers


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """What a tensor's values can be: k 2^unit with |k| <= bound."""

    unit: Tensor  # the exponent, float64 with integer values, shape (channels,), or (1,) for one of all channels
    bound: Tensor  # float64 with integer values, of the same shape; exact up to 2^53
    layers: frozenset[str] = frozenset()  # those whose accumulators are in these numbers, not yet brought to a grid

    @property
    def largest(self) -> int:
        """The largest bound of a channel."""
        return int(self.bound.max())


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """The integers of a network."""

    computed: dict[str, Span] = field(default_factory=dict[str, Span])
    on_grid: dict[str, Span] = field(default_factory=dict[str, Span])  # by node, what its readers see
    real: dict[str, str] = field(default_factory=dict[str, str])  # by node, why it has no integer form
    reach: dict[str, int] = field(default_factory=dict[str, int])


def accumulator_bound(integers: Tensor, largest: float, bias: Tensor) -> Tensor:
    """Bound the sums of a layer, in any order: sum |q - z| max|k| + |b|."""
    return integers.flatten(1).double().abs().sum(dim=1) * largest + bias.double().abs()


def aligned(first: Span, second: Span) -> Span:
    """Bound the sum of two tensors, both brought to the finer unit by a left shift, channel by channel."""
    unit = torch.minimum(first.unit, second.unit)
    bound = sum(it.bound * torch.exp2(it.unit - unit) for it in (first, second))
    return Span(unit=unit, bound=torch.as_tensor(bound), layers=first.layers | second.layers)


def bounds_of(graph: Graph, codes: Codes, grids: Grids) -> Bounds:
    """Bound every tensor of a network that computes with integers."""
    bounds = Bounds()
    for node in graph:
        found = _Reading(graph, codes, grids, bounds.on_grid).read(node)
        if isinstance(found, Span):
            bounds.computed[node.name] = found
            for layer in found.layers:
                bounds.reach[layer] = max(bounds.reach.get(layer, 0), found.largest)
        elif found:
            bounds.real[node.name] = found
        grid = grids.get(node.name)
        if isinstance(grid, ActivationGrid):
            bounds.on_grid[node.name] = _span(grid)
        elif isinstance(found, Span) and grid is None:
            bounds.on_grid[node.name] = found
    return bounds


def _span(grid: ActivationGrid) -> Span:
    largest = max(-grid.low, grid.high)
    return Span(unit=_one(grid.exponent), bound=_one(largest))


def _one(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float64)


@dataclass(frozen=True, slots=True)
class _Reading:
    """One look at a node; the result is a span, the reason for none, or nothing where a reason was given before."""

    graph: Graph
    codes: Codes
    grids: Grids
    spans: Mapping[str, Span]

    def read(self, node: Node) -> Span | str:
        operation = node.operation
        if isinstance(operation, Convolution | Linear):
            return self._layer(node)
        inputs = [self.spans[name] for name in node.inputs if name in self.spans]
        reason = self._reason(node)
        if reason or not inputs or len(inputs) < len(node.inputs):
            return reason
        return _combined(operation, inputs)

    def _reason(self, node: Node) -> str:
        operation, bare = node.operation, node.name not in self.grids
        if isinstance(operation, Opaque):
            return f"{operation.label} has no integer form"
        if isinstance(operation, BatchNorm):
            return "a batch norm that no layer took in"
        if isinstance(operation, Input) and bare:
            return "the input has no grid"
        if isinstance(operation, Activation) and operation.ceiling is not None and bare:
            return f"a ReLU up to {operation.ceiling:g} without a grid"
        return ""

    def _layer(self, node: Node) -> Span | str:
        code, span = self.codes.get(node.name), self.spans.get(node.inputs[0])
        if not isinstance(code, WeightCode):
            return "its weights are real"
        if span is None or len(span.unit) > 1 or span.layers:
            return "its input is on no grid"
        bias = bias_integers(self.graph, self.codes, self.grids, node.name)
        bound = accumulator_bound(code.integers, span.largest, bias)
        return Span(unit=code.exponent.double() + span.unit, bound=bound, layers=frozenset([node.name]))


def _combined(operation: Operation, inputs: list[Span]) -> Span | str:
    if isinstance(operation, Add):
        return aligned(*inputs)
    if isinstance(operation, MeanPool):
        return _mean(inputs[0], operation)
    if isinstance(operation, Pad):
        return _padded(inputs[0], operation)
    if isinstance(operation, Flatten):
        return _joined(inputs[0])
    return inputs[0]  # a ReLU, a maximum and a slice make no number larger


def _mean(span: Span, pool: MeanPool) -> Span | str:
    halvings = math.log2(pool.pixels)
    if not halvings.is_integer():
        return f"a mean that divides by {pool.pixels}"
    # A folded mean divides by more than it sums, never by less.
    return Span(unit=span.unit - halvings, bound=span.bound * pool.pixels, layers=span.layers)


def _padded(span: Span, pad: Pad) -> Span:
    if pad.channels == (0, 0) or len(span.unit) == 1:
        return span
    unit = torch.nn.functional.pad(span.unit, pad.channels, value=float(span.unit.max()))
    return Span(unit=unit, bound=torch.nn.functional.pad(span.bound, pad.channels), layers=span.layers)


def _joined(span: Span) -> Span:
    unit = span.unit.min()
    bound = (span.bound * torch.exp2(span.unit - unit)).max()
    return Span(unit=unit.reshape(1), bound=bound.reshape(1), layers=span.layers)
