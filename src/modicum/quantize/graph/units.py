"""Reconstruction units: the smallest pieces of a graph with one way in and one way out."""

from __future__ import annotations

from dataclasses import dataclass

from modicum.quantize.graph.network import Graph
from modicum.quantize.graph.operations import is_layer


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
