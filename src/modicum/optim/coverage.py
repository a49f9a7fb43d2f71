"""How many patches of a convolution see each pixel, so that sums over patches need no patches."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["Geometry", "Part", "Plan", "coverage", "plan"]


class Geometry(NamedTuple):
    """How a convolution lays its patches; one entry for each spatial axis.

    Args:
        kernel: taps.
        stride: pixels between neighbouring patches.
        dilation: pixels between neighbouring taps.
        padding: pixels added before and after.
        mode: what they hold: "zeros", "reflect", "replicate" or "circular".
        groups: of channels that do not see each other.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    mode: str = "zeros"
    groups: int = 1

    def span(self, axis: int) -> int:
        """Give the pixels between the first and the last tap, both included."""
        return (self.kernel[axis] - 1) * self.dilation[axis] + 1

    def outputs(self, axis: int, length: int) -> int:
        """Count the output positions of an axis with ``length`` pixels."""
        return (length + sum(self.padding[axis]) - self.span(axis)) // self.stride[axis] + 1


def coverage(geometry: Geometry, size: tuple[int, ...], device: torch.device | None = None) -> list[Tensor]:
    """Count the patches that see each pixel of each spatial axis; the counts of a pixel are their product.

    Args:
        geometry: of the convolution.
        size: pixels of each axis.
        device: where the counts are wanted.

    Returns:
        One tensor of shape (length,) for each axis.
    """
    counts: list[Tensor] = []
    for axis, length in enumerate(size):
        # Padding shows pixels again, or an imaginary pixel after the last one that holds zero.
        shown = torch.arange(length, device=device, dtype=torch.float32).reshape(1, 1, -1)
        if geometry.mode == "zeros":
            shown = pad(shown, geometry.padding[axis], value=length)
        else:
            shown = pad(shown, geometry.padding[axis], mode=geometry.mode)
        starts = torch.arange(geometry.outputs(axis, length), device=device) * geometry.stride[axis]
        taps = torch.arange(geometry.kernel[axis], device=device) * geometry.dilation[axis]
        seen = shown.flatten().long()[(starts[:, None] + taps).flatten()]
        visits = torch.ones(seen.shape, device=device)
        counts.append(torch.zeros(length + 1, device=device).index_add(0, seen, visits)[:length])
    return counts


class Part(NamedTuple):
    """Pixels with weights of their own.

    Args:
        axis: spatial axis that they are picked from.
        picked: their indices on it; None for all pixels.
        weights: of the picked pixels.
    """

    axis: int
    picked: Tensor | None
    weights: Tensor


class Plan(NamedTuple):
    """A weighted sum over pixels.

    Args:
        interior: weight of every pixel, before the parts correct it.
        parts: corrections.
    """

    interior: float
    parts: tuple[Part, ...]


def plan(geometry: Geometry, size: tuple[int, ...], device: torch.device) -> Plan:
    """Plan the sum over all patches of a convolution as a sum over pixels."""
    # A compiler fuses one weighted sum into what produced the pixels; its sizes may be symbols, which do not hash.
    if torch.compiler.is_compiling():
        return _whole(coverage(geometry, size, device))
    return _plan(geometry, size, device)


def _product(counts: list[Tensor]) -> Tensor:
    product = counts[0]
    for axis in counts[1:]:
        product = product.unsqueeze(-1) * axis
    return product


def _whole(counts: list[Tensor]) -> Plan:
    return Plan(0.0, (Part(0, None, _product(counts)),))


@lru_cache(maxsize=256)
def _plan(geometry: Geometry, size: tuple[int, ...], device: torch.device) -> Plan:
    # An accelerator is better served by one weighted sum; so is a CPU unless most pixels are alike.
    counts = coverage(geometry, size, device)
    common = [axis.mode().values for axis in counts]
    edges = [(axis != usual).nonzero().flatten() for axis, usual in zip(counts, common, strict=True)]
    if device.type != "cpu" or sum(len(edge) / len(axis) for edge, axis in zip(edges, counts, strict=True)) > 0.5:
        return _whole(counts)
    interior = math.prod(float(usual) for usual in common)
    excess = _product(counts) - interior
    parts: list[Part] = []
    for axis, edge in enumerate(edges):
        if len(edge):
            parts.append(Part(axis, edge, excess.index_select(axis, edge)))
            excess = excess.index_fill(axis, edge, 0.0)
    return Plan(interior, tuple(parts))
