"""Whole-network polish: exponents beside the chosen ones are tried, and kept where the outputs come closer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax, mse_loss

from modicum.quantize.codes import ActivationGrid
from modicum.quantize.graph.graph import Graph, Unit, in_pieces, units
from modicum.quantize.graph.placement import simulated
from modicum.quantize.hessian.layers import Layered

_LOWEST, _HIGHEST = -126, 126


@dataclass(frozen=True, kw_only=True, slots=True)
class Polished:
    """What the polish did."""

    layered: Layered  # with the grids after it
    before: float  # distance of the outputs before
    after: float  # distance after; never larger
    moved: int  # how many moves were kept


def distance(wanted: Tensor, given: Tensor) -> float:
    """Give how far outputs are from those of the float network."""
    # The mean Kullback-Leibler divergence of the two softmax distributions for outputs of shape (batch, classes) with
    # two classes or more, else the mean squared error.
    if wanted.ndim == 2 and wanted.shape[1] > 1:
        first, second = log_softmax(wanted.double(), 1), log_softmax(given.double(), 1)
        return float(kl_div(second, first, reduction="batchmean", log_target=True))
    return float(mse_loss(given.double(), wanted.double()))


@torch.no_grad()
def polish(layered: Layered, images: Tensor, *, progress: Callable[[str], None] = lambda _: None) -> Polished:
    """Try both neighbours of each grid, front to back; the first that brings the outputs closer is kept, no other."""
    pieces = in_pieces(images)
    wanted = torch.cat([layered.graph.run({}, x=piece)[layered.graph.output] for piece in pieces])
    grids = cast("Mapping[str, ActivationGrid]", layered.grids)
    graph = _rebuilt(layered, grids)
    known: list[dict[str, Tensor]] = [{} for _ in pieces]

    def run(graph: Graph, grids: Mapping[str, ActivationGrid], name: str) -> list[dict[str, Tensor]]:
        through = lambda at, value: grids[at].apply(value) if at in grids else value
        return [
            graph.run(before, x=piece, wanted=(name,), through=through)
            for before, piece in zip(known, pieces, strict=True)
        ]

    def off(graph: Graph, grids: Mapping[str, ActivationGrid]) -> float:
        return distance(wanted, torch.cat([it[graph.output] for it in run(graph, grids, graph.output)]))

    best = before = off(graph, grids)
    moved = 0
    for place, names in enumerate(_groups(graph, units(graph))):
        for name in names:
            for trial in _moves(grids, name):
                candidate = _rebuilt(layered, trial)
                found = off(candidate, trial)
                if found < best:
                    best, grids, graph, moved = found, trial, candidate, moved + 1
                    break
            progress(name)
        known = run(graph, grids, names[-1]) if place else known
    return Polished(layered=replace(layered, grids=dict(grids)), before=before, after=best, moved=moved)


def _moves(grids: Mapping[str, ActivationGrid], name: str) -> Iterator[Mapping[str, ActivationGrid]]:
    grid = grids.get(name)
    if grid is None:
        return
    for exponent in (grid.exponent + 1, grid.exponent - 1):
        if _LOWEST <= exponent <= _HIGHEST and (moved := grid.moved(exponent)).high > 0:
            yield {**grids, name: moved}


def _rebuilt(layered: Layered, grids: Mapping[str, ActivationGrid]) -> Graph:
    return simulated(layered.corrected, layered.codes, grids)


def _groups(graph: Graph, pieces: tuple[Unit, ...]) -> list[list[str]]:
    inside = {name for piece in pieces for name in piece.nodes}
    head = [node.name for node in graph if node.name not in inside]
    return [head, *(list(piece.nodes) for piece in pieces)]
