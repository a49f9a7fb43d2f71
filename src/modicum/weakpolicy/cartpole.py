"""CartPole of gymnasium, any number of carts at once, and which level of reward a state is worth."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Task = Literal["cartpole", "centre"]

_GRAVITY, _POLE, _HALF_LENGTH, _FORCE, _TAU = 9.8, 0.1, 0.5, 10.0, 0.02
_TOTAL, _MOMENT = 1.1, _POLE * _HALF_LENGTH
_FARTHEST, _STEEPEST = 2.4, 12 * 2 * torch.pi / 360
_CENTRE = 0.5  # ours: on a quarter of the track there is something to learn besides balance

LEVELS: dict[Task, tuple[float, float]] = {"cartpole": (-1.0, 1.0), "centre": (0.0, 1.0)}


def start(uniform: Tensor) -> Tensor:
    """Turn four numbers in [0, 1) into a state at which episodes start."""
    return (uniform - 0.5) * 0.1


def advance(state: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    """Take one Euler step of position, velocity, angle and angular velocity; tell which episodes end by it."""
    x, speed, angle, spin = state.unbind(-1)
    cosine, sine = angle.cos(), angle.sin()
    push = (torch.where(action == 1, _FORCE, -_FORCE).to(state.dtype) + _MOMENT * spin.square() * sine) / _TOTAL
    turn = (_GRAVITY * sine - cosine * push) / (_HALF_LENGTH * (4 / 3 - _POLE * cosine.square() / _TOTAL))
    pull = push - _MOMENT * turn * cosine / _TOTAL
    moved = torch.stack([x + _TAU * speed, speed + _TAU * pull, angle + _TAU * spin, spin + _TAU * turn], dim=-1)
    return moved, (moved[..., 0].abs() > _FARTHEST) | (moved[..., 2].abs() > _STEEPEST)


def is_high(task: Task, state: Tensor) -> Tensor:
    """Tell where a step to a state is worth the high level of reward: always, or near the centre of the track."""
    return torch.ones_like(state[..., 0], dtype=torch.bool) if task == "cartpole" else state[..., 0].abs() < _CENTRE
