"""Which tensors of a graph are brought to a grid, with how many bits, and the graph with weights of a grid."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from modicum.errors import ConfigError, ModelError
from modicum.quantize.bounds import Own
from modicum.quantize.codes import ActivationGrid, Codes, Grids, WeightCode
from modicum.quantize.configuration import LayerBits, RAPQConfig
from modicum.quantize.functional import power_of_two
from modicum.quantize.graph.graph import Graph, Node
from modicum.quantize.graph.ops import Activation, Concat, Input, Mean, Multiply, Operation, Table, is_layer

_BYTE = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """A tensor between layers that gets a grid."""

    bits: int  # of its grid
    unsigned: bool | None  # whether it cannot be negative; None if only data can tell
    ceiling: float | None = None  # the largest value that it can have (6 of a ReLU6), or None


def source(graph: Graph, name: str) -> str:
    """Give the node whose grid the output of a node is on: itself, or what pools, pads and slices before it read."""
    node = graph[name]
    return source(graph, node.inputs[0]) if node.operation.carries else name


def simulated(graph: Graph, codes: Codes, grids: Grids) -> Graph:
    """Put the weights and biases of the grid into a graph."""
    operations: dict[str, Operation] = {}
    for name, layer in graph.layers.items():
        code = codes.get(name)
        if code is None:
            continue
        bias = layer.bias
        step = bias_step(graph, codes, grids, name)
        if step is not None:
            bias = torch.round(bias.double() / step) * step
        weight = code.dequantized(torch.float64)
        operations[name] = replace(layer, weight=weight.to(layer.weight.dtype), bias=bias.to(layer.bias.dtype))
    return graph.with_operations(operations)


def bias_step(graph: Graph, codes: Codes, grids: Grids, name: str) -> Tensor | None:
    """Give the unit of a layer's accumulator, 2^(e_weight + e_input), float64 of shape (channels,); None if real."""
    code, grid = codes[name], grids.get(source(graph, graph[name].inputs[0]))
    if not isinstance(code, WeightCode) or not isinstance(grid, ActivationGrid):
        return None
    return power_of_two(code.exponent.to(torch.int32) + grid.exponent, torch.float64)


def bias_integers(graph: Graph, codes: Codes, grids: Grids, name: str) -> Tensor:
    """Give the bias of a layer in units of its accumulator."""
    step = bias_step(graph, codes, grids, name)
    if step is None:
        raise ConfigError(f"{name} has a real scale.", hint="Quantize weights and activations to powers of two.")
    return torch.round(graph.layers[name].bias.double() / step).to(torch.int64)


def own_of(graph: Graph, node: Node, codes: Codes, grids: Grids) -> Own:
    """Give what the bounds of a node are made from, beside its inputs."""
    name, code = node.name, codes.get(node.name)
    bias = None
    if code is not None and bias_step(graph, codes, grids, name) is not None:
        bias = bias_integers(graph, codes, grids, name)
    grid = grids.get(name)
    whole = grid if isinstance(grid, ActivationGrid) else None
    return Own(name=name, code=code, bias=bias, grid=whole, bare=grid is None)


def check_layers(graph: Graph, config: RAPQConfig) -> None:
    """Refuse a network without layers, weights that are not finite, and bits for layers that are not there."""
    if not graph.layers:
        raise ModelError(
            "The network has no convolution over images and no linear layer.",
            hint="Quantize a network that has one; other operators stay in float.",
        )
    for name, layer in graph.layers.items():
        if not all(bool(torch.isfinite(it).all()) for it in (layer.weight, layer.bias)):
            raise ModelError(
                f"The weights or biases of {name} are not finite.",
                hint="Look for NaN and infinite numbers in that layer, and in the batch norm behind it.",
            )
    if unknown := set(config.per_layer) - set(graph.layers):
        raise ConfigError(
            f"per_layer names {min(unknown)!r}, which is no layer of the network.",
            hint=f"Its layers are: {', '.join(graph.layers)}.",
        )


def bits_of_weights(graph: Graph, config: RAPQConfig) -> dict[str, int]:
    """Give the bits of every layer's weights."""
    layers = list(graph.layers)
    ends = {layers[0], layers[-1]}
    result = {}
    for name in layers:
        own = config.per_layer.get(name, LayerBits()).weight_bits
        result[name] = own or (config.first_last_bits if name in ends else config.weight_bits)
    return result


def sites(graph: Graph, config: RAPQConfig) -> dict[str, Site]:
    """Place grids: at the input, behind every ReLU, and before every layer."""
    # What is added to a residual stream is added in full precision and brought to a grid behind the sum. The network's
    # output has no grid.
    if config.activation_bits is None:
        return {}
    names = {node.name for node in graph if isinstance(node.operation, Input | Activation | Table)}
    for node in graph:
        if is_layer(node.operation) or isinstance(node.operation, Mean | Table | Multiply):
            names.update(source(graph, name) for name in node.inputs)
    names.discard(graph.output)
    bits = _bits(graph, config)
    return {
        node.name: Site(
            bits=bits.get(node.name, config.activation_bits),
            unsigned=_unsigned(graph, node.name),
            ceiling=node.operation.ceiling if isinstance(node.operation, Activation) else None,
        )
        for node in graph
        if node.name in names
    }


def _bits(graph: Graph, config: RAPQConfig) -> dict[str, int]:
    layers = list(graph.layers)
    result = {node.name: config.first_last_bits for node in graph if isinstance(node.operation, Input)}
    for node in graph:  # the output of the first layer, behind its ReLU
        if isinstance(node.operation, Activation | Table) and node.inputs == (layers[0],):
            result[node.name] = config.first_last_bits
    read = {source(graph, graph[name].inputs[0]) for name in layers}
    for node in graph:  # what no layer multiplies may have all bits that a byte has
        if isinstance(node.operation, Table | Multiply):
            result |= {name: _BYTE for it in node.inputs if (name := source(graph, it)) not in read | result.keys()}
    for name in layers:
        own = config.per_layer.get(name, LayerBits()).activation_bits
        if own is None and name != layers[-1]:
            continue
        wanted, open_ends = own or config.first_last_bits, [graph[name].inputs[0]]
        while open_ends:
            before = source(graph, open_ends.pop())
            result[before] = wanted
            if isinstance(graph[before].operation, Mean | Concat):  # no finer than what it is made of
                open_ends += graph[before].inputs
    return result


def _unsigned(graph: Graph, name: str) -> bool | None:
    operation = graph[name].operation
    if isinstance(operation, Activation) or (isinstance(operation, Table) and operation.unsigned):
        return True
    if isinstance(operation, Mean | Concat | Multiply):
        return all(_unsigned(graph, source(graph, it)) for it in graph[name].inputs) or None
    return None
