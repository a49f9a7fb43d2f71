"""Unit-wise reconstruction: each unit learns to give on quantized input what the float unit gives on float input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from torch import Tensor

from modicum.errors import ConfigError
from modicum.quantize.codes import ActivationGrid, WeightCode
from modicum.quantize.configuration import RAPQConfig
from modicum.quantize.graph.network import Graph
from modicum.quantize.graph.placement import bits_of_weights
from modicum.quantize.graph.units import Unit, units
from modicum.quantize.hessian.layers import with_biases
from modicum.quantize.paper.activations import learn_grids
from modicum.quantize.paper.exponents import exponent_of_unit, last_gamma
from modicum.quantize.paper.rounding import learn_rounding
from modicum.quantize.paper.soft import SoftWeights
from modicum.quantize.paper.task import Task, on_grids

_Stage: TypeAlias = Literal["weights", "activations"]
# The unit as it will run from now on, with its grids, and the loss before and after.
_Learned: TypeAlias = tuple[Graph, Mapping[str, ActivationGrid], float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class UnitReport:
    """What one pass over one unit did."""

    unit: str  # name of its last node
    stage: _Stage  # "weights" or "activations"
    p: float  # exponent of its loss
    batch_norm: bool  # whether a batch norm was folded into one of its layers; without, p is 2
    before: float  # loss on all images with what the stage began with, all decided
    after: float  # loss with what it ended with; never more than `before`


def reconstruct(
    graph: Graph,
    codes: Mapping[str, WeightCode],
    grids: Mapping[str, ActivationGrid],
    images: Tensor,
    config: RAPQConfig,
    *,
    biases: Mapping[str, Tensor] | None = None,
    progress: Callable[[UnitReport], None] | None = None,
) -> tuple[dict[str, WeightCode], dict[str, ActivationGrid]]:
    """Quantize a network as published: weights unit by unit, then the exponents of activations unit by unit."""
    # A unit's input is what the already quantized units before it give, its target what the float unit gives on float
    # input; both streams advance one unit at a time. Weights are learned with activations in float, activations with
    # the final weights. What a unit learned is kept if it lowers the loss on all images. Biases are not learned.
    _check(graph, codes, grids, images, config)
    bits = bits_of_weights(graph, config)
    biases = biases or {}
    learned: dict[str, WeightCode] = {}

    def start(name: str) -> SoftWeights:
        weight = graph.layers[name].weight
        if config.initial == "hessian":
            return SoftWeights.given(weight, codes[name])
        return SoftWeights.search(weight, bits[name], config.granularity)

    def weights(task: Task) -> _Learned:
        found, before, after = learn_rounding(task, {name: start(name) for name in task.unit.layers}, config)
        learned.update(found)
        return task.with_codes(learned), {}, before, after

    _pass(graph, {}, images, config, weights, "weights", biases, progress)
    kept = dict(grids)

    def activations(task: Task) -> _Learned:
        piece = task.with_codes(learned)
        found, before, after = learn_grids(replace(task, piece=piece), kept, config)
        kept.update(found)
        return piece, kept, before, after

    if grids:
        _pass(graph, grids, images, config, activations, "activations", biases, progress)
    return {name: learned[name] for name in graph.layers}, kept


def _pass(
    graph: Graph,
    grids: Mapping[str, ActivationGrid],
    images: Tensor,
    config: RAPQConfig,
    learn: Callable[[Task], _Learned],
    stage: _Stage,
    biases: Mapping[str, Tensor],
    progress: Callable[[UnitReport], None] | None,
) -> None:
    pieces = units(graph)
    entry = pieces[0].entry
    exact = graph.run({}, x=images, wanted=(entry,))[entry]
    before_entry = {name: grid for name, grid in grids.items() if name != entry}  # that one is the first unit's
    given = graph.run({}, x=images, wanted=(entry,), through=on_grids(before_entry))[entry]
    for place, unit in enumerate(pieces):
        task = _task(graph, unit, given, exact, exponent_of_unit(graph, unit, config), biases, own_entry=not place)
        piece, found, before, after = learn(task)
        if progress is not None:
            norm = last_gamma(graph, unit) is not None
            progress(UnitReport(unit=unit.exit, stage=stage, p=task.p, batch_norm=norm, before=before, after=after))
        given, exact = task.advance(piece, found), task.target


def _task(
    graph: Graph, unit: Unit, given: Tensor, exact: Tensor, p: float, biases: Mapping[str, Tensor], *, own_entry: bool
) -> Task:
    names = set(unit.nodes)
    piece = Graph(nodes=tuple(node for node in graph if node.name in names))
    task = Task(piece=piece, unit=unit, given=exact, target=exact, p=p, own_entry=own_entry)
    own = {name: biases[name] for name in unit.layers if name in biases}
    return replace(task, piece=with_biases(piece, own), given=given, target=task.advance(piece, {}))


def _check(
    graph: Graph,
    codes: Mapping[str, WeightCode],
    grids: Mapping[str, ActivationGrid],
    images: Tensor,
    config: RAPQConfig,
) -> None:
    if not len(images):
        raise ConfigError("One image at least must be given, but there is none.", hint="Give calibration data.")
    if config.scales != "power_of_two":
        raise ConfigError(
            "The paper's method gives powers of two, but real scales are asked for.", hint="Use method='hessian'."
        )
    missing = [name for name in graph.layers if name not in codes]
    if config.initial == "hessian" and missing:
        raise ConfigError(f"Layer {missing[0]} has no codes to start from.", hint="Give them, or use initial='mse'.")
    nodes = {node.name for node in graph}
    strange = [name for name in grids if name not in nodes]
    if strange:
        raise ConfigError(f"There is a grid for {strange[0]}, which is no node.", hint="Give grids of this graph.")
