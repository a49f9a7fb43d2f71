"""CubeMLP: three MLPs a block, which mix a cube along time, modality and channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from modicum.errors import ModelError
from modicum.fusion.configuration import ACTIVATIONS, CubeMLPConfig
from modicum.fusion.functional import AXES, Axis, Manner, MixerWeights, Norm, mix


class Mixer(nn.Module):
    """An MLP along one axis, with its layer norm and its residual."""

    def __init__(self, config: CubeMLPConfig, axis: Axis, sizes: tuple[int, int, int], *, project: bool) -> None:
        super().__init__()
        d_in, d_hidden, d_out = sizes
        self.axis: Axis = axis
        self.placement: Norm = config.norm
        self.rate = config.dropouts[AXES[axis] - 1]
        self.fc1 = nn.Linear(d_in, d_hidden, bias=config.bias)
        self.fc2 = nn.Linear(d_hidden, d_out, bias=config.bias)
        self.norm = nn.LayerNorm(d_in if config.norm == "pre" else d_out, eps=config.layer_norm_eps)
        self.residual = nn.Linear(d_in, d_out, bias=False) if project else None
        self.activation = ACTIVATIONS[config.activation]()

    @property
    def weights(self) -> MixerWeights:
        """The parameters, as `functional.mix` takes them."""
        first, second, norm = [(part.weight, part.bias) for part in (self.fc1, self.fc2, self.norm)]
        return MixerWeights(first, second, norm, None if self.residual is None else self.residual.weight)

    @property
    def manner(self) -> Manner:
        """How it works now, by the names of the arguments of `functional.mix`."""
        return Manner(self.placement, self.activation, self.rate, self.norm.eps, self.training)

    def forward(self, x: Tensor) -> Tensor:
        """Mix values along the axis on which they lie, see `functional.mix`."""
        return mix(x, self.weights, self.manner)


class _Block(nn.Module):
    time: Mixer
    modality: Mixer
    channel: Mixer

    def __init__(self, config: CubeMLPConfig, shapes: tuple[list[int], list[int], list[int]], *, project: bool) -> None:
        super().__init__()
        for axis, *sizes in zip(AXES, *shapes, strict=True):
            self.add_module(axis, Mixer(config, axis, (sizes[0], sizes[1], sizes[2]), project=project))

    def forward(self, x: Tensor) -> Tensor:
        """Mix a cube of shape (modality, batch, time, channel)."""
        modalities, batch, *shape = x.shape
        x = self.time(x.reshape(modalities * batch, *shape))
        frames, channels = x.shape[1:]
        x = self.modality(x.reshape(1, modalities, batch * frames * channels))
        modalities = x.shape[1]
        x = self.channel(x.reshape(modalities * batch * frames, channels))
        return x.reshape(modalities, batch, frames, x.shape[-1])


class CubeMLP(nn.Module):
    """Mix a cube along time, modality and channel, block after block.

    Args:
        config: sizes, norm, activation and dropout; what it says of streams is for `CubeMLPForPrediction`.

    Source:
        Sun, Wang, Liu, Chen and Lin, "CubeMLP" (ACM MM 2022), section 3; the placement of the norm is that of the
        released code unless ``config.norm`` is "branch".
    """

    def __init__(self, config: CubeMLPConfig) -> None:
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList(
            _Block(config, shapes, project=project)
            for shapes, project in zip(config.shapes(), config.res_project, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Mix a cube of shape (batch, frames, modalities, channels) to one of (batch, *config.d_outs[-1]).

        It has as many frames as there are, up to ``d_ins[0]``; those behind them are zeros, and not computed with.

        Raises:
            ModelError: if x is of another shape.
        """
        most, *sizes = self.config.d_ins
        if x.ndim != 4 or list(x.shape[2:]) != sizes or x.shape[1] > most:
            wanted = f"(batch, up to {most}, {', '.join(map(str, sizes))})"
            hint = "Stack the modalities on axis 2, and crop the time."
            raise ModelError(f"A cube of shape {wanted} was expected, got {tuple(x.shape)}.", hint=hint)
        if torch.compiler.is_exporting():  # A graph for all numbers of frames cannot cut its weights to one of them.
            x = functional.pad(x, (0, 0, 0, 0, 0, most - x.shape[1]))
        x = x.permute(2, 0, 1, 3)
        for block in self.blocks:
            x = block(x)
        return x.permute(1, 2, 0, 3)
