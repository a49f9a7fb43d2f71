"""The control: scales of the usual search, snapped to the nearest power of two."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from modicum.quantize.codes import ActivationGrid
from modicum.quantize.functional import Rounding
from modicum.quantize.graph.placement import Site
from modicum.quantize.grids import choose_grid
from modicum.quantize.hessian.layers import Choice
from modicum.quantize.hessian.search import Solution, solve
from modicum.quantize.scale_search import search_scales

ZeroTreatment = Literal["kept", "rescaled"]


def snap_to_nearest(zeros: ZeroTreatment) -> Choice:
    """Give the choice that searches a real scale by squared error and takes 2^round(log2 s) for it."""

    def choice(weight: Tensor, wanted: Tensor, gram: Tensor, bits: int, *, shared: bool) -> Solution:
        granularity = "tensor" if shared else "channel"
        scale, zero = (it.double().flatten() for it in search_scales(weight.float(), bits, granularity))
        scale, zero = (it.expand(len(weight)) if it.numel() == 1 else it for it in (scale, zero))
        snapped = 2.0 ** torch.round(torch.log2(scale))
        moved = zero * scale / snapped
        if zeros == "rescaled":
            moved = torch.round(moved).clamp(0, 2**bits - 1)
        shape = (1, *wanted.shape[:2])
        return solve(wanted, gram, bits, power=True, scales=snapped.view(shape), zeros=moved.view(shape))

    return choice


def snap_grid(site: Site, wanted: Tensor, given: Tensor, *, rounding: Rounding) -> ActivationGrid:
    """Give the real grid of least squared error, snapped to the nearest power of two."""
    real = choose_grid(site, wanted, given, power=False, rounding=rounding)
    return ActivationGrid(
        bits=real.bits,
        signed=real.signed,
        exponent=round(math.log2(real.scale)),
        ceiling=real.ceiling,
        rounding=rounding,
    )
