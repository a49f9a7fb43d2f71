"""The walk through a network: each layer is quantized on what the quantized network before it gives."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, cast

import torch
from torch import Tensor

from modicum.errors import ModelError
from modicum.quantize.codes import ActivationGrid, Codes, FloatActivationGrid, FloatWeightCode, Grids, WeightCode
from modicum.quantize.functional import Rounding
from modicum.quantize.graph.graph import Graph, Node
from modicum.quantize.graph.ops import (
    Activation,
    Add,
    Convolution,
    Flatten,
    Linear,
    MeanPool,
    Operation,
)
from modicum.quantize.graph.placement import Site, simulated
from modicum.quantize.hessian.moments import Moments, choose_damping, measure, rounding_gram, together, wanted_weights
from modicum.quantize.hessian.search import Solution, solve
from modicum.quantize.scales import choose_grid

_BYTE, _SIGN = 8, 128


class GridChoice(Protocol):
    """How a tensor's grid is chosen."""

    def __call__(
        self, site: Site, wanted: Tensor, given: Tensor, *, rounding: Rounding
    ) -> ActivationGrid | FloatActivationGrid:
        """Choose it; see `choose_grid`."""
        ...


class Choice(Protocol):
    """How a layer's scale, zero point and whole weights are chosen."""

    def __call__(self, weight: Tensor, wanted: Tensor, gram: Tensor, bits: int, *, shared: bool) -> Solution:
        """Choose them."""
        ...


def powers_of_two(weight: Tensor, wanted: Tensor, gram: Tensor, bits: int, *, shared: bool) -> Solution:
    """Try all exponents with all zero points."""
    del weight
    return solve(wanted, gram, bits, power=True, shared=shared)


def float_scales(weight: Tensor, wanted: Tensor, gram: Tensor, bits: int, *, shared: bool) -> Solution:
    """Try real scales with all zero points: the control."""
    del weight
    return solve(wanted, gram, bits, power=False, shared=shared)


@dataclass(frozen=True, kw_only=True, slots=True)
class Layered:
    """What the walk found."""

    graph: Graph  # the float network, with absorbed factors
    biases: dict[str, Tensor]  # of the quantized layers, not on a grid yet, by name
    codes: dict[str, WeightCode] | dict[str, FloatWeightCode]  # of every layer
    grids: dict[str, ActivationGrid] | dict[str, FloatActivationGrid]  # of every site

    @property
    def corrected(self) -> Graph:
        """The float network with the biases of the quantized layers: what `simulated` is given."""
        return with_biases(self.graph, self.biases)


def with_biases(graph: Graph, biases: Mapping[str, Tensor]) -> Graph:
    """Give the same graph with other biases."""
    return graph.with_operations({name: replace(graph.layers[name], bias=bias) for name, bias in biases.items()})


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How a network is quantized."""

    bits: Mapping[str, int]  # of each layer's weights
    sites: Mapping[str, Site]  # of grids
    choice: Choice  # chooses scales, zero points and weights
    power: bool  # whether scales are powers of two, of activations too
    grid_choice: GridChoice | None = None  # chooses grids; `choose_grid` if left out
    shared: bool = False  # one scale for a whole weight
    absorbing: bool = False  # let rectified channels take the mantissas
    correcting: bool = True  # aim at the float network's outputs, with free biases
    rounding: Rounding = "half_even"  # of requantization


def quantize_layers(
    graph: Graph,
    images: Tensor,
    recipe: Recipe,
    *,
    reference: Tensor | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Layered:
    """Quantize a network front to back."""
    # Two streams run side by side: the float network, and the one that is quantized so far. A layer's target is its
    # output in the first, plus what the other addend lacks where its output is added to a residual stream.
    walk = _Walk(graph, (images if reference is None else reference, images), recipe)
    for place, node in enumerate(graph):
        walk.visit(node.name, place)
        if node.name in recipe.bits:
            progress(node.name)
    return Layered(
        graph=walk.graph,
        biases=walk.biases,
        codes=walk.codes,  # type: ignore[arg-type] - all of one kind
        grids=walk.grids,  # type: ignore[arg-type]
    )


class _Walk:
    def __init__(self, graph: Graph, images: tuple[Tensor, Tensor], recipe: Recipe) -> None:
        self.graph = graph
        self.biases: dict[str, Tensor] = {}
        self.codes: dict[str, WeightCode | FloatWeightCode] = {}
        self.grids: dict[str, ActivationGrid | FloatActivationGrid] = {}
        self._images = images
        self._recipe = recipe
        self._float: dict[str, Tensor] = {}
        self._quantized: dict[str, Tensor] = {}

    def visit(self, name: str, place: int) -> None:
        """Run a node in both streams; a layer is quantized first."""
        if name in self._recipe.bits:
            self._quantize(name)
        else:
            node = self.graph[name]
            for stream, images in zip((self._float, self._quantized), self._images, strict=True):
                given = [stream[it] for it in node.inputs] or [images]
                stream[name] = node.operation.run(*given)
        site = self._recipe.sites.get(name)
        if site is not None:
            _check_finite(name, self._float[name], self._quantized[name])
            choice = self._recipe.grid_choice or functools.partial(choose_grid, power=self._recipe.power)
            grid = choice(site, self._float[name], self._quantized[name], rounding=self._recipe.rounding)
            self.grids[name] = grid
            self._quantized[name] = grid.apply(self._quantized[name])
        self._forget(place)

    def _quantize(self, name: str) -> None:
        node = self.graph[name]
        layer = self.graph.layers[name]
        x, given = self._float[node.inputs[0]], self._quantized[node.inputs[0]]
        target = layer.run(x)
        _check_finite(name, target)
        owed = self._owed(node)
        aim = (target if owed is None else target + owed) if self._recipe.correcting else layer.run(given)
        halves = (measure(layer, given[::2], aim[::2]), measure(layer, given[1::2], aim[1::2]))
        moments = together(*halves)
        wanted = wanted_weights(layer.weight, moments, damping=choose_damping(layer.weight, halves))
        gram = rounding_gram(moments)
        if self._recipe.absorbing and readers(self.graph, name):
            real = solve(_rows(wanted, gram), gram, self._recipe.bits[name], power=False, keep=2)
            factor = mantissas(real.scale)
            self.graph = absorb(self.graph, name, factor)
            layer = self.graph.layers[name]
            target = target * _on_channels(factor, target, layer)
            wanted = wanted * factor[:, None]
            moments = replace(moments, outputs=moments.outputs * factor)
        flat = layer.weight.double().flatten(1)
        found = self._recipe.choice(
            flat, _rows(wanted, gram), gram, self._recipe.bits[name], shared=self._recipe.shared
        )
        code = _code(found, layer, self._recipe.bits[name], power=self._recipe.power)
        bias = _free_bias(code, moments) if self._recipe.correcting else layer.bias
        self.codes[name], self.biases[name] = code, bias.to(layer.bias.dtype)
        self._float[name] = target
        self._quantized[name] = self._simulated(name).run(given)

    def _simulated(self, name: str) -> Convolution | Linear:
        # With its bias on the grid, since later layers make up for what that costs, too.
        graph = with_biases(self.graph, {name: self.biases[name]})
        codes, grids = cast("Codes", {name: self.codes[name]}), cast("Grids", self.grids)
        return simulated(graph, codes, grids).layers[name]

    def _owed(self, node: Node) -> Tensor | None:
        following = self.graph.consumers(node.name)
        if len(following) != 1 or not isinstance(following[0].operation, Add):
            return None
        other = next((it for it in following[0].inputs if it != node.name), None)
        if other is None or other not in self._quantized:
            return None
        return self._float[other] - self._quantized[other]

    def _forget(self, place: int) -> None:
        needed = {name for node in self.graph.nodes[place + 1 :] for name in node.inputs}
        for stream in (self._float, self._quantized):
            for name in set(stream) - needed:
                del stream[name]


def _check_finite(name: str, *values: Tensor) -> None:
    if not all(bool(torch.isfinite(it).all()) for it in values):
        raise ModelError(
            f"{name} gives values on the calibration samples that are not finite.",
            hint="Look for NaN, infinite and very large numbers in what runs before it.",
        )


def _rows(wanted: Tensor, gram: Tensor) -> Tensor:
    return wanted.reshape(len(gram), -1, gram.shape[1])


def _free_bias(code: WeightCode | FloatWeightCode, moments: Moments) -> Tensor:
    weight = code.dequantized(torch.float64).flatten(1)
    means = moments.inputs.repeat_interleave(len(weight) // len(moments.inputs), 0)
    return moments.outputs - (weight * means).sum(1)


def _on_channels(factor: Tensor, target: Tensor, layer: Convolution | Linear) -> Tensor:
    shape = (-1, *[1] * (target.ndim - 2)) if isinstance(layer, Convolution) else (-1,)
    return factor.to(target.dtype).view(shape)


def _code(found: Solution, layer: Convolution | Linear, bits: int, *, power: bool) -> WeightCode | FloatWeightCode:
    codes = (found.integers + found.zero[:, None]).reshape(layer.weight.shape)
    # The controls may choose a zero point that cannot be stored: none of the levels or, at 8 bits, another than 128.
    stored = torch.full_like(found.zero, _SIGN) if bits == _BYTE else found.zero.round().clamp(0, 2**bits - 1)
    whole = torch.equal(found.zero, stored)
    if not power or not whole:
        return FloatWeightCode(codes=codes.float(), zero=found.zero.float(), scale=found.scale.float(), bits=bits)
    exponent = torch.log2(found.scale).round().to(torch.int8)
    codes, zero = (it.round().to(torch.uint8) for it in (codes, found.zero))
    return WeightCode(codes=codes, zero=zero, exponent=exponent, bits=bits)


def mantissas(scale: Tensor) -> Tensor:
    """Give t = 2^round(log2 s) / s, which makes the best scale s of a channel a power of two."""
    return 2.0 ** torch.round(torch.log2(scale)) / scale


def readers(graph: Graph, name: str) -> tuple[str, ...]:
    """Find the layers that may take up the inverse of a factor on a layer's output channels."""
    following = graph.consumers(name)
    if len(following) != 1 or not _is_relu(following[0]):
        return ()
    images = isinstance(graph[name].operation, Convolution)
    found: list[str] = []
    open_ends = [(following[0].name, images)]  # a tensor, and whether its channels are those of images
    while open_ends:
        before, images = open_ends.pop()
        if before == graph.output:
            return ()
        for node in graph.consumers(before):
            if isinstance(node.operation, Convolution if images else Linear):
                found.append(node.name)
            elif images and node.operation.keeps_channels:
                open_ends.append((node.name, not _flattens(node.operation)))
            else:
                return ()
    return tuple(found)


def absorb(graph: Graph, name: str, factor: Tensor) -> Graph:
    """Multiply the output channels of a layer, and divide the input channels of those that read it."""
    # ReLU is homogeneous, so the function of the network is unchanged.
    layer = graph.layers[name]
    operations: dict[str, Operation] = {name: _times(layer, factor)}
    for reader in readers(graph, name):
        operations[reader] = _over(graph.layers[reader], factor)
    return graph.with_operations(operations)


def _is_relu(node: Node) -> bool:
    return isinstance(node.operation, Activation) and node.operation.ceiling is None


def _flattens(operation: Operation) -> bool:
    return isinstance(operation, Flatten) or (isinstance(operation, MeanPool) and not operation.keep)


def _times(layer: Convolution | Linear, factor: Tensor) -> Convolution | Linear:
    weight = (layer.weight.double() * factor.view(-1, *[1] * (layer.weight.ndim - 1))).to(layer.weight.dtype)
    return replace(layer, weight=weight, bias=(layer.bias.double() * factor).to(layer.bias.dtype))


def _over(layer: Convolution | Linear, factor: Tensor) -> Convolution | Linear:
    weight = layer.weight.double()
    if isinstance(layer, Convolution):
        by_group = factor.view(layer.groups, 1, -1)  # each group of outputs reads its own channels
        weight = weight / by_group.expand(-1, len(weight) // layer.groups, -1).reshape(len(weight), -1, 1, 1)
    else:  # several pixels of a channel lie beside each other behind a Flatten
        weight = weight / factor.repeat_interleave(weight.shape[1] // len(factor))
    return replace(layer, weight=weight.to(layer.weight.dtype))
