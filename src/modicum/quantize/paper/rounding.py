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

__all__ = ["learn_rounding"]

_ROUNDING_WEIGHT, _EXPONENT_WEIGHT = 0.01, 0.1  # lambda and lambda_e
_SOFT_SHARE = 0.25  # of the iterations with soft exponents
_WARM_UP = 0.2  # of the iterations, without regulariser
_RATE, _MOST_RATE, _PUBLISHED_ITERATIONS = 1e-3, 0.1, 20_000


def learn_rounding(
    task: Task, soft: Mapping[str, SoftWeights], config: RAPQConfig
) -> tuple[dict[str, WeightCode], float, float]:
    """Learn the weights of a unit, with activations in float.

    Adam minimises unit loss + 0.01 sum(1 - |2 h(alpha) - 1|^b) + 0.1 sum(1 - |2 h(beta) - 1|^b).

    Args:
        task: of the unit.
        soft: the stand-ins of its layers, by name; they are used up.
        config: says the iterations and the seed.

    Returns:
        The codes by layer, and the loss on all images before and after.

    Source:
        Yao et al. 2022, section 2; AdaRound for the schedule of b. Departures: where exponents are soft, they are so
        for the first quarter of the iterations (published: 500 of 20000), and b of their regulariser falls from 20 to
        2 within (published: it stays 20). With either, most exponents are undecided then (four in five on digits):
        the unit loss outweighs the regulariser. They are made whole all the same, and alpha begins anew, with its
        warm-up of a fifth of what is left. The learning rate is such that rate times iterations is as published,
        1e-3 times 20000, but 0.1 at most: with the published rate and few iterations, gates stay where they began.
        What was learned is kept if it lowers the loss on all images.
    """
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
