"""What a unit has to learn: its nodes, what goes in, what should come out, and how far it is off."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor

from modicum.quantize.codes import ActivationGrid, WeightCode
from modicum.quantize.functional import unit_loss
from modicum.quantize.graph.network import Graph
from modicum.quantize.graph.units import Unit

_AT_ONCE = 256  # images
_BATCH = 32

_Through: TypeAlias = Callable[[str, Tensor], Tensor]


def _unchanged(_: str, value: Tensor) -> Tensor:
    return value


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Task:
    """One unit with its data."""

    piece: Graph  # the unit's nodes alone
    unit: Unit  # names of the nodes
    given: Tensor  # output of its entry in the quantized network, shape (images, ...)
    target: Tensor  # output of its exit in the float network, shape (images, ...)
    p: float  # exponent of its loss
    own_entry: bool = False  # whether the grid of the entry is the unit's to learn

    def output(self, piece: Graph, given: Tensor, through: _Through = _unchanged) -> Tensor:
        """Run the unit on a batch."""
        entry = self.unit.entry
        known = {entry: through(entry, given) if self.own_entry else given}
        return piece.run(known, wanted=(self.unit.exit,), through=through)[self.unit.exit]

    def with_codes(self, codes: Mapping[str, WeightCode]) -> Graph:
        """Give the unit's nodes with the weights of the grid in its layers."""
        layers = {
            name: replace(layer, weight=codes[name].dequantized(layer.weight.dtype))
            for name, layer in self.piece.layers.items()
        }
        return self.piece.with_operations(layers)

    @torch.no_grad()
    def advance(self, piece: Graph, grids: Mapping[str, ActivationGrid]) -> Tensor:
        """Run the unit on all images."""
        through = on_grids(grids)
        return torch.cat([self.output(piece, part, through) for part in self.given.split(_AT_ONCE)])

    @torch.no_grad()
    def loss(self, piece: Graph, grids: Mapping[str, ActivationGrid]) -> float:
        """Give the unit loss on all images."""
        through = on_grids(grids)
        parts = zip(self.given.split(_AT_ONCE), self.target.split(_AT_ONCE), strict=True)
        total = sum(
            float(unit_loss(self.output(piece, given, through), target, self.p)) * len(given) for given, target in parts
        )
        return total / len(self.given)

    def batches(self, count: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Draw batches of 32 images without repetition, each anew."""
        for _ in range(count):
            chosen = torch.randperm(len(self.given), generator=generator)[:_BATCH].to(self.given.device)
            yield self.given[chosen], self.target[chosen]


def on_grids(grids: Mapping[str, ActivationGrid]) -> _Through:
    """Give the function that brings a node's output to its grid, if it has one."""

    def through(name: str, value: Tensor) -> Tensor:
        grid = grids.get(name)
        return value if grid is None else grid.apply(value)

    return through
