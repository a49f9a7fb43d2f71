"""Which scale and which zero point: all of them are tried under the layer's own objective."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from modicum.quantize.functional import power_of_two
from modicum.quantize.hessian.rounding import descend, exchange, pass_on, quadratic

OCTAVES = 4  # exponents tried below the one that covers the whole range
STEPS = 8  # scales an octave, where scales are real
_TOGETHER = 1 << 18  # weights that are rounded in one go
_SYMMETRIC_BITS = 8  # q - z must fit int8, so that only z = 128 is left
_FEW = 32  # weights a channel up to which pairs are tried: depthwise layers and those that read an image
_EXHAUSTIVE_BITS = 4  # up to here all zero points are tried; above, those near the range's own


@dataclass(frozen=True, kw_only=True, slots=True)
class Solution:
    """The best grid of each output channel and the whole weights on it."""

    integers: Tensor  # q - z, float64, shape (channels, k)
    zero: Tensor  # z, float64, shape (channels,), whole where the tried ones were
    scale: Tensor  # s, float64, shape (channels,)
    loss: Tensor  # the objective, float64, shape (channels,)


def candidate_scales(wanted: Tensor, bits: int, *, power: bool, octaves: int = OCTAVES) -> Tensor:
    """Give the scales that are tried for each row: from the one that covers its range down."""
    top_weight, low_weight = wanted.amax(2).clamp(min=0), -wanted.amin(2).clamp(max=0)
    reach = (top_weight + low_weight) / (2**bits - 1)
    if bits == _SYMMETRIC_BITS:  # the zero point is in the middle, and all weights may be on one side
        reach = torch.maximum(top_weight / 127, low_weight / 128)
    reach = torch.where(reach > 0, reach, torch.ones_like(reach))
    if power:
        top = torch.ceil(torch.log2(reach)).clamp(-120, 127)
        exponents = top[None] - torch.arange(octaves + 1, device=wanted.device)[:, None, None]
        return power_of_two(exponents.clamp(-127, 127).to(torch.int32), torch.float64)
    steps = torch.arange(octaves * STEPS + 1, device=wanted.device, dtype=torch.float64) / STEPS
    return reach[None] * 2.0 ** -steps[:, None, None]


def candidate_zeros(wanted: Tensor, scale: Tensor, bits: int) -> Tensor:
    """Give the zero points that are tried for each row."""
    levels = 2**bits
    if bits == _SYMMETRIC_BITS:
        return torch.full((1, *scale.shape), 128.0, dtype=torch.float64, device=scale.device)
    if bits <= _EXHAUSTIVE_BITS:
        all_of_them = torch.arange(levels, dtype=torch.float64, device=scale.device)
        return all_of_them[:, None, None].expand(-1, *scale.shape)
    middle = torch.round((levels - 1) / 2 - (wanted.amax(2) + wanted.amin(2)) / (2 * scale))
    near = middle[None] + torch.arange(-2, 3, device=scale.device)[:, None, None]
    return near.clamp(0, levels - 1)


def solve(
    wanted: Tensor,
    gram: Tensor,
    bits: int,
    *,
    power: bool,
    shared: bool = False,
    keep: int = 4,
    scales: Tensor | None = None,
    zeros: Tensor | None = None,
) -> Solution:
    """Choose scale, zero point and whole weights of each channel so that E|(s (q - z) - v) x|^2 is least."""
    # Every scale is tried with every zero point by rounding to the nearest; the best `keep` of a channel are then
    # rounded well (`pass_on`, `descend`, `exchange`), and the best of those is it. Channels do not see each other, so
    # this is the best of the layer's objective up to the rounding itself.
    tried = candidate_scales(wanted, bits, power=power) if scales is None else scales
    if shared:
        tried = _shared(wanted, bits, power=power)
    losses, all_scales, all_zeros = [], [], []
    for scale in tried:
        for zero in candidate_zeros(wanted, scale, bits) if zeros is None else zeros:
            losses.append(_nearest_loss(wanted, gram, scale, zero, bits))
            all_scales.append(scale)
            all_zeros.append(zero)
    loss, scale, zero = (torch.stack(it) for it in (losses, all_scales, all_zeros))
    if shared:
        best_of_scale = loss.view(len(tried), -1, *loss.shape[1:])
        winner = best_of_scale.amin(1).sum((1, 2)).argmin()
        loss, scale, zero = (it.view(len(tried), -1, *it.shape[1:])[winner] for it in (loss, scale, zero))
    ranked = loss.topk(min(keep, len(loss)), dim=0, largest=False).indices
    # Small layers take all of them at once, one after the other in a row of channels: the steps are many and small.
    found: list[Solution] = []
    for ranks in ranked.split(max(1, _TOGETHER // wanted.numel())):
        some_scales, some_zeros = (
            torch.cat([it.gather(0, rank[None])[0] for rank in ranks], 1) for it in (scale, zero)
        )
        found += _rounded(wanted, gram, some_scales, some_zeros, bits)
    return functools.reduce(_better, found)


def _shared(wanted: Tensor, bits: int, *, power: bool) -> Tensor:
    whole = candidate_scales(wanted.reshape(1, 1, -1), bits, power=power)
    return whole.expand(-1, *wanted.shape[:2])


def _nearest_loss(wanted: Tensor, gram: Tensor, scale: Tensor, zero: Tensor, bits: int) -> Tensor:
    whole = torch.round(wanted / scale[:, :, None])
    bounded = torch.maximum(torch.minimum(whole, (2**bits - 1 - zero)[:, :, None]), -zero[:, :, None])
    return quadratic(bounded * scale[:, :, None] - wanted, gram)


def _rounded(wanted: Tensor, gram: Tensor, scale: Tensor, zero: Tensor, bits: int) -> list[Solution]:
    low, high = -zero, 2**bits - 1 - zero
    whole = pass_on(wanted, gram, scale, low, high)
    whole = descend(whole, wanted, gram, scale, low, high)
    grids = zip(*(it.split(wanted.shape[1], 1) for it in (whole, scale, zero, low, high)), strict=True)
    return [_on_grid(wanted, gram, *grid) for grid in grids]


def _on_grid(
    wanted: Tensor, gram: Tensor, whole: Tensor, scale: Tensor, zero: Tensor, low: Tensor, high: Tensor
) -> Solution:
    if wanted.shape[2] <= _FEW:
        whole = exchange(whole, wanted, gram, scale, low, high)
    loss = quadratic(whole * scale[:, :, None] - wanted, gram)
    return Solution(integers=whole.flatten(0, 1), zero=zero.flatten(), scale=scale.flatten(), loss=loss.flatten())


def _better(first: Solution, second: Solution) -> Solution:
    take = second.loss < first.loss
    return Solution(
        integers=torch.where(take[:, None], second.integers, first.integers),
        zero=torch.where(take, second.zero, first.zero),
        scale=torch.where(take, second.scale, first.scale),
        loss=torch.where(take, second.loss, first.loss),
    )
