"""The published search for real scales: shrink the range in eighty steps, and keep the one with the least error."""

from __future__ import annotations

import torch
from torch import Tensor

from modicum.errors import ConfigError
from modicum.quantize.configuration import Granularity

__all__ = ["search_scales"]

_STEPS, _SHRINK, _NORM = 80, 0.01, 2.4
_BLOCK = 2**17  # numbers at a time, so that a block and its error stay in a core's cache


def search_scales(weight: Tensor, bits: int, granularity: Granularity = "channel") -> tuple[Tensor, Tensor]:
    """Find the scale s and the zero point z that quantize each channel with the least mean |w - w^|^2.4.

    The largest and the smallest weight are taken (1 - i / 100)-fold for i = 0 ... 79;
    s = (max - min) / (2^n - 1), z = round(-min / s), w^ = s (clamp(round(w / s) + z, 0, 2^n - 1) - z).
    The first of equals is kept. Weights of one sign give a z outside of [0, 2^n - 1], as published.

    Args:
        weight: shape (channels, ...), floating.
        bits: n.
        granularity: one scale a "channel", or one a "tensor".

    Returns:
        s and z, each of shape (channels,) or (1,), dtype of the weight. Where all weights are alike, there is no
        range: s = 1 and z = 0.

    Raises:
        ConfigError: if a weight is not finite or there is none.

    Source:
        Yao et al. 2022, initialisation "mse" of the released code; equal to it bit for bit.
    """
    if not weight.numel() or not bool(torch.isfinite(weight).all()):
        raise ConfigError("Weights must be finite, and one at least.", mend="Look for NaN in the checkpoint.")
    rows = weight.detach().reshape(1 if granularity == "tensor" else len(weight), -1)
    size = max(1, _BLOCK // rows.shape[1])
    found = [_search(block, bits) for block in rows.split(size)]
    return torch.cat([scale for scale, _ in found]), torch.cat([zero for _, zero in found])


def _search(rows: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    top, bottom = rows.amax(dim=1), rows.amin(dim=1)
    least = torch.full_like(top, torch.inf)
    best_scale, best_zero = torch.ones_like(top), torch.zeros_like(top)
    work = torch.empty_like(rows)
    last = 2**bits - 1
    for step in range(_STEPS):
        high, low = top * (1 - step * _SHRINK), bottom * (1 - step * _SHRINK)
        scale = (high - low) / last
        zero = torch.round(-low / scale)
        wide, shift = scale[:, None], zero[:, None]
        torch.div(rows, wide, out=work)
        work.round_().add_(shift).clamp_(0, last).sub_(shift).mul_(wide)
        error = torch.sub(rows, work, out=work).abs_().pow_(_NORM).mean(dim=1)
        better = error < least  # never where there is no range: the error is not a number
        least = torch.where(better, error, least)
        best_scale = torch.where(better, scale, best_scale)
        best_zero = torch.where(better, zero, best_zero)
    return best_scale, best_zero
