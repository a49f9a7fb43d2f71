"""The equations of a mixer to the letter, by moving an axis to the end; the package computes them in another way."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional

from modicum.fusion import CubeMLP
from modicum.fusion.functional import AXES, Activation, MixerWeights


def mlp(x: Tensor, weights: MixerWeights, activation: Activation) -> Tensor:
    return functional.linear(activation(functional.linear(x, *weights.first)), *weights.second)


def mix(mixer: Any, x: Tensor) -> Tensor:
    """Mix a cube of shape (batch, time, modality, channel) by the equations."""
    weights, (norm, activation, dropout, eps, training) = mixer.weights, mixer.manner
    moved = x.movedim(AXES[mixer.axis], -1)
    scale = lambda y: functional.layer_norm(y, y.shape[-1:], weights.norm[0], weights.norm[1], eps)
    branch = mlp(scale(moved) if norm == "pre" else moved, weights, activation)
    branch = functional.dropout(scale(branch) if norm == "branch" else branch, dropout, training)
    mixed = branch + (moved if weights.residual is None else functional.linear(moved, weights.residual))
    return (scale(mixed) if norm == "post" else mixed).movedim(-1, AXES[mixer.axis])


def by_equations(cube: CubeMLP, x: Tensor) -> Tensor:
    for block in cube.blocks:
        for mixer in block.children():
            x = mix(mixer, x)
    return x


def along(mixer: Any, x: Tensor) -> Tensor:
    """Mix a cube by the mixer itself, which takes the axis where it lies."""
    axis = AXES[mixer.axis]
    if mixer.axis == "channel":
        return mixer(x.flatten(0, 2)).unflatten(0, x.shape[:3])
    moved = x.movedim(axis, 1)
    return mixer(moved.flatten(2)).unflatten(2, moved.shape[2:]).movedim(1, axis)
