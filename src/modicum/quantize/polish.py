"""Whole-network polish: the neighbours of every exponent are tried, and kept where the outputs come closer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from modicum.quantize.codes import ActivationGrid
from modicum.quantize.graph.network import Graph
from modicum.quantize.graph.units import Unit, units

__all__ = ["Polished", "distance", "polish_grids"]

_LOWEST, _HIGHEST = -126, 126


@dataclass(frozen=True, kw_only=True, slots=True)
class Polished:
    """What the polish changed.

    Args:
        grids: after it.
        before: distance of the outputs before.
        after: distance after; never larger.
        moved: how many exponents were changed.
    """

    grids: dict[str, ActivationGrid]
    before: float
    after: float
    moved: int


def distance(wanted: Tensor, given: Tensor) -> float:
    """Give how far outputs are from those of the float network.

    The mean Kullback-Leibler divergence of the two softmax distributions for outputs of shape (batch, classes) with
    two classes or more, else the mean squared error.

    Args:
        wanted: of the float network.
        given: of the quantized one, same shape.

    Returns:
        A number >= 0.
    """
    if wanted.ndim == 2 and wanted.shape[1] > 1:
        first, second = log_softmax(wanted.double(), 1), log_softmax(given.double(), 1)
        return float(kl_div(second, first, reduction="batchmean", log_target=True))
    return float((wanted.double() - given.double()).square().mean())


@torch.no_grad()
def polish_grids(
    graph: Graph,
    grids: Mapping[str, ActivationGrid],
    images: Tensor,
    wanted: Tensor,
    *,
    rebuilt: Callable[[Mapping[str, ActivationGrid]], Graph],
    progress: Callable[[str], None] = lambda _: None,
) -> Polished:
    """Try one exponent more and one less for each grid, front to back; only improvements are kept.

    Args:
        graph: that is simulated, with the weights and biases of the grid.
        grids: of tensors between layers.
        images: calibration data.
        wanted: outputs of the float network for them.
        rebuilt: gives the simulated graph for other grids, whose biases are on the grid of the accumulator.
        progress: is told the name of each grid that was tried.

    Returns:
        The grids, with the distances that certify that nothing got worse.
    """
    current = dict(grids)
    pieces = units(graph)
    known: dict[str, Tensor] = {}
    best = before = distance(wanted, _outputs(graph, current, known, images))
    moved = 0
    for place, names in enumerate(_groups(graph, pieces)):
        for name in names:
            if name not in current:
                continue
            for step in (1, -1):
                exponent = current[name].exponent + step
                if not _LOWEST <= exponent <= _HIGHEST:
                    continue
                trial = {**current, name: current[name].moved(exponent)}
                if trial[name].high <= 0:
                    continue
                candidate = rebuilt(trial)
                found = distance(wanted, _outputs(candidate, trial, known, images))
                if found < best:
                    best, current, graph, moved = found, trial, candidate, moved + 1
                    break
            progress(name)
        known = _advance(graph, current, known, images, names[-1]) if place else known
    return Polished(grids=current, before=before, after=best, moved=moved)


def _groups(graph: Graph, pieces: tuple[Unit, ...]) -> list[list[str]]:
    inside = {name for piece in pieces for name in piece.nodes}
    head = [node.name for node in graph if node.name not in inside]
    return [head, *(list(piece.nodes) for piece in pieces)]


def _through(grids: Mapping[str, ActivationGrid]) -> Callable[[str, Tensor], Tensor]:
    return lambda name, value: grids[name].apply(value) if name in grids else value


def _outputs(graph: Graph, grids: Mapping[str, ActivationGrid], known: Mapping[str, Tensor], images: Tensor) -> Tensor:
    return graph.run(known, x=images, through=_through(grids))[graph.output]


def _advance(
    graph: Graph, grids: Mapping[str, ActivationGrid], known: Mapping[str, Tensor], images: Tensor, name: str
) -> dict[str, Tensor]:
    return graph.run(known, x=images, wanted=(name,), through=_through(grids))
