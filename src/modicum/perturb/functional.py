"""Noise that is computed, not drawn: a hash of (seed, layer, step, sample, element) and its two distributions.

All integers are int32 and wrap, so CPU, GPU and compiled code agree in every bit. The normal distribution takes its
logarithms and cosines from tables for the same reason: compiled code computes them with another library than eager
code, and the last bits differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

# Wellons' "lowbias32" (public domain): the multipliers and shifts of the 2-round hash with the lowest bias he found.
_FIRST, _SECOND = 0x7FEB352D, 0x846CA68B - 2**32
_GOLDEN = 0x9E3779B9 - 2**32
_LEVELS = 2**16
NormalTables = tuple[Tensor, Tensor]


def fold(key: Tensor, *words: int | Tensor) -> Tensor:
    """Mix words into a key, one after the other.

    Args:
        key: int32, any shape.
        words: integers of up to 32 bits, or int32 tensors that broadcast against ``key``.

    Returns:
        A new int32 key.
    """
    for word in words:
        # Adding first keeps a key of zeros from staying one: the hash maps 0 to 0.
        mixed = (key ^ (_wrap(word) if isinstance(word, int) else word)) + _GOLDEN
        key = _second_round(_first_round(mixed))
    return key


def hash_bits(
    shape: Sequence[int], key: Tensor, *, first_sample: int = 0, device: torch.device | None = None
) -> Tensor:
    """Hash every element of a tensor to 32 bits.

    An element is known by its sample and its position in the sample, so a sample gets the same bits in a larger batch,
    next to longer sentences, or on another rank.

    Args:
        shape: (samples, ...), with fewer than 2**31 elements a sample.
        key: 0-d int32, from `fold`.
        first_sample: number of the first sample in the batch of all ranks.
        device: where the bits are wanted.

    Returns:
        int32, shape (samples, elements of a sample).
    """
    samples, *rest = shape
    numbers = torch.arange(first_sample, first_sample + samples, dtype=torch.int32, device=device).unsqueeze(1)
    # Two keys a sample: with one of 32 bits, the noise of some two samples would often be shifted copies.
    outer = fold(numbers, key)
    inner = fold(outer, 1)
    elements = torch.arange(math.prod(rest), dtype=torch.int32, device=device)
    return _second_round(_first_round(elements ^ outer).add_(inner))


def hash_uniform(
    shape: Sequence[int], key: Tensor, *, first_sample: int = 0, device: torch.device | None = None
) -> Tensor:
    """Compute noise that is uniform on (-1, 1): the midpoints of 2**24 equal parts.

    Args:
        shape: (samples, ...).
        key: 0-d int32, from `fold`.
        first_sample: number of the first sample in the batch of all ranks.
        device: where the noise is wanted.

    Returns:
        float32, of the shape.
    """
    bits = hash_bits(shape, key, first_sample=first_sample, device=device)
    return ((bits >> 8).to(torch.float32) + 0.5).mul_(2.0**-23).view(*shape)


def hash_normal(shape: Sequence[int], key: Tensor, tables: NormalTables, *, first_sample: int = 0) -> Tensor:
    """Compute noise that is standard normal, by the transform of Box and Muller.

    Args:
        shape: (samples, ...).
        key: 0-d int32, from `fold`.
        tables: of `normal_tables`, on the device where the noise is wanted.
        first_sample: number of the first sample in the batch of all ranks.

    Returns:
        float32, of the shape; the largest magnitude is 4.86.

    Source:
        Box and Muller 1958: sqrt(-2 ln u) cos(2 pi v). Departure: u and v are the two halves of one hash, 16 bits
        each, so that both factors come from tables and one multiplication is all that is rounded.
    """
    radius, cosine = tables
    bits = hash_bits(shape, key, first_sample=first_sample, device=radius.device).view(-1)
    noise = radius.index_select(0, (bits >> 16) & 0xFFFF).mul_(cosine.index_select(0, bits & 0xFFFF))
    return noise.view(*shape)


def normal_tables() -> NormalTables:
    """Tabulate both factors of the Box-Muller transform at the midpoints of 2**16 equal parts.

    Returns:
        sqrt(-2 ln u) and cos(2 pi v), float32, shape (65536,) each, on the CPU: copies of them make all devices agree.
    """
    points = (torch.arange(_LEVELS, dtype=torch.float64) + 0.5) / _LEVELS
    radius = (-2 * points.log()).sqrt().to(torch.float32)
    cosine = (2 * math.pi * points).cos().to(torch.float32)
    return radius, cosine


def root_mean_square(hidden: Tensor) -> Tensor:
    """Measure the size of each token's hidden state, without a gradient.

    Args:
        hidden: shape (..., features).

    Returns:
        float32, shape (..., 1).
    """
    return hidden.detach().to(torch.float32).square().mean(-1, keepdim=True).sqrt()


def _first_round(bits: Tensor) -> Tensor:
    # ``bits`` is ours: in place saves a temporary a step. The mask makes an arithmetic shift a logical one.
    return bits.bitwise_xor_((bits >> 16).bitwise_and_(0xFFFF)).mul_(_FIRST)


def _second_round(bits: Tensor) -> Tensor:
    bits = bits.bitwise_xor_((bits >> 15).bitwise_and_(0x1FFFF)).mul_(_SECOND)
    return bits.bitwise_xor_((bits >> 16).bitwise_and_(0xFFFF))


def _wrap(word: int) -> int:
    return (word + 2**31) % 2**32 - 2**31
