"""Values on a grid: integer codes, packed, an integer exponent, and nothing that could be another scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor

from modicum.errors import ConfigError, DataError
from modicum.quantize.configuration import LEAST_BITS, MOST_BITS
from modicum.quantize.functional import Rounding, fake_quantize, power_of_two


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightCode:
    """The weights of a layer as w = (q - z) 2^e, with one e and one z for each output channel."""

    codes: Tensor  # q, uint8, the shape of the weight, 0 ... 2^bits - 1
    zero: Tensor  # z, uint8, shape (channels,)
    exponent: Tensor  # e, int8, shape (channels,)
    bits: int  # n, 2 to 8; with 8 bits z is 128, so that q - z fits int8

    def __post_init__(self) -> None:
        channels = (len(self.codes),)
        for name, kind, shape in (
            ("codes", torch.uint8, tuple(self.codes.shape)),
            ("zero", torch.uint8, channels),
            ("exponent", torch.int8, channels),
        ):
            value: Tensor = getattr(self, name)
            if value.dtype != kind or tuple(value.shape) != shape:
                raise DataError(
                    f"{name} must be {kind} of shape {shape}, but it is {value.dtype} of shape {tuple(value.shape)}.",
                    hint="Round it and bring it to that type: only integers can be stored.",
                )
        highest = max(int(it.max()) for it in (self.codes, self.zero) if it.numel())
        if not 2 <= self.bits <= 8 or highest >= 2**self.bits:
            raise DataError(f"A code of {self.bits} bits cannot be {highest}.", hint="Give as many bits as it needs.")
        if self.bits == 8 and not bool((self.zero == 128).all()):
            raise DataError("With 8 bits the zero point must be 128.", hint="Let q - z fit int8.")

    @property
    def integers(self) -> Tensor:
        """The weights in units of their channel's scale, q - z, as int8."""
        return (self.codes.to(torch.int16) - _by_channel(self.zero.to(torch.int16), self.codes)).to(torch.int8)

    @property
    def scale(self) -> Tensor:
        """2^e as float32, shape (channels,)."""
        return power_of_two(self.exponent)

    def dequantized(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """Give the weights as real numbers, exactly."""
        return self.integers.to(dtype) * _by_channel(power_of_two(self.exponent, dtype), self.codes)


@dataclass(frozen=True, kw_only=True, slots=True)
class FloatWeightCode:
    """The same with any scale: the control. It can be computed with, and not be stored."""

    codes: Tensor  # q, float32, the shape of the weight; q - z is whole but at the ends, where z is not
    zero: Tensor  # z, float32, shape (channels,), whole or not
    scale: Tensor  # s, float32, shape (channels,)
    bits: int  # n

    def dequantized(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """Give the weights as real numbers."""
        whole = self.codes.to(dtype) - _by_channel(self.zero.to(dtype), self.codes)
        return whole * _by_channel(self.scale.to(dtype), self.codes)


@dataclass(frozen=True, kw_only=True, slots=True)
class ActivationGrid:
    """The grid k 2^e of a tensor between layers; k is unsigned after a ReLU and signed elsewhere."""

    bits: int  # n, 2 to 8
    signed: bool  # k in -2^(n-1) ... 2^(n-1) - 1, else 0 ... 2^n - 1
    exponent: int  # e, fits int8
    ceiling: float | None = None  # the largest real value (6 of a ReLU6); None for no such thing
    rounding: Rounding = "half_even"  # what happens to a tie

    def __post_init__(self) -> None:
        if not isinstance(self.exponent, int) or not -128 <= self.exponent <= 127:
            raise DataError(f"An exponent must fit int8, but it is {self.exponent!r}.", hint="Give an integer.")

    @property
    def scale(self) -> float:
        """2^e."""
        return 2.0**self.exponent

    @property
    def low(self) -> int:
        """The smallest k."""
        return _low(self.bits, signed=self.signed)

    @property
    def high(self) -> int:
        """The largest k; a ceiling is rounded down to the grid."""
        return _high(self.bits, self.ceiling, self.scale, signed=self.signed)

    def apply(self, x: Tensor) -> Tensor:
        """Bring a tensor to the grid; exact in float32 for a power of two."""
        return fake_quantize(x, self.scale, self.low, self.high, self.rounding)

    def moved(self, exponent: int) -> ActivationGrid:
        """Give the same grid with another exponent."""
        return replace(self, exponent=exponent)


@dataclass(frozen=True, kw_only=True, slots=True)
class FloatActivationGrid:
    """The same with any scale: the control."""

    bits: int  # n
    signed: bool  # as in `ActivationGrid`
    scale: float  # s > 0
    ceiling: float | None = None  # as in `ActivationGrid`

    @property
    def low(self) -> int:
        """The smallest k."""
        return _low(self.bits, signed=self.signed)

    @property
    def high(self) -> int:
        """The largest k."""
        return _high(self.bits, self.ceiling, self.scale, signed=self.signed)

    def apply(self, x: Tensor) -> Tensor:
        """Bring a tensor to the grid."""
        return fake_quantize(x, self.scale, self.low, self.high)


Codes: TypeAlias = Mapping[str, WeightCode | FloatWeightCode]  # by layer
Grids: TypeAlias = Mapping[str, ActivationGrid | FloatActivationGrid]  # by node


def _by_channel(values: Tensor, weight: Tensor) -> Tensor:
    return values.view(-1, *[1] * (weight.ndim - 1))


def _low(bits: int, *, signed: bool) -> int:
    return -(2 ** (bits - 1)) if signed else 0


def _high(bits: int, ceiling: float | None, scale: float, *, signed: bool) -> int:
    high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
    return high if ceiling is None else min(high, int(ceiling / scale))


def packed_size(count: int, bits: int) -> int:
    """Give the bytes that codes take: count bits / 8, rounded up."""
    return -(-count * bits // 8)


def pack_bits(codes: Tensor, bits: int) -> Tensor:
    """Write codes of n bits one behind the other, the lowest bit of each first, from the lowest bit of each byte on."""
    _check_bits(bits)
    flat = codes.flatten().to(torch.uint8)
    if flat.numel() and int(flat.max()) >= 2**bits:
        raise ConfigError(f"{bits} bits hold no code of {int(flat.max())}.", hint=f"Keep codes below {2**bits}.")
    digits = torch.bitwise_right_shift(flat[:, None], _places(bits, codes.device)) & 1
    digits = torch.nn.functional.pad(digits.flatten(), (0, -flat.numel() * bits % 8)).view(-1, 8)
    return _numbers(digits)


def unpack_bits(packed: Tensor, bits: int, count: int) -> Tensor:
    """Read what `pack_bits` wrote."""
    _check_bits(bits)
    if packed.numel() != packed_size(count, bits):
        raise DataError(
            f"{count} codes of {bits} bits take {packed_size(count, bits)} bytes, but there are {packed.numel()}.",
            hint="The file is damaged: write it again.",
        )
    digits = torch.bitwise_right_shift(packed[:, None], _places(8, packed.device)) & 1
    digits = digits.flatten()
    if bool(digits[count * bits :].any()):
        raise DataError(
            "The packed codes end in bits that belong to none of them.", hint="The file is damaged: write it again."
        )
    return _numbers(digits[: count * bits].view(-1, bits))


def _check_bits(bits: int) -> None:
    if not LEAST_BITS <= bits <= MOST_BITS:
        raise ConfigError(f"Codes have {LEAST_BITS} to {MOST_BITS} bits, not {bits}.", hint="Use 8, 4 or 2.")


def _places(count: int, device: torch.device) -> Tensor:
    return torch.arange(count, dtype=torch.uint8, device=device)


def _numbers(digits: Tensor) -> Tensor:
    places = _places(digits.shape[1], digits.device)
    return torch.bitwise_left_shift(digits, places).sum(dim=1, dtype=torch.uint8)
