"""Other ways to fuse a cube, of as many parameters as a CubeMLP: what a sceptic would use in its place."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from modicum.errors import ConfigError
from modicum.fusion.configuration import CubeMLPConfig
from modicum.fusion.mixer import CubeMLP

_WIDEST = 4096  # beyond which no width is tried


def parameters(module: nn.Module) -> int:
    """Count the parameters of a module."""
    return sum(value.numel() for value in module.parameters())


class WeightsOverTime(nn.Module):
    """Sum the frames of a sample by a learned weight for each place in time; before training it is their mean."""

    def __init__(self, time: int) -> None:
        super().__init__()
        # Added to the weights of the mean: as factors of them they would hardly leave it in a few hundred updates.
        self.change = nn.Parameter(torch.zeros(time))

    def forward(self, values: Tensor, frames: Tensor) -> Tensor:
        """Sum values (n, time, width) over the frames that are there, (n, time); 0 where none is."""
        there = frames.to(values.dtype)
        weights = there * (1 / there.sum(1, keepdim=True).clamp(min=1) + self.change[: frames.shape[1]])
        return (weights[..., None] * values).sum(1)


class ConcatenationMLP(nn.Module):
    """Join the modalities of each frame, apply an MLP to it, and sum the frames by weights over time."""

    def __init__(self, config: CubeMLPConfig, width: int) -> None:
        super().__init__()
        self.sizes = config.d_outs[-1]
        time, modalities, channels = config.d_ins
        self.layers = nn.Sequential(
            nn.LayerNorm(modalities * channels),
            nn.Linear(modalities * channels, width),
            nn.GELU(),
            nn.Dropout(config.dropouts[2]),
            nn.Linear(width, math.prod(self.sizes[1:])),
        )
        self.over_time = WeightsOverTime(time)

    def forward(self, x: Tensor) -> Tensor:
        """Fuse a cube."""
        frames = (x != 0).any(-1).any(-1)
        return _as_cube(self.over_time(self.layers(x.flatten(2)), frames), self.sizes)


class AttentionFusion(nn.Module):
    """Let the frames of all modalities attend to each other, and sum those of each modality by weights over time."""

    def __init__(self, config: CubeMLPConfig, width: int) -> None:
        super().__init__()
        self.sizes = config.d_outs[-1]
        time, modalities, channels = config.d_ins
        self.enter = nn.Linear(channels, width)
        self.modality = nn.Parameter(torch.zeros(modalities, width))
        angles = torch.arange(time)[:, None] / 10_000 ** (torch.arange(width)[None] // 2 * 2 / width)
        waves = torch.where(torch.arange(width) % 2 == 0, angles.sin(), angles.cos())
        self.register_buffer("time", waves, persistent=False)
        heads = next(heads for heads in (4, 2, 1) if width % heads == 0)
        self.layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, config.dropouts[2], "gelu", batch_first=True, norm_first=True
        )
        self.over_time = WeightsOverTime(time)
        self.leave = nn.Linear(modalities * width, math.prod(self.sizes[1:]))

    def forward(self, x: Tensor) -> Tensor:
        """Fuse a cube."""
        batch, time, modalities, _ = x.shape
        frames = (x != 0).any(-1)
        positions = cast("Tensor", self.time)[:time, None]
        hidden = (self.enter(x) + self.modality + positions).flatten(1, 2)
        attended = self.layer(hidden, src_key_padding_mask=~frames.flatten(1))
        attended = attended.unflatten(1, (time, modalities)).transpose(1, 2)
        summed = self.over_time(attended.flatten(0, 1), frames.transpose(1, 2).flatten(0, 1))
        return _as_cube(self.leave(summed.reshape(batch, -1)), self.sizes)


def with_parameters_of(cube: CubeMLP, make: Callable[[CubeMLPConfig, int], nn.Module]) -> nn.Module:
    """Make a fusion as large as a CubeMLP."""
    target = parameters(cube)
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        size = lambda width: parameters(make(cube.config, width))
        low, high = 1, 2
        while high < _WIDEST and size(high) < target:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if size(middle) <= target else (low, middle)
        width = min((low, high), key=lambda width: abs(size(width) - target))
        if size(width) > 2 * target:
            raise ConfigError(
                f"The cube has {target} parameters, and the smallest fusion of another kind {size(width)}.",
                hint="Compare a larger cube.",
            )
    return make(cube.config, width)


def _as_cube(values: Tensor, sizes: list[int]) -> Tensor:
    return values.unflatten(-1, sizes[1:])[:, None].expand(-1, sizes[0], -1, -1)
