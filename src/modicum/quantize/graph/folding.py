"""Rewriting a graph into an equal one: batch norms into layers, and means that integers can take."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from modicum.quantize.graph.network import Graph, Node
from modicum.quantize.graph.operations import BatchNorm, Convolution, Flatten, Linear, MeanPool


def fold_batch_norms(graph: Graph) -> Graph:
    """Put each batch norm that alone reads a layer's output into that layer."""
    # w' = gamma w / sqrt(var + eps), b' = beta + gamma (b - mean) / sqrt(var + eps); gamma is kept beside the weight,
    # since the reconstruction loss is made from it.
    operations, renamed = {}, {}
    for node in graph:
        before = graph[node.inputs[0]] if isinstance(node.operation, BatchNorm) else None
        if before is None or not isinstance(before.operation, Convolution | Linear):
            continue
        if len(graph.consumers(before.name)) == 1 and isinstance(node.operation, BatchNorm):
            operations[before.name] = _fold(before.operation, node.operation)
            renamed[node.name] = before.name
    nodes = [
        replace(
            node,
            operation=operations.get(node.name, node.operation),
            inputs=tuple(renamed.get(name, name) for name in node.inputs),
        )
        for node in graph
        if node.name not in renamed
    ]
    return Graph(nodes=tuple(nodes))


def fold_means(graph: Graph) -> Graph:
    """Let each mean over pixels divide by a power of two, and the linear layers that read it by the rest."""
    operations = {}
    for node in graph:
        pool = node.operation
        if not isinstance(pool, MeanPool) or pool.pixels & (pool.pixels - 1) == 0:
            continue
        readers = _readers_after_flatten(graph, node)
        if readers and all(isinstance(reader.operation, Linear) for reader in readers):
            pixels = 1 << pool.pixels.bit_length()
            operations[node.name] = replace(pool, pixels=pixels)
            for reader in readers:
                linear = operations.get(reader.name, reader.operation)
                operations[reader.name] = replace(linear, weight=linear.weight * (pixels / pool.pixels))
    return graph.with_operations(operations)


def folded(graph: Graph) -> Graph:
    """Fold all that can be folded."""
    return fold_means(fold_batch_norms(graph))


def _fold(layer: Convolution | Linear, norm: BatchNorm) -> Convolution | Linear:
    # In float64: a variance near 0 would otherwise cost digits.
    gain = norm.weight.double() / torch.sqrt(norm.variance.double() + norm.epsilon)
    weight = layer.weight.double() * gain.view(-1, *[1] * (layer.weight.ndim - 1))
    bias = norm.bias.double() + gain * (layer.bias.double() - norm.mean.double())
    return replace(layer, weight=_as(weight, layer.weight), bias=_as(bias, layer.bias), gamma=norm.weight)


def _as(x: Tensor, like: Tensor) -> Tensor:
    return x.to(like.dtype)


def _readers_after_flatten(graph: Graph, node: Node) -> list[Node]:
    readers: list[Node] = []
    for reader in graph.consumers(node.name):
        readers += _readers_after_flatten(graph, reader) if isinstance(reader.operation, Flatten) else [reader]
    return readers
