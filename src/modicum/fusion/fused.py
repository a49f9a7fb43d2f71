"""The mixers of CubeMLP without a move of an axis: the same function as `functional.mix`, for less work.

A cube lies as (modality, batch, time, channel). Then each axis is mixed where it is: time and modality by a
multiplication from the left, (d_out, d_in) times (groups, d_in, rest), the channels by one from the right. A layer norm
that comes first is folded: its scale and shift go into the first affine map, and what is left is to centre the values
and to divide them. Frames that are zero up to the length of the cube are not computed with: they have one value behind
the layer norm, so that one column, the sum of their weights, stands for all of them. Dropout draws a float a value,
where torch's on the CPU draws a double, and is applied as the residual is added.

What was tried and is not here, because it did not pay: one multiplication of the channels for the first map and the
residual (the statistics then have to be applied to all hidden values), and a gradient of `standardise` by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from modicum.fusion.functional import Activation, MixerWeights, Norm

Affine: TypeAlias = tuple[Tensor, Tensor | None]


class Manner(NamedTuple):
    """How a mixer works, apart from its weights; by the names of the arguments of `functional.mix`."""

    norm: Norm
    activation: Activation
    dropout: float
    eps: float
    training: bool


def mix_block(x: Tensor, mixers: Sequence[tuple[MixerWeights, Manner]], own: Tensor | None = None) -> Tensor:
    """Mix a cube along time, modality and channel."""
    time, modality, channel = mixers
    modalities, batch = x.shape[:2]
    x = mix_in_place(x.reshape(modalities * batch, *x.shape[2:]), *time, own=own)
    frames, channels = x.shape[1:]
    x = mix_in_place(x.reshape(1, modalities, batch * frames * channels), *modality)
    modalities = x.shape[1]
    x = mix_in_place(x.reshape(modalities * batch * frames, channels), *channel)
    return x.reshape(modalities, batch, frames, x.shape[-1])


def mix_in_place(x: Tensor, weights: MixerWeights, manner: Manner, *, own: Tensor | None = None) -> Tensor:
    """Mix values along the axis on which they lie."""
    rate = manner.dropout if manner.training else 0.0
    first = _behind_norm(x, weights, manner.eps, own) if manner.norm == "pre" else _affine(x, weights.first)
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


def _behind_norm(x: Tensor, weights: MixerWeights, eps: float, own: Tensor | None) -> Tensor:
    """Apply the layer norm and the first affine map."""
    if own is not None:
        return _affine(_norm_of_own(x, own, weights.norm, eps), weights.first)
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


def _norm_of_own(x: Tensor, own: Tensor, norm: tuple[Tensor, Tensor], eps: float) -> Tensor:
    count = own.sum(1, keepdim=True).clamp(min=1)
    centred = (x - (x * own).sum(1, keepdim=True) / count) * own
    scale = torch.rsqrt(centred.square().sum(1, keepdim=True) / count + eps)
    weight, bias = (part[: x.shape[1], None] for part in norm)
    return centred * scale * weight + own * bias


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
    residual = _with_zeros(x, branch.shape[1]) if projection is None else _affine(x, (projection, None))
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


def _with_zeros(x: Tensor, size: int) -> Tensor:
    return functional.pad(x, (0, 0, 0, size - x.shape[1])) if x.ndim == 3 and x.shape[1] < size else x
