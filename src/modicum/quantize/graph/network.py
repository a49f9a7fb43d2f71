"""The graph: operations in the order in which they run, and which outputs go where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from modicum.errors import ConfigError
from modicum.quantize.graph.operations import Convolution, Linear, Operation


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


def _given(x: Tensor | None) -> list[Tensor]:
    if x is None:
        raise ConfigError("The input of the graph is needed, but x is missing.", hint="Give x.")
    return [x]
