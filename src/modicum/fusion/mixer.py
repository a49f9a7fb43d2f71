"""CubeMLP: three MLPs a block, which mix a cube along time, modality and channel.

`functional.mix` has the equations to the letter; what runs is the same function without a move of an axis, for less
work. A cube lies as (modality, batch, time, channel). Then each axis is mixed where it is: time and modality by a
multiplication from the left, (d_out, d_in) times (groups, d_in, rest), the channels by one from the right. A layer norm
that comes first is folded: its scale and shift go into the first affine map, and what is left is to centre the values
and to divide them. Frames that are zero up to the length of the cube are not computed with: they have one value behind
the layer norm, so that one column, the sum of their weights, stands for all of them. Dropout draws a float a value,
where torch's on the CPU draws a double, and is applied as the residual is added.

What was tried and is not here, because it did not pay: one multiplication of the channels for the first map and the
residual (the statistics then have to be applied to all hidden values), and a gradient of `standardise` by hand.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from modicum.errors import ModelError
from modicum.fusion.configuration import ACTIVATIONS, CubeMLPConfig
from modicum.fusion.functional import AXES, Activation, Axis, MixerWeights, Norm, mix

Affine: TypeAlias = tuple[Tensor, Tensor | None]


class Manner(NamedTuple):
    """How a mixer works, apart from its weights; by the names of the arguments of `functional.mix`."""

    norm: Norm
    activation: Activation
    dropout: float
    eps: float
    training: bool


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
        first, second, norm = ((part.weight, part.bias) for part in (self.fc1, self.fc2, self.norm))
        return MixerWeights(first, second, norm, None if self.residual is None else self.residual.weight)

    @property
    def manner(self) -> Manner:
        """How it works now, by the names of the arguments of `functional.mix`."""
        return Manner(self.placement, self.activation, self.rate, self.norm.eps, self.training)

    def forward(self, x: Tensor) -> Tensor:
        """Mix a cube of shape (batch, time, modality, channel), to the letter of the equations."""
        # `CubeMLP` computes the same in another way, with `mix_in_place`.
        return mix(x, self.axis, self.weights, **self.manner._asdict())


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
        x = mix_in_place(x.reshape(modalities * batch, *shape), self.time.weights, self.time.manner)
        frames, channels = x.shape[1:]
        x = x.reshape(1, modalities, batch * frames * channels)
        x = mix_in_place(x, self.modality.weights, self.modality.manner)
        modalities = x.shape[1]
        x = x.reshape(modalities * batch * frames, channels)
        x = mix_in_place(x, self.channel.weights, self.channel.manner)
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
        """Mix a cube.

        Args:
            x: shape (batch, frames, modalities, channels), with as many frames as there are, up to ``d_ins[0]``; the
                frames behind them are zeros, and are not computed with.

        Returns:
            Shape (batch, *config.d_outs[-1]).

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


def mix_in_place(x: Tensor, weights: MixerWeights, manner: Manner) -> Tensor:
    """Mix values along the axis on which they lie."""
    rate = manner.dropout if manner.training else 0.0
    first = _behind_norm(x, weights, manner.eps) if manner.norm == "pre" else _affine(x, weights.first)
    branch = _affine(manner.activation(first), weights.second)
    if manner.norm == "branch":
        branch = _layer_norm(branch, weights.norm, manner.eps)
    mixed = _with_residual(branch, x, weights.residual, rate)
    return _layer_norm(mixed, weights.norm, manner.eps) if manner.norm == "post" else mixed


def standardise(x: Tensor, size: int, eps: float) -> tuple[Tensor, Tensor]:
    """Centre values and divide them by their std, zeros behind them included."""
    # The squares are those of centred values: the mean of squares less the square of the mean loses digits.
    mean = x.sum(1, keepdim=True) / size
    centred = x - mean
    squares = centred.square().sum(1, keepdim=True) + (size - x.shape[1]) * mean.square()
    scale = torch.rsqrt(squares / size + eps)
    return centred * scale, -mean * scale


def _behind_norm(x: Tensor, weights: MixerWeights, eps: float) -> Tensor:
    """Apply the layer norm and the first affine map."""
    if x.ndim == 2:
        return _affine(_layer_norm(x, weights.norm, eps), weights.first)
    (weight, bias), (scale, shift) = weights.first, weights.norm
    given, size = x.shape[1], weight.shape[1]
    bias = weight @ shift if bias is None else torch.addmv(bias, weight, shift)
    weight = weight * scale
    values, zero = standardise(x, size, eps)
    if given < size:
        values = torch.cat([values, zero], 1)
        weight = torch.cat([weight[:, :given], weight[:, given:].sum(1, keepdim=True)], 1)
    return _affine(values, (weight, bias))


def _layer_norm(x: Tensor, norm: tuple[Tensor, Tensor], eps: float) -> Tensor:
    weight, bias = norm
    if x.ndim == 2:
        return functional.layer_norm(x, x.shape[-1:], weight, bias, eps)
    return standardise(x, x.shape[1], eps)[0] * weight[:, None] + bias[:, None]


def _affine(x: Tensor, map_: Affine) -> Tensor:
    """Apply an affine map along the axis; of fewer values than it has columns, as if zeros came behind them."""
    weight, bias = map_
    if x.ndim == 2:
        return functional.linear(x, weight, bias)
    weight = weight[:, : x.shape[1]].expand(x.shape[0], -1, -1)
    return torch.bmm(weight, x) if bias is None else torch.baddbmm(bias[:, None], weight, x)


def _with_residual(branch: Tensor, x: Tensor, projection: Tensor | None, rate: float) -> Tensor:
    if projection is not None:
        residual = _affine(x, (projection, None))
    else:  # frames that are not given are zeros
        missing = branch.shape[1] - x.shape[1] if x.ndim == 3 else 0
        residual = functional.pad(x, (0, 0, 0, missing)) if missing > 0 else x
    if not rate:
        return residual + branch
    if branch.device.type != "cpu":
        return residual + functional.dropout(branch, rate)
    return torch.addcmul(residual, branch, dropout_mask(branch.detach(), rate), value=1 / (1 - rate))


# One operator also for torch.compile, whose own random numbers take a CPU several times as long.
@torch.library.custom_op("modicum::dropout_mask", mutates_args=(), tags=(torch.Tag.nondeterministic_seeded,))
def dropout_mask(like: Tensor, rate: float) -> Tensor:
    """Draw what dropout keeps."""
    return torch.empty_like(like, dtype=torch.float32).uniform_().ge_(rate).to(like.dtype)


@dropout_mask.register_fake
def _(like: Tensor, rate: float) -> Tensor:  # noqa: ARG001 - it has no part in the shape
    return torch.empty_like(like)
