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

__all__ = ["absorb", "mantissas", "readers"]


def mantissas(scale: Tensor) -> Tensor:
    """Give t = 2^round(log2 s) / s, by which a channel is multiplied so that its best scale s becomes a power of two.

    Args:
        scale: s > 0, any shape.

    Returns:
        Numbers from 0.707 to 1.414.
    """
    return 2.0 ** torch.round(torch.log2(scale)) / scale


def readers(graph: Graph, name: str) -> tuple[str, ...]:
    """Find the layers that may take up the inverse of a factor on a layer's output channels.

    Args:
        graph: with batch norms folded.
        name: of a layer.

    Returns:
        The layers that read its output through one ReLU (and pools, slices and zeros around the image); nothing if
        anything else reads it, or a ceiling or a residual sum fixes its scale.
    """
    following = graph.consumers(name)
    if len(following) != 1 or not _is_relu(following[0]):
        return ()
    found: list[str] = []
    open_ends = [following[0].name]
    while open_ends:
        for node in graph.consumers(open_ends.pop()):
            if isinstance(node.operation, Convolution | Linear):
                if not _fits(graph, name, node):
                    return ()
                found.append(node.name)
            elif isinstance(node.operation, MaxPool | MeanPool | Slice | Flatten) or _is_border(node.operation):
                open_ends.append(node.name)
            else:
                return ()
        if graph.output in open_ends or (graph.output == following[0].name):
            return ()
    return tuple(found)


def absorb(graph: Graph, name: str, factor: Tensor) -> Graph:
    """Multiply the output channels of a layer, and divide the input channels of those that read it.

    ReLU is homogeneous, so the function of the network is unchanged.

    Args:
        graph: with batch norms folded.
        name: of a layer that has `readers`.
        factor: t > 0, shape (channels,).

    Returns:
        An equal graph.
    """
    layer = graph.layers[name]
    operations: dict[str, Operation] = {name: _times(layer, factor)}
    for reader in readers(graph, name):
        operations[reader] = _over(graph.layers[reader], factor)
    return graph.with_operations(operations)


def _is_relu(node: Node) -> bool:
    return isinstance(node.operation, Activation) and node.operation.ceiling is None


def _is_border(operation: Operation) -> bool:
    return isinstance(operation, Pad) and operation.channels == (0, 0)


def _fits(graph: Graph, name: str, reader: Node) -> bool:
    channels = len(graph.layers[name].weight)
    layer = graph.layers[reader.name]
    if isinstance(layer, Linear):
        return layer.weight.shape[1] % channels == 0
    return layer.groups in {1, channels}


def _times(layer: Convolution | Linear, factor: Tensor) -> Convolution | Linear:
    weight = (layer.weight.double() * factor.view(-1, *[1] * (layer.weight.ndim - 1))).to(layer.weight.dtype)
    return replace(layer, weight=weight, bias=(layer.bias.double() * factor).to(layer.bias.dtype))


def _over(layer: Convolution | Linear, factor: Tensor) -> Convolution | Linear:
    weight = layer.weight.double()
    if isinstance(layer, Convolution) and layer.groups > 1:
        weight = weight / factor.repeat_interleave(len(weight) // len(factor)).view(-1, 1, 1, 1)
    elif isinstance(layer, Convolution):
        weight = weight / factor.view(1, -1, 1, 1)
    else:  # several pixels of a channel lie beside each other behind a Flatten
        weight = weight / factor.repeat_interleave(weight.shape[1] // len(factor))
    return replace(layer, weight=weight.to(layer.weight.dtype))
