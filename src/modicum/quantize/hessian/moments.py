"""What a layer must know of its data: the second moments of its inputs, and how they go with what is wanted of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import unfold

from modicum.quantize.graph.ops import Convolution, Linear

_MOST = 2**26  # ours: numbers of patches that are looked at; those of images of 32 pixels are fewer in most networks
_EACH = 16  # ours: patches that are left for each weight of an output channel, if there are as many
_PIECE = 2**24  # ours: numbers of patches that are in memory at once, 128 MiB of float64 moments beside them


@dataclass(frozen=True, kw_only=True, slots=True)
class Moments:
    """Means and centred second moments of a layer's patches x and of the outputs t that are wanted."""

    gram: Tensor  # E[(x - mean)(x - mean)'], float64, shape (groups, k, k), k weights an output channel
    cross: Tensor  # E[(t - mean)(x - mean)'], float64, shape (channels, k)
    inputs: Tensor  # mean of x, float64, shape (groups, k)
    outputs: Tensor  # mean of t, float64, shape (channels,)


def measure(layer: Convolution | Linear, x: Tensor, target: Tensor) -> Moments:
    """Measure the moments of a layer over all samples, and over all positions or evenly spread ones."""
    groups = layer.groups if isinstance(layer, Convolution) else 1
    size = layer.weight[0].numel()
    channels = len(layer.weight)
    gram = x.new_zeros((groups, size, size), dtype=torch.float64)
    cross = x.new_zeros((channels, size), dtype=torch.float64)
    inputs = x.new_zeros((groups, size), dtype=torch.float64)
    outputs = x.new_zeros(channels, dtype=torch.float64)
    pivots: tuple[Tensor, Tensor] | None = None
    count = 0
    places = target[0].numel() // channels
    samples = max(1, _PIECE // max(1, groups * size * places))
    stride = _stride(len(x) * places, groups, size, target.shape[-1])
    for piece, wanted in zip(x.split(samples), target.split(samples), strict=True):
        patches, values = _patches(layer, piece, groups, stride), _values(layer, wanted, stride)
        pivots = (patches[..., :1], values[..., :1]) if pivots is None else pivots
        patches, values = patches - pivots[0], values - pivots[1]
        gram += patches @ patches.mT
        cross += (values.view(groups, -1, values.shape[-1]) @ patches.mT).reshape(channels, size)
        inputs += patches.sum(-1)
        outputs += values.sum(-1)
        count += values.shape[-1]
    inputs, outputs = inputs / count, outputs / count
    means = inputs.repeat_interleave(channels // groups, 0)
    return Moments(
        gram=gram / count - inputs[:, :, None] * inputs[:, None, :],
        cross=cross / count - outputs[:, None] * means,
        inputs=inputs if pivots is None else inputs + pivots[0][..., 0],
        outputs=outputs if pivots is None else outputs + pivots[1][..., 0],
    )


def wanted_weights(weight: Tensor, moments: Moments, *, damping: float = 0.01) -> tuple[Tensor, Tensor]:
    """Give the real weights that come closest to the target, drawn towards the given ones, and the damped moments."""
    # argmin over v of E|t - v x - b|^2 + d |v - w|^2, with b free and d = damping times the mean diagonal: v = (C + d
    # w)(S + d I)^-1. With t = w x it is w itself; otherwise it makes up for what the layers before it have lost
    # already.
    groups, size = moments.gram.shape[:2]
    spread = moments.gram.diagonal(dim1=1, dim2=2).mean(1)
    amount = torch.where(spread > 0, damping * spread, torch.ones_like(spread))  # inputs that never vary
    damped = moments.gram + amount[:, None, None] * torch.eye(size, dtype=torch.float64, device=weight.device)
    flat = weight.double().reshape(groups, -1, size)
    right = moments.cross.reshape(groups, -1, size) + amount[:, None, None] * flat
    return torch.linalg.solve(damped, right, left=False).reshape(-1, size), damped


def _stride(patches: int, groups: int, size: int, width: int) -> int:
    # Without a factor in common with the width, or it would be the same columns of every row.
    stride = max(1, min(-(-patches * groups * size // _MOST), patches // (_EACH * size)))
    while math.gcd(stride, width) > 1:
        stride += 1
    return stride


def _patches(layer: Convolution | Linear, x: Tensor, groups: int, stride: int) -> Tensor:
    """Give patches, shape (groups, k, n): the last axis is the longest, and lies in memory as it is multiplied."""
    if isinstance(layer, Linear):
        return x.reshape(1, -1, x.shape[-1])[:, ::stride].mT.double()
    kernel = (layer.weight.shape[2], layer.weight.shape[3])
    columns = unfold(x if x.ndim == 4 else x[:, :, None], kernel, layer.dilation, layer.padding, layer.stride)
    columns = columns[:, :, ::stride]
    return columns.transpose(0, 1).reshape(groups, -1, columns.shape[0] * columns.shape[2]).double()


def _values(layer: Convolution | Linear, values: Tensor, stride: int) -> Tensor:
    """Give the outputs that go with patches, shape (channels, n)."""
    if isinstance(layer, Convolution):
        return values.flatten(2)[:, :, ::stride].transpose(0, 1).reshape(len(layer.weight), -1).double()
    return values.reshape(-1, len(layer.weight))[::stride].T.double()
