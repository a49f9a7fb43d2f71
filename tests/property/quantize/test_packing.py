"""Packed codes: what goes in comes out, in the fewest bytes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modicum.errors import ConfigError, DataError
from modicum.quantize.codes import pack_bits, packed_size, unpack_bits


@st.composite
def codes(draw: st.DrawFn) -> tuple[int, list[int]]:
    """Draw a number of bits and codes that have no more."""
    bits = draw(st.integers(2, 8))
    return bits, draw(st.lists(st.integers(0, 2**bits - 1), max_size=70))


@given(codes())
def test_codes_come_back_from_the_fewest_bytes(drawn: tuple[int, list[int]]) -> None:
    bits, values = drawn
    packed = pack_bits(torch.tensor(values, dtype=torch.uint8), bits)
    assert packed.numel() == packed_size(len(values), bits) == -(-len(values) * bits // 8)
    assert unpack_bits(packed, bits, len(values)).tolist() == values


@given(codes())
def test_the_bytes_are_those_of_one_large_number(drawn: tuple[int, list[int]]) -> None:
    bits, values = drawn
    number = sum(value << (bits * place) for place, value in enumerate(values))
    packed = pack_bits(torch.tensor(values, dtype=torch.uint8), bits)
    assert bytes(packed.tolist()) == number.to_bytes(packed.numel(), "little")


@given(codes(), st.integers(-3, 3).filter(bool))
def test_another_number_of_bytes_is_refused(drawn: tuple[int, list[int]], more: int) -> None:
    bits, values = drawn
    packed = pack_bits(torch.tensor(values, dtype=torch.uint8), bits)
    wrong = torch.nn.functional.pad(packed, (0, more)) if packed.numel() + more >= 0 else packed[:0]
    if wrong.numel() != packed.numel():
        with pytest.raises(DataError, match="codes of"):
            unpack_bits(wrong, bits, len(values))


def test_a_bit_that_belongs_to_no_code_is_refused() -> None:
    with pytest.raises(DataError, match="belong to none"):
        unpack_bits(torch.tensor([0b1000_0000], dtype=torch.uint8), 3, 2)


def test_a_code_that_is_too_large_is_refused() -> None:
    with pytest.raises(ConfigError, match="2 bits hold no code of 4"):
        pack_bits(torch.tensor([4], dtype=torch.uint8), 2)


@pytest.mark.parametrize("bits", [1, 9])
def test_other_numbers_of_bits_are_refused(bits: int) -> None:
    with pytest.raises(ConfigError, match="2 to 8 bits"):
        pack_bits(torch.zeros(3, dtype=torch.uint8), bits)
    with pytest.raises(ConfigError, match="2 to 8 bits"):
        unpack_bits(torch.zeros(3, dtype=torch.uint8), bits, 3)
