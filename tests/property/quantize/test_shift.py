"""The shift against exact fractions, over random numbers."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Literal

import torch
from hypothesis import given
from hypothesis import strategies as st

from modicum.quantize.functional import round_to, shift_right

ROUNDINGS: st.SearchStrategy[Literal["half_even", "half_up"]] = st.sampled_from(["half_even", "half_up"])


def exactly(number: Fraction, rounding: str) -> int:
    """Round a fraction; Python's round takes ties to the even number."""
    return round(number) if rounding == "half_even" else math.floor(number + Fraction(1, 2))


@given(
    number=st.one_of(st.integers(-(2**40), 2**40), st.integers(-20, 20)), shift=st.integers(-5, 20), rounding=ROUNDINGS
)
def test_shift_is_division_by_a_power_of_two(
    number: int, shift: int, rounding: Literal["half_even", "half_up"]
) -> None:  # RAPQ-C13
    found = shift_right(torch.tensor([number]), shift, rounding)
    assert int(found) == exactly(Fraction(number) / Fraction(2) ** shift, rounding)


@given(number=st.integers(-(2**31), 2**31 - 1), shift=st.integers(0, 35), rounding=ROUNDINGS)
def test_shift_of_any_int32_stays_exact(number: int, shift: int, rounding: Literal["half_even", "half_up"]) -> None:
    found = shift_right(torch.tensor([number], dtype=torch.int32), shift, rounding)
    assert found.dtype == torch.int32
    assert int(found) == exactly(Fraction(number, 2**shift), rounding)


@given(x=st.floats(-(2.0**30), 2.0**30, width=32), rounding=ROUNDINGS)
def test_float_rounding_agrees_with_fractions(x: float, rounding: Literal["half_even", "half_up"]) -> None:
    assert float(round_to(torch.tensor(x, dtype=torch.float32), rounding)) == exactly(Fraction(x), rounding)
