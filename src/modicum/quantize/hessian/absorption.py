"""Mantissa absorption: a rectified channel between two layers may have any scale, so it takes one that suits."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from modicum.quantize.graph.network import Graph, Node
from modicum.quantize.graph.operations import (
    Activation,
    Convolution,
    Flatten,
    Linear,
    MaxPool,
    MeanPool,
    Operation,
    Pad,
    Slice,
)


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
            elif images and _keeps_channels(node.operation):
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


def _keeps_channels(operation: Operation) -> bool:
    border = isinstance(operation, Pad) and operation.channels == (0, 0)
    return border or isinstance(operation, MaxPool | MeanPool | Slice | Flatten)


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
