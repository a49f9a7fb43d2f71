"""What a layer must know of its data: the second moments of its inputs, and how they go with what is wanted of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import unfold

from modicum.quantize.graph.ops import Convolution, Linear

_PIECE = 2**24  # ours: numbers of patches that are in memory at once, 128 MiB of float64 moments beside them


@dataclass(frozen=True, kw_only=True, slots=True)
class Moments:
    """Means and centred second moments of a layer's patches x and of the outputs t that are wanted."""

    gram: Tensor  # E[(x - mean)(x - mean)'], float64, shape (groups, k, k), k weights an output channel
    cross: Tensor  # E[(t - mean)(x - mean)'], float64, shape (channels, k)
    inputs: Tensor  # mean of x, float64, shape (groups, k)
    outputs: Tensor  # mean of t, float64, shape (channels,)


def measure(layer: Convolution | Linear, x: Tensor, target: Tensor) -> Moments:
    """Measure the moments of a layer over all samples and positions."""
    groups = layer.groups if isinstance(layer, Convolution) else 1
    size = layer.weight[0].numel()
    channels = len(layer.weight)
    gram = x.new_zeros((groups, size, size), dtype=torch.float64)
    cross = x.new_zeros((channels, size), dtype=torch.float64)
    inputs = x.new_zeros((groups, size), dtype=torch.float64)
    outputs = x.new_zeros(channels, dtype=torch.float64)
    pivots: tuple[Tensor, Tensor] | None = None
    count = 0
    samples = max(1, _PIECE // max(1, groups * size * (target[0].numel() // channels)))
    for piece, wanted in zip(x.split(samples), target.split(samples), strict=True):
        patches, values = _patches(layer, piece, groups), _rows(layer, wanted)
        pivots = (patches[0], values[0]) if pivots is None else pivots
        patches, values = patches - pivots[0], values - pivots[1]
        by_group = values.view(len(values), groups, -1)
        gram += torch.einsum("ngi,ngj->gij", patches, patches) if groups > 1 else (patches[:, 0].T @ patches[:, 0])
        product = torch.einsum("ngc,ngk->gck", by_group, patches) if groups > 1 else values.T @ patches[:, 0]
        cross += product.reshape(channels, size)
        inputs += patches.sum(0)
        outputs += values.sum(0)
        count += len(values)
    inputs, outputs = inputs / count, outputs / count
    means = inputs.repeat_interleave(channels // groups, 0)
    return Moments(
        gram=gram / count - inputs[:, :, None] * inputs[:, None, :],
        cross=cross / count - outputs[:, None] * means,
        inputs=inputs if pivots is None else inputs + pivots[0],
        outputs=outputs if pivots is None else outputs + pivots[1],
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


def _patches(layer: Convolution | Linear, x: Tensor, groups: int) -> Tensor:
    if isinstance(layer, Linear):
        return x.reshape(-1, 1, x.shape[-1]).double()
    kernel = (layer.weight.shape[2], layer.weight.shape[3])
    columns = unfold(x if x.ndim == 4 else x[:, :, None], kernel, layer.dilation, layer.padding, layer.stride)
    samples, features, places = columns.shape
    return columns.transpose(1, 2).reshape(samples * places, groups, features // groups).double()


def _rows(layer: Convolution | Linear, values: Tensor) -> Tensor:
    if isinstance(layer, Convolution):
        values = values.flatten(2).transpose(1, 2)
    return values.reshape(-1, len(layer.weight)).double()
