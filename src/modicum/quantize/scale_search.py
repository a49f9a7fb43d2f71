"""The published search for real scales: shrink the range in eighty steps, and keep the one with the least error."""

from __future__ import annotations

import torch
from torch import Tensor

from modicum.errors import ConfigError
from modicum.quantize.configuration import Granularity

_STEPS, _SHRINK, _NORM = 80, 0.01, 2.4
_BLOCK = 2**17  # numbers at a time, whether of one step or of several


def search_scales(weight: Tensor, bits: int, granularity: Granularity = "channel") -> tuple[Tensor, Tensor]:
    """Find the scale s and the zero point z that quantize each channel with the least mean |w - w^|^2.4."""
    # The largest and the smallest weight are taken (1 - i / 100)-fold for i = 0 ... 79; s = (max - min) / (2^n - 1), z
    # = round(-min / s), w^ = s (clamp(round(w / s) + z, 0, 2^n - 1) - z). The first of equals is kept. Weights of one
    # sign give a z outside of [0, 2^n - 1], as published.
    if not weight.numel() or not bool(torch.isfinite(weight).all()):
        raise ConfigError("Weights must be finite, and one at least.", hint="Look for NaN in the checkpoint.")
    rows = weight.detach().reshape(1 if granularity == "tensor" else len(weight), -1)
    found = [_search(block, bits) for block in rows.split(max(1, _BLOCK // rows.shape[1]))]
    return torch.cat([scale for scale, _ in found]), torch.cat([zero for _, zero in found])


def _search(rows: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    last = 2**bits - 1
    top, bottom = rows.amax(dim=1), rows.amin(dim=1)
    # Numbers of Python, one at a time, are those of the published loop: arange would round some of them otherwise.
    share = torch.tensor([1 - step * _SHRINK for step in range(_STEPS)], dtype=rows.dtype, device=rows.device)
    high, low = top * share[:, None], bottom * share[:, None]
    scale = (high - low) / last  # (steps, channels)
    zero = torch.round(-low / scale)
    together = max(1, _BLOCK // rows.numel())  # steps
    parts = zip(scale.split(together), zero.split(together), strict=True)
    error = torch.cat([_error(rows, some, shift, last) for some, shift in parts])
    best = error.nan_to_num(nan=torch.inf).argmin(dim=0, keepdim=True)  # the first of equals
    flat = top == bottom
    return scale.gather(0, best)[0].masked_fill(flat, 1), zero.gather(0, best)[0].masked_fill(flat, 0)


def _error(rows: Tensor, scale: Tensor, zero: Tensor, last: int) -> Tensor:
    """Give the mean |w - w^|^2.4, shape (steps, channels)."""
    wide, zero = scale[..., None], zero[..., None]
    rounded = torch.div(rows, wide).round_().clamp_(-zero, last - zero).mul_(wide)
    return torch.sub(rows, rounded, out=rounded).abs_().pow_(_NORM).mean(dim=-1)
