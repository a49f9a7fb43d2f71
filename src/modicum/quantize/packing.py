"""Codes of few bits, packed without gaps."""

from __future__ import annotations

import torch
from torch import Tensor

from modicum.errors import ConfigError, DataError
from modicum.quantize.configuration import LEAST_BITS, MOST_BITS


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
