"""The equations against the numbers that they must give."""

from __future__ import annotations

import math

import pytest
import torch

from modicum.quantize.functional import fake_quantize, power_of_two, round_to, shift_right


def test_shift_rounding_table() -> None:  # RAPQ-C13
    accumulators = torch.arange(-3, 4, dtype=torch.int32)
    assert shift_right(accumulators, 1, "half_up").tolist() == [-1, -1, 0, 0, 1, 1, 2]
    assert shift_right(accumulators, 1, "half_even").tolist() == [-2, -1, 0, 0, 0, 1, 2]


def test_vitis_rounds_minus_three_halves_up() -> None:  # RAPQ-C13
    assert int(shift_right(torch.tensor(-3), 1, "half_up")) == -1
    assert float(round_to(torch.tensor(-1.5), "half_up")) == -1


@pytest.mark.parametrize("rounding", ["half_even", "half_up"])
def test_shift_does_not_overflow_at_the_ends_of_its_type(rounding: str) -> None:
    ends = torch.tensor([2**31 - 1, -(2**31)], dtype=torch.int32)
    assert shift_right(ends, 1, rounding).tolist() == [2**30, -(2**30)]  # pyright: ignore[reportArgumentType]


def test_shift_by_more_than_all_bits_is_zero() -> None:
    numbers = torch.tensor([2**31 - 1, -(2**31), -1, 0], dtype=torch.int32)
    for shift in (32, 40):
        for rounding in ("half_even", "half_up"):
            assert shift_right(numbers, shift, rounding).tolist() == [0, 0, 0, 0]


def test_shift_takes_one_shift_a_channel() -> None:
    numbers = torch.tensor([[5, 5, 5], [-5, -5, -5]], dtype=torch.int32)
    shifted = shift_right(numbers, torch.tensor([0, 1, -2]))
    assert shifted.tolist() == [[5, 2, 20], [-5, -2, -20]]
    assert shifted.dtype == torch.int32


def test_half_up_is_right_where_adding_a_half_would_be_rounded() -> None:
    # The number below 1/2, and an odd number beyond which float32 has no halves.
    below = torch.nextafter(torch.tensor(0.5), torch.tensor(0.0))
    numbers = torch.stack([below, torch.tensor(2.0**23 + 1), torch.tensor(-0.5), torch.tensor(2.5)])
    assert round_to(numbers, "half_up").tolist() == [0, 2**23 + 1, 0, 3]


def test_half_even_rounds_ties_to_even_numbers() -> None:
    assert round_to(torch.tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])).tolist() == [-2, -2, 0, 0, 2, 2]


def test_every_int8_exponent_gives_an_exact_power_in_float64() -> None:
    exponents = torch.arange(-128, 128, dtype=torch.int8)
    assert power_of_two(exponents, torch.float64).tolist() == [2.0**it for it in range(-128, 128)]


def test_every_sum_of_two_int8_exponents_gives_an_exact_power_in_float64() -> None:
    exponents = torch.arange(-256, 255, dtype=torch.int32)
    assert power_of_two(exponents, torch.float64).tolist() == [2.0**it for it in range(-256, 255)]


def test_normal_exponents_give_an_exact_power_in_float32() -> None:
    powers = power_of_two(torch.arange(-126, 128))
    assert powers.dtype == torch.float32
    assert powers.tolist() == [math.ldexp(1, it) for it in range(-126, 128)]


def test_fake_quantization_by_hand() -> None:
    x = torch.tensor([-9.0, -1.1, 0.25, 0.74, 9.0])
    assert fake_quantize(x, 0.5, -2, 1).tolist() == [-1.0, -1.0, 0.0, 0.5, 0.5]


def test_fake_quantization_takes_bounds_a_channel() -> None:
    x = torch.full((2, 3), 9.0)
    high = torch.tensor([[1], [4]])
    assert fake_quantize(x, 2.0, torch.zeros(2, 1), high).tolist() == [[2.0] * 3, [8.0] * 3]


def test_fake_quantization_is_idempotent() -> None:
    x = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    once = fake_quantize(x, 0.125, -8, 7)
    assert torch.equal(fake_quantize(once, 0.125, -8, 7), once)
