"""Which grid a tensor between layers gets: the exponent of the least squared error."""

from __future__ import annotations

import math

from torch import Tensor

from modicum.quantize.codes import ActivationGrid, FloatActivationGrid
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
    assert best is not None  # noqa: S101 - the first candidate covers the range
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
