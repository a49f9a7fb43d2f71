"""The equations of NSGD as pure functions: input power, its average over steps, the denominator, and clipping.

A layer multiplies its weight with patches. The patch of a linear layer is one input row; that of a convolution is
what one output position sees, padding included. The power of a patch is its squared l2 norm, or its l1 norm. The
power of a layer is the mean over all patches of the batch.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

Norm = Literal["l1", "l2"]
Denominator = Literal["power", "log"]

_PIECE = 2**18  # numbers; ours, 1 MiB of float32: benchmarks/nsgd.py is no faster with any other power of 2


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


def power_sum(x: Tensor, norm: Norm, dim: tuple[int, ...] | None = None) -> Tensor:
    """Sum squares (l2) or magnitudes (l1).

    Args:
        x: any shape, any floating dtype.
        norm: "l2" or "l1".
        dim: axes to sum over; None for all.

    Returns:
        The sums, in float32, or in float64 if ``x`` is: squares of float16 overflow at 256.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    if x.device.type == "cpu" and dim not in {None, (-1,)} and not torch.compiler.is_compiling():
        # On a CPU, norms that run across memory take ten times as long as squares and their sums.
        x = x.to(dtype)
        return (x.abs() if norm == "l1" else x.square()).sum(dim)
    if norm == "l1":
        return torch.linalg.vector_norm(x, 1, dim=dim, dtype=dtype)
    return torch.linalg.vector_norm(x, 2, dim=dim, dtype=dtype).square()


def linear_power(x: Tensor, *, norm: Norm = "l2", per_channel: bool = False) -> Tensor:
    """Compute the mean power of the rows of a linear layer's input.

    Args:
        x: input, shape (..., in_features), with at least one row.
        norm: "l2" or "l1".
        per_channel: keep one power for each input feature.

    Returns:
        Shape (1,), or (in_features,) if ``per_channel``.

    Source:
        Atici, Pan and Cetin 2022 (arXiv:2212.09921): the power of a layer's input. Departure: the mean over all
        leading axes, where the released code takes a matrix norm that grows with the batch.
    """
    features = x.shape[-1]
    if per_channel:
        rows = x.reshape(-1, features)
        return _batch_power_sum(rows, norm, (0,)) / rows.shape[0]
    return (power_sum(x, norm) / (x.numel() // features)).reshape(1)


def conv_power(x: Tensor, geometry: Geometry, *, norm: Norm = "l2", per_channel: bool = False) -> Tensor:
    """Compute the mean power of the patches of a convolution, without forming them.

    The sum over patches is the sum over pixels, each weighted by the number of patches that see it.

    Args:
        x: input, shape (batch, channels, *spatial) or (channels, *spatial).
        geometry: of the convolution.
        norm: "l2" or "l1".
        per_channel: keep one power for each input channel.

    Returns:
        Shape (groups,), or (channels,) if ``per_channel``.

    Source:
        Atici, Pan and Cetin 2022 (arXiv:2212.09921). Departure: a patch instead of the entire map, since the
        patch is the input of the one neuron that the rule was written for, and needs no constant for the map size.
    """
    if x.ndim == len(geometry.kernel) + 1:
        x = x.unsqueeze(0)
    size = tuple(x.shape[2:])
    blocks = x.reshape(x.shape[0], x.shape[1] if per_channel else geometry.groups, -1, *size)
    pixels = _batch_power_sum(blocks, norm, (0, 2)) * coverage(geometry, size, x.device)
    return pixels.flatten(1).sum(1) / (x.shape[0] * geometry.patches(size))


def patch_power_map(x: Tensor, geometry: Geometry, *, norm: Norm = "l2") -> Tensor:
    """Compute the power of every patch of a convolution.

    Args:
        x: input, shape (batch, channels, *spatial).
        geometry: of the convolution.
        norm: "l2" or "l1".

    Returns:
        Shape (batch, groups, *output positions).
    """
    powers = power_sum(x.unflatten(1, (geometry.groups, -1)), norm, (2,))
    padding = [pixels for pair in reversed(geometry.padding) for pixels in pair]
    powers = pad(powers, padding, mode="constant" if geometry.mode == "zeros" else geometry.mode)
    for axis, stride in enumerate(geometry.stride):
        windows = powers.unfold(axis + 2, geometry.span(axis), stride)
        powers = windows[..., :: geometry.dilation[axis]].sum(-1)
    return powers


def moving_power(previous: Tensor, current: Tensor, beta: float) -> Tensor:
    """Average the power over steps: P_t = beta P_(t-1) + (1 - beta) n_t; the caller starts with P_1 = n_1.

    Source:
        INSGD (arXiv:2212.09921v2), Algorithm 1, line 2.
    """
    return previous.lerp(current, 1 - beta)


def denominator(power: Tensor, kind: Denominator, eps: float) -> Tensor:
    """Turn powers into the divisors of a gradient.

    Args:
        power: any shape, not negative.
        kind: "power" gives eps + P; "log" gives max(log P, eps).
        eps: keeps the result away from 0.

    Returns:
        The shape of ``power``; at least ``eps``. Where it would be 0 (no power, ``eps`` 0), the gradient is 0 too: 1.

    Source:
        arXiv:2212.09921v2: "log" is Algorithm 1, line 3, and "power" the simpler variant.
    """
    if kind == "log":
        return power.log().clamp(min=eps)
    return power + eps if eps else power.masked_fill(power == 0, 1.0)


def output_scale(divided: Tensor, divisor: Tensor | None) -> Tensor:
    """Measure a divided gradient by what it does to the layer's outputs, for `clip_factor`.

    The gradient of a weight grows with the inputs and the divided gradient shrinks with them. Between the two, the
    gradient over the root of its divisor does neither: its norm is about that of the change of the outputs.

    Args:
        divided: the gradient over its divisor, any shape.
        divisor: broadcasts against it; None stands for 1.

    Returns:
        The divided gradient times the root of its divisor, in the same shape.

    Source:
        Ours: the norm of the divided gradient itself depends on the scale of the inputs.
    """
    return divided if divisor is None else divided * divisor.sqrt()


def clip_factor(total: Tensor, max_norm: float) -> Tensor:
    """Give the factor that brings a total norm down to ``max_norm``, as in `torch.nn.utils.clip_grad_norm_`.

    Args:
        total: norm over all parameters, no axes.
        max_norm: > 0.

    Returns:
        At most 1, no axes.
    """
    return (max_norm / (total + 1e-6)).clamp(max=1.0)


def spread(values: Tensor, shape: torch.Size, *, blocks: int, transposed: bool = False) -> Tensor:
    """Lay the values of a layer's units along the axes of its weight.

    Args:
        values: one for each block of rows, or one for each block and column.
        shape: of the weight: (rows, columns, *kernel), or (columns, rows) if ``transposed``.
        blocks: equal parts of the rows that see different inputs.
        transposed: the weight multiplies from the right, as in GPT-2.

    Returns:
        A tensor that broadcasts against the weight; without axes if there is but one value.
    """
    if values.numel() == 1:
        return values.reshape(())
    rows = 1 if blocks == 1 else shape[0] // blocks
    laid = values.reshape(blocks, 1, -1).expand(-1, rows, -1).flatten(0, 1)
    if transposed:
        return laid.T
    return laid.reshape(*laid.shape, *[1] * (len(shape) - 2))


def _batch_power_sum(x: Tensor, norm: Norm, dim: tuple[int, ...]) -> Tensor:
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return power_sum(x, norm, dim)
    # Pieces of the batch keep the memory for the squares small.
    pieces = x.split(max(1, _PIECE * x.shape[0] // x.numel()))
    return sum((power_sum(piece, norm, dim) for piece in pieces[1:]), power_sum(pieces[0], norm, dim))


def coverage(geometry: Geometry, size: tuple[int, ...], device: torch.device) -> Tensor:
    """Count the patches that see each pixel, so that sums over patches need no patches.

    Args:
        geometry: of the convolution.
        size: pixels along each axis.
        device: where the counts are wanted.

    Returns:
        float32, of that shape.
    """
    # The sizes that a compiler traces may be symbols, which do not hash.
    return _count(geometry, size, device) if torch.compiler.is_compiling() else _remember(geometry, size, device)


def _count(geometry: Geometry, size: tuple[int, ...], device: torch.device) -> Tensor:
    counts = torch.ones((), device=device)
    for axis, length in enumerate(size):
        # Padding shows pixels again, or an imaginary pixel after the last one that holds zero.
        shown = torch.arange(length, device=device, dtype=torch.float32).reshape(1, 1, -1)
        mode, value = ("constant", length) if geometry.mode == "zeros" else (geometry.mode, None)
        shown = pad(shown, geometry.padding[axis], mode=mode, value=value)
        starts = torch.arange(geometry.outputs(axis, length), device=device) * geometry.stride[axis]
        taps = torch.arange(geometry.kernel[axis], device=device) * geometry.dilation[axis]
        seen = shown.flatten().long()[(starts[:, None] + taps).flatten()]
        visits = torch.ones(seen.shape, device=device)
        along = torch.zeros(length + 1, device=device).index_add(0, seen, visits)[:length]
        counts = counts.unsqueeze(-1) * along
    return counts


_remember = lru_cache(maxsize=256)(_count)
