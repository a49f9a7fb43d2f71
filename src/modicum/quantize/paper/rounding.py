"""The first pass: the exponents and the rounding of a unit's weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from modicum.core.seeding import torch_generator
from modicum.quantize.codes import WeightCode
from modicum.quantize.configuration import RAPQConfig
from modicum.quantize.functional import unit_loss
from modicum.quantize.gates import gate, gate_regularizer, temperature
from modicum.quantize.paper.soft import SoftWeights
from modicum.quantize.paper.task import Task

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
