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

DAMPINGS = tuple(10 ** (step / 2) for step in range(-4, 5))  # tried: 0.01 to 100 times the mean square of an input
ROUNDING_DAMPING = 0.01  # as GPTQ has it


@dataclass(frozen=True, kw_only=True, slots=True)
class Moments:
    """Means and centred second moments of a layer's patches x and of the outputs t that are wanted."""

    gram: Tensor  # E[(x - mean)(x - mean)'], float64, shape (groups, k, k), k weights an output channel
    cross: Tensor  # E[(t - mean)(x - mean)'], float64, shape (channels, k)
    inputs: Tensor  # mean of x, float64, shape (groups, k)
    outputs: Tensor  # mean of t, float64, shape (channels,)
    count: int  # of patches


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
        count=count,
    )


def together(first: Moments, second: Moments) -> Moments:
    """Give the moments of all samples of two sets."""
    count = first.count + second.count
    shares = (first.count / count, second.count / count)
    apart = (first.inputs - second.inputs, first.outputs - second.outputs)
    inputs = apart[0].repeat_interleave(len(apart[1]) // len(apart[0]), 0)

    def pooled(one: Tensor, other: Tensor) -> Tensor:
        return shares[0] * one + shares[1] * other

    between = shares[0] * shares[1]
    return Moments(
        gram=pooled(first.gram, second.gram) + between * apart[0][:, :, None] * apart[0][:, None, :],
        cross=pooled(first.cross, second.cross) + between * apart[1][:, None] * inputs,
        inputs=pooled(first.inputs, second.inputs),
        outputs=pooled(first.outputs, second.outputs),
        count=count,
    )


def wanted_weights(weight: Tensor, moments: Moments, *, damping: float) -> Tensor:
    """Give the real weights that come closest to the target, drawn towards the given ones."""
    # argmin over v of E|t - v x - b|^2 + d |v - w|^2, with b free and d = damping times the mean diagonal: v = (C + d
    # w)(S + d I)^-1. With t = w x it is w itself; otherwise it makes up for what the layers before it have lost
    # already.
    gram, amount = _damped(moments.gram, damping)
    groups, size = gram.shape[:2]
    flat = weight.double().reshape(groups, -1, size)
    right = moments.cross.reshape(groups, -1, size) + amount * flat
    return torch.linalg.solve(gram, right, left=False).reshape(-1, size)


def choose_damping(weight: Tensor, halves: tuple[Moments, Moments]) -> float:
    """Give the damping whose weights, wanted on one half of the samples, come closest to the target on the other."""
    # What is wanted of some samples alone is fitted to them: a layer of 1,000 inputs can give the outputs of 64 images
    # without any error, and errs more than before on others.
    errors = {
        damping: sum(
            _error(wanted_weights(weight, seen, damping=damping), seen, other) for seen, other in (halves, halves[::-1])
        )
        for damping in DAMPINGS
    }
    return min(errors, key=lambda damping: errors[damping])


def rounding_gram(moments: Moments) -> Tensor:
    """Give the second moments under which weights are rounded."""
    return _damped(moments.gram, ROUNDING_DAMPING)[0]


def _damped(gram: Tensor, damping: float) -> tuple[Tensor, Tensor]:
    spread = gram.diagonal(dim1=1, dim2=2).mean(1)
    amount = torch.where(spread > 0, damping * spread, torch.ones_like(spread))[:, None, None]  # inputs may never vary
    return gram + amount * torch.eye(gram.shape[1], dtype=torch.float64, device=gram.device), amount


def _error(wanted: Tensor, seen: Moments, other: Moments) -> float:
    """Give E|t - v x - b|^2 of other samples, with the b of those that were seen, but for a constant."""
    groups, size = other.gram.shape[:2]
    rows = wanted.reshape(groups, -1, size)
    spread = ((rows @ other.gram - 2 * other.cross.reshape(rows.shape)) * rows).sum()
    moved = (rows @ (other.inputs - seen.inputs)[:, :, None]).flatten()
    return float(spread + (other.outputs - seen.outputs - moved).square().sum())


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
