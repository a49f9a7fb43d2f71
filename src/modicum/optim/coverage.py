"""How many patches of a convolution see each pixel, so that sums over patches need no patches."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad


class Geometry(NamedTuple):
    """How a convolution lays its patches; one entry for each spatial axis."""

    kernel: tuple[int, ...]  # taps
    stride: tuple[int, ...]  # pixels between neighbouring patches
    dilation: tuple[int, ...]  # pixels between neighbouring taps
    padding: tuple[tuple[int, int], ...]  # pixels added before and after
    mode: str = "zeros"  # what they hold: "zeros", "reflect", "replicate" or "circular"
    groups: int = 1  # of channels that do not see each other

    def span(self, axis: int) -> int:
        """Give the pixels between the first and the last tap, both included."""
        return (self.kernel[axis] - 1) * self.dilation[axis] + 1

    def outputs(self, axis: int, length: int) -> int:
        """Count the output positions of an axis with ``length`` pixels."""
        return (length + sum(self.padding[axis]) - self.span(axis)) // self.stride[axis] + 1

    def patches(self, size: tuple[int, ...]) -> int:
        """Count the patches of an image with ``size`` pixels along its axes."""
        count = 1  # a loop, since the compiler cannot look into math.prod
        for axis, length in enumerate(size):
            count *= self.outputs(axis, length)
        return count


def coverage(geometry: Geometry, size: tuple[int, ...], device: torch.device) -> Tensor:
    """Count the patches that see each pixel."""
    # The sizes that a compiler traces may be symbols, which do not hash.
    return _count(geometry, size, device) if torch.compiler.is_compiling() else _remember(geometry, size, device)


def _count(geometry: Geometry, size: tuple[int, ...], device: torch.device) -> Tensor:
    counts = torch.ones((), device=device)
    for axis, length in enumerate(size):
        counts = counts.unsqueeze(-1) * _count_along(geometry, axis, length, device)
    return counts


_remember = lru_cache(maxsize=256)(_count)


def _count_along(geometry: Geometry, axis: int, length: int, device: torch.device) -> Tensor:
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
    return torch.zeros(length + 1, device=device).index_add(0, seen, visits)[:length]
