"""The graph: operations in the order in which they run, rewritten into an equal one, and cut into units."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from modicum.errors import ConfigError
from modicum.quantize.graph.ops import AvgPool, BatchNorm, Convolution, Flatten, Linear, MeanPool, Operation, is_layer

_NUMBERS = 2**20  # ours: of the images that run at once


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Node:
    """An operation and where its inputs come from."""

    name: str  # unique in its graph; of a layer that of its module, "layer1.0.conv1"
    operation: Operation  # what is computed
    inputs: tuple[str, ...] = ()  # names of earlier nodes


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Graph:
    """Nodes in an order in which each comes after its inputs; the first is the input, the last the output."""

    nodes: tuple[Node, ...]  # the only `Input` is the first

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __getitem__(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    @property
    def output(self) -> str:
        """Name of the last node."""
        return self.nodes[-1].name

    @property
    def layers(self) -> dict[str, Convolution | Linear]:
        """What has weights, by name, in the order of running."""
        return {it.name: it.operation for it in self.nodes if isinstance(it.operation, Convolution | Linear)}

    def consumers(self, name: str) -> tuple[Node, ...]:
        """Give the nodes that read a node's output."""
        return tuple(node for node in self.nodes if name in node.inputs)

    def with_operations(self, operations: Mapping[str, Operation]) -> Graph:
        """Give the same graph with some operations replaced."""
        return Graph(nodes=tuple(replace(it, operation=operations.get(it.name, it.operation)) for it in self.nodes))

    def run(
        self,
        known: Mapping[str, Tensor],
        *,
        x: Tensor | None = None,
        wanted: tuple[str, ...] | None = None,
        through: Callable[[str, Tensor], Tensor] = lambda _, value: value,
    ) -> dict[str, Tensor]:
        """Compute the outputs of some nodes from those of others."""
        wanted = (self.output,) if wanted is None else wanted
        needed = self.needed(set(known), wanted)
        left = Counter(name for node in self.nodes if node.name in needed for name in node.inputs)
        values = dict(known)
        for node in self.nodes:
            if node.name not in needed:
                continue
            inputs = [values[name] for name in node.inputs] if node.inputs else _given(x)
            values[node.name] = through(node.name, node.operation.run(*inputs))
            for name in node.inputs:  # what nobody reads any more is freed
                left[name] -= 1
                if not left[name] and name not in wanted:
                    values.pop(name, None)
        return {name: values[name] for name in wanted}

    def needed(self, known: set[str], wanted: tuple[str, ...]) -> set[str]:
        """Give the names of the nodes that must run to get from known outputs to wanted ones."""
        needed: set[str] = set()
        open_ends = {name for name in wanted if name not in known}
        for node in reversed(self.nodes):
            if node.name in open_ends:
                needed.add(node.name)
                open_ends.update(name for name in node.inputs if name not in known)
        return needed


def in_pieces(images: Tensor) -> tuple[Tensor, ...]:
    """Split images into batches that run fast."""
    # What is between the layers leaves a processor's caches where a batch is large: 224 x 224 pixels, 64 images at once
    # take three times as long as four at a time. A GPU wants many.
    numbers = _NUMBERS if images.device.type == "cpu" else 32 * _NUMBERS
    return images.split(max(1, numbers // max(1, images[0].numel())))


def _given(x: Tensor | None) -> list[Tensor]:
    if x is None:
        raise ConfigError("The input of the graph is needed, but x is missing.", hint="Give x.")
    return [x]


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
    """Let each mean over pixels divide by a power of two, and the layers that read it by the rest."""
    operations = {}
    for node in graph:
        pool = node.operation
        if not isinstance(pool, MeanPool | AvgPool) or pool.is_shift:
            continue
        readers = _readers_after_flatten(graph, node)
        if readers and all(isinstance(reader.operation, Convolution | Linear) for reader in readers):
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """A piece of a graph."""

    entry: str  # name of the node outside whose output goes in
    nodes: tuple[str, ...]  # names, in the order of running; the last one's output goes out
    layers: tuple[str, ...]  # the names of those that have weights, at least one

    @property
    def exit(self) -> str:
        """Name of the last node."""
        return self.nodes[-1]


def units(graph: Graph) -> tuple[Unit, ...]:
    """Cut a graph wherever a single tensor is alive, and join what has no layer to what comes before it."""
    # A residual block is one unit, since its input stays alive until the addition; a layer outside of blocks is a unit
    # with the ReLU behind it.
    pieces: list[list[str]] = []
    entry: list[str] = []
    current: list[str] = []
    previous = ""
    for place, node in enumerate(graph):
        current.append(node.name)
        if not _is_cut(graph, place):
            continue
        if any(is_layer(graph[name].operation) for name in current):
            pieces.append(current)
            entry.append(previous)
        elif pieces:
            pieces[-1] += current
        current, previous = [], node.name
    return tuple(
        Unit(entry=before, nodes=tuple(piece), layers=tuple(it for it in piece if is_layer(graph[it].operation)))
        for before, piece in zip(entry, pieces, strict=True)
    )


def _is_cut(graph: Graph, place: int) -> bool:
    seen = {node.name for node in graph.nodes[: place + 1]}
    alive = {name for node in graph.nodes[place + 1 :] for name in node.inputs if name in seen}
    return alive <= {graph.nodes[place].name}
