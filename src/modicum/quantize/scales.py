"""Scales by squared error: of a tensor between layers, and the published search for those of weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from modicum.errors import ConfigError, ModelError
from modicum.quantize.codes import ActivationGrid, FloatActivationGrid
from modicum.quantize.configuration import Granularity
from modicum.quantize.functional import Rounding
from modicum.quantize.graph.placement import Site

OCTAVES = 4  # tried below the exponent that covers the range
STEPS = 8  # scales an octave, where scales are real
_MOST = 2**20  # ours: numbers that the choice looks at, evenly spread
_LOWEST, _HIGHEST = -120, 120


def choose_grid(
    site: Site, wanted: Tensor, given: Tensor, *, power: bool, rounding: Rounding
) -> ActivationGrid | FloatActivationGrid:
    """Choose the scale s for which grid(given) is closest to what is wanted."""
    signed = bool((given < 0).any()) if site.unsigned is None else not site.unsigned
    candidates = _candidates(given, site.bits, signed=signed, power=power)
    stride = _stride(given.numel())
    wanted, given = wanted.flatten()[::stride], given.flatten()[::stride]
    best: ActivationGrid | FloatActivationGrid | None = None
    least = math.inf
    for scale in candidates:
        grid: ActivationGrid | FloatActivationGrid
        if power:
            exponent = round(math.log2(scale))
            grid = ActivationGrid(
                bits=site.bits, signed=signed, exponent=exponent, ceiling=site.ceiling, rounding=rounding
            )
        else:
            grid = FloatActivationGrid(bits=site.bits, signed=signed, scale=scale, ceiling=site.ceiling)
        loss = float((grid.apply(given) - wanted).square().mean())
        if grid.high > 0 and loss < least:
            best, least = grid, loss
    if best is None:  # no squared error is a number
        raise ModelError(
            f"A tensor with values of up to {float(given.abs().max()):.3g} is too large to compare grids of it in "
            f"{given.dtype}.",
            hint="Quantize the network in float32 or float64.",
        )
    return best


def _stride(count: int) -> int:
    # Without a factor in common with the shape, or it would be the same column of every image.
    stride = max(1, count // _MOST)
    while math.gcd(stride, count) > 1:
        stride += 1
    return stride


def _candidates(x: Tensor, bits: int, *, signed: bool, power: bool) -> list[float]:
    low, high = (2 ** (bits - 1), 2 ** (bits - 1) - 1) if signed else (1, 2**bits - 1)
    reach = max(float(x.max()) / high, -float(x.min()) / low if signed else 0.0)
    reach = reach if reach > 0 else 1.0
    if not power:
        return [reach * 2 ** (-step / STEPS) for step in range(OCTAVES * STEPS + 1)]
    top = min(max(math.ceil(math.log2(reach)), _LOWEST + OCTAVES), _HIGHEST)
    return [2.0 ** (top - step) for step in range(OCTAVES + 1)]


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
