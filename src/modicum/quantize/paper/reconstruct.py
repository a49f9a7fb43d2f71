"""Unit-wise reconstruction: each unit learns to give on quantized input what the float unit gives on float input."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from modicum.core.seeding import torch_generator
from modicum.errors import ConfigError
from modicum.quantize.codes import ActivationGrid, WeightCode
from modicum.quantize.configuration import RAPQConfig
from modicum.quantize.functional import (
    gate,
    gate_regularizer,
    learnable_quantize,
    loss_exponent,
    temperature,
    unit_loss,
)
from modicum.quantize.graph.graph import Graph, Unit, units
from modicum.quantize.graph.ops import Convolution, Linear
from modicum.quantize.graph.placement import bits_of_weights
from modicum.quantize.hessian.layers import with_biases
from modicum.quantize.paper.soft import SoftWeights

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


def last_gamma(graph: Graph, unit: Unit) -> Tensor | None:
    """Give the batch norm weight of the unit's last layer that has one."""
    # The last layer is the one behind the most others of the unit: in a residual block that of the main path, and not
    # that of the shortcut, whichever runs first. Of equals it is the one that runs last.
    depth = {unit.entry: 0}
    deepest, found = 0, None
    for name in unit.nodes:
        node = graph[name]
        layer = node.operation
        is_layer = isinstance(layer, Convolution | Linear)
        depth[name] = max((depth.get(before, 0) for before in node.inputs), default=0) + is_layer
        if isinstance(layer, Convolution | Linear) and layer.gamma is not None and depth[name] >= deepest:
            deepest, found = depth[name], layer.gamma
    return found


def exponent_of_unit(graph: Graph, unit: Unit, config: RAPQConfig) -> float:
    """Give p of a unit's loss: from `loss_exponent`, or 2 where there is no batch norm or `p_slope` is None."""
    gamma = last_gamma(graph, unit)
    if gamma is None or config.p_slope is None:
        return 2.0
    return loss_exponent(gamma, config.p_slope)


_ROUNDING_WEIGHT, _EXPONENT_WEIGHT = 0.01, 0.1  # lambda and lambda_e
_SOFT_SHARE = 0.25  # of the iterations with soft exponents
_WARM_UP = 0.2  # of the iterations, without regulariser
_RATE, _MOST_RATE, _PUBLISHED_ITERATIONS = 1e-3, 0.1, 20_000


def learn_rounding(
    task: Task, soft: Mapping[str, SoftWeights], config: RAPQConfig
) -> tuple[dict[str, WeightCode], float, float]:
    """Learn the weights of a unit, with activations in float."""
    # Adam minimises unit loss + 0.01 sum(1 - |2 h(alpha) - 1|^b) + 0.1 sum(1 - |2 h(beta) - 1|^b).
    start = {name: it.decided() for name, it in soft.items()}
    before = task.loss(task.with_codes(start), {})
    generator = torch_generator(config.seed, f"paper weights {task.unit.exit}")
    rate = learning_rate(config.iterations)
    steps = config.iterations
    if any(it.beta is not None for it in soft.values()):
        first = round(_SOFT_SHARE * steps)
        _descend(task, soft, first, rate, generator)
        for it in soft.values():
            it.harden_exponents()
        steps -= first
    _descend(task, soft, steps, rate, generator)
    codes = {name: it.decided() for name, it in soft.items()}
    after = task.loss(task.with_codes(codes), {})
    return (codes, before, after) if after < before else (start, before, before)


def learning_rate(iterations: int) -> float:
    """Give Adam's learning rate for alpha and beta, 1e-3 for 20000 iterations and more, up to 0.1 for fewer."""
    return min(_MOST_RATE, _RATE * max(1.0, _PUBLISHED_ITERATIONS / max(1, iterations)))


def _descend(task: Task, soft: Mapping[str, SoftWeights], steps: int, rate: float, generator: torch.Generator) -> None:
    betas = [it.beta for it in soft.values() if it.beta is not None]
    alphas = [it.alpha for it in soft.values()]
    optimizer = torch.optim.Adam([*alphas, *betas], lr=rate)
    for step, (given, target) in enumerate(task.batches(steps, generator)):
        layers = {name: replace(task.piece.layers[name], weight=it.weights()) for name, it in soft.items()}
        output = task.output(task.piece.with_operations(layers), given)
        loss = unit_loss(output, target, task.p) + _regularizer(alphas, betas, step, steps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _regularizer(alphas: Sequence[Tensor], betas: Sequence[Tensor], step: int, steps: int) -> Tensor | float:
    if betas:
        b = temperature(step, steps, warm_up=0.0)
        return _EXPONENT_WEIGHT * sum(gate_regularizer(gate(it), b) for it in betas)
    if step < _WARM_UP * steps:
        return 0.0
    b = temperature(step, steps, warm_up=_WARM_UP)
    return _ROUNDING_WEIGHT * sum(gate_regularizer(gate(it), b) for it in alphas)


_REACH = 2.0  # octaves that an exponent can go: the sum of all learning rates
_LEAST_RATE = 4e-4  # the published one
_LEAST, _MOST = -126, 127  # exponents that are normal float32 and fit int8


def learn_grids(
    task: Task, grids: Mapping[str, ActivationGrid], config: RAPQConfig
) -> tuple[dict[str, ActivationGrid], float, float]:
    """Learn the exponents of a unit's grids, with its final weights."""
    # Adam moves one real e a grid; the forward pass uses 2^round(e), and the gradient passes the rounding.
    names = [*task.unit.nodes, *([task.unit.entry] if task.own_entry else [])]
    start = {name: grids[name] for name in names if name in grids}
    before = task.loss(task.piece, start)
    if not start or not config.activation_iterations:
        return start, before, before
    exponents = {name: nn.Parameter(task.given.new_tensor(float(it.exponent))) for name, it in start.items()}
    _descend_grids(task, start, exponents, config)
    moved = {name: it.moved(_whole(exponents[name])) for name, it in start.items()}
    after = task.loss(task.piece, moved)
    return (moved, before, after) if after < before else (start, before, before)


def _descend_grids(
    task: Task, start: Mapping[str, ActivationGrid], exponents: Mapping[str, nn.Parameter], config: RAPQConfig
) -> None:
    def through(name: str, value: Tensor) -> Tensor:
        it = start.get(name)
        if it is None:
            return value
        high = replace(it, ceiling=None).high
        return learnable_quantize(value, exponents[name], it.low, high, ceiling=it.ceiling, rounding=it.rounding)

    steps = config.activation_iterations
    generator = torch_generator(config.seed, f"paper activations {task.unit.exit}")
    optimizer = torch.optim.Adam(exponents.values(), lr=max(_LEAST_RATE, 2 * _REACH / steps))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    for given, target in task.batches(steps, generator):
        loss = unit_loss(task.output(task.piece, given, through), target, task.p)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def _whole(exponent: Tensor) -> int:
    return min(_MOST, max(_LEAST, round(float(exponent.detach()))))
