"""The second pass: the exponents of the grids between layers, learned in the log2 domain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from modicum.core.seeding import torch_generator
from modicum.quantize.codes import ActivationGrid
from modicum.quantize.configuration import RAPQConfig
from modicum.quantize.functional import learnable_quantize, unit_loss
from modicum.quantize.paper.task import Task

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
    _descend(task, start, exponents, config)
    moved = {name: it.moved(_whole(exponents[name])) for name, it in start.items()}
    after = task.loss(task.piece, moved)
    return (moved, before, after) if after < before else (start, before, before)


def _descend(
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
