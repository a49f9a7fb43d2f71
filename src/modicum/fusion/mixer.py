"""CubeMLP: three MLPs a block, which mix a cube along time, modality and channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from modicum.errors import ModelError
from modicum.fusion.activations import make_activation
from modicum.fusion.configuration import CubeMLPConfig
from modicum.fusion.functional import AXES, Axis, MixerWeights, Norm, mix
from modicum.fusion.fused import Manner, mix_block


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
        self.activation = make_activation(config.activation)

    @property
    def weights(self) -> MixerWeights:
        """The numbers, as `functional.mix` takes them."""
        return MixerWeights(
            (self.fc1.weight, self.fc1.bias),
            (self.fc2.weight, self.fc2.bias),
            (self.norm.weight, self.norm.bias),
            None if self.residual is None else self.residual.weight,
        )

    @property
    def manner(self) -> Manner:
        """How it works now, by the names of the arguments of `functional.mix`."""
        return Manner(self.placement, self.activation, self.rate, self.norm.eps, self.training)

    def forward(self, x: Tensor) -> Tensor:
        """Mix a cube of shape (batch, time, modality, channel), to the letter of the equations."""
        # `CubeMLP` computes the same in another way, with `fused.mix_block`.
        return mix(x, self.axis, self.weights, **self.manner._asdict())


class _Block(nn.Module):
    time: Mixer
    modality: Mixer
    channel: Mixer

    def __init__(self, config: CubeMLPConfig, shapes: tuple[list[int], list[int], list[int]], *, project: bool) -> None:
        super().__init__()
        for axis, *sizes in zip(AXES, *shapes, strict=True):
            self.add_module(axis, Mixer(config, axis, (sizes[0], sizes[1], sizes[2]), project=project))

    def forward(self, x: Tensor, own: Tensor | None = None) -> Tensor:
        """Mix a cube of shape (modality, batch, time, channel)."""
        mixers = [(mixer.weights, mixer.manner) for mixer in (self.time, self.modality, self.channel)]
        return mix_block(x, mixers, own)


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

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Mix a cube.

        Args:
            x: shape (batch, frames, modalities, channels), with as many frames as there are, up to ``d_ins[0]``; the
                frames behind them are zeros, and are not computed with.
            lengths: frames of each sample, int64, shape (batch,); those behind are zeros. It is read where
                ``config.ln_over`` is "valid", and there None stands for all frames of x. Then the first layer norm, if
                it comes before its mixer ("pre"), is over a sample's own frames, and what it gives behind them is 0,
                its bias included. No other norm meets frames that are not a sample's own.

        Returns:
            Shape (batch, *config.d_outs[-1]).

        Raises:
            ModelError: if x is of another shape.
        """
        most, *sizes = self.config.d_ins
        if x.ndim != 4 or list(x.shape[2:]) != sizes or x.shape[1] > most:
            raise ModelError(
                f"A cube of shape (batch, up to {most}, {', '.join(map(str, sizes))}) was expected, got "
                f"{tuple(x.shape)}.",
                hint="Stack the modalities on axis 2, and crop the time.",
            )
        own = self._own_frames(x, lengths) if self.config.ln_over == "valid" else None
        if torch.compiler.is_exporting():  # A graph for all numbers of frames cannot cut its weights to one of them.
            x = pad(x, (0, 0, 0, 0, 0, most - x.shape[1]))
        x = x.permute(2, 0, 1, 3)
        for block in self.blocks:
            x = block(x, own)
            own = None
        return x.permute(1, 2, 0, 3)

    def _own_frames(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        batch, frames, modalities = x.shape[:3]
        if lengths is None:
            lengths = torch.full((batch,), frames, device=x.device)
        most = self.config.d_ins[0] if torch.compiler.is_exporting() else frames
        own = torch.arange(most, device=x.device) < lengths[:, None]
        return own.to(x.dtype).repeat(modalities, 1)[..., None]
