"""Whole-network polish: exponents beside the chosen ones are tried, and kept where the outputs come closer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax, mse_loss

from modicum.quantize.codes import ActivationGrid, WeightCode
from modicum.quantize.graph.graph import Graph, Unit, units

_LOWEST, _HIGHEST = -126, 126


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """What the polish may change."""

    codes: Mapping[str, WeightCode]  # of the layers
    biases: Mapping[str, Tensor]  # of the layers, not on a grid yet
    grids: Mapping[str, ActivationGrid]  # of tensors between layers


Moves = Callable[[State, str], Iterable[State]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Polished:
    """What the polish did."""

    state: State  # after it
    before: float  # distance of the outputs before
    after: float  # distance after; never larger
    moved: int  # how many moves were kept


def output_distance(wanted: Tensor, given: Tensor) -> Tensor:
    """Give how far outputs are from those of the float network, as a number that can be differentiated."""
    # The mean Kullback-Leibler divergence of the two softmax distributions for outputs of shape (batch, classes) with
    # two classes or more, else the mean squared error.
    if wanted.ndim == 2 and wanted.shape[1] > 1:
        first, second = log_softmax(wanted.double(), 1), log_softmax(given.double(), 1)
        return kl_div(second, first, reduction="batchmean", log_target=True)
    return mse_loss(given.double(), wanted.double())


def distance(wanted: Tensor, given: Tensor) -> float:
    """Give `output_distance` as a plain number."""
    return float(output_distance(wanted, given))


def grid_moves(state: State, name: str) -> Iterable[State]:
    """Move the grid of a node by one exponent."""
    grid = state.grids.get(name)
    if grid is None:
        return
    for exponent in (grid.exponent + 1, grid.exponent - 1):
        if not _LOWEST <= exponent <= _HIGHEST:
            continue
        moved = grid.moved(exponent)
        if moved.high > 0:
            yield replace(state, grids={**state.grids, name: moved})


@torch.no_grad()
def polish(
    state: State,
    images: Tensor,
    wanted: Tensor,
    *,
    rebuilt: Callable[[State], Graph],
    moves: Iterable[Moves] = (grid_moves,),
    progress: Callable[[str], None] = lambda _: None,
) -> Polished:
    """Try the moves of each node, front to back; the first that brings the outputs closer is kept, no other."""
    kinds = tuple(moves)
    graph = rebuilt(state)
    known: dict[str, Tensor] = {}
    best = before = distance(wanted, _run(graph, state, known, images, graph.output)[graph.output])
    moved = 0
    for place, names in enumerate(_groups(graph, units(graph))):
        for name in names:
            for kind in kinds:
                for trial in kind(state, name):
                    candidate = rebuilt(trial)
                    found = distance(wanted, _run(candidate, trial, known, images, graph.output)[graph.output])
                    if found < best:
                        best, state, graph, moved = found, trial, candidate, moved + 1
                        break
            progress(name)
        known = _run(graph, state, known, images, names[-1]) if place else known
    return Polished(state=state, before=before, after=best, moved=moved)


def _groups(graph: Graph, pieces: tuple[Unit, ...]) -> list[list[str]]:
    inside = {name for piece in pieces for name in piece.nodes}
    head = [node.name for node in graph if node.name not in inside]
    return [head, *(list(piece.nodes) for piece in pieces)]


def _run(graph: Graph, state: State, known: Mapping[str, Tensor], images: Tensor, name: str) -> dict[str, Tensor]:
    through = lambda at, value: state.grids[at].apply(value) if at in state.grids else value
    return graph.run(known, x=images, wanted=(name,), through=through)
