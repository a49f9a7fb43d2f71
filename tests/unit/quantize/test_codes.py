"""Codes hold integers only, and give them back exactly."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from modicum.errors import DataError
from modicum.quantize.codes import ActivationGrid, FloatActivationGrid, FloatWeightCode, WeightCode


def code(bits: int = 2, **changes: Tensor | int) -> WeightCode:
    zero = 128 if bits == 8 else 1
    given: dict = {
        "codes": torch.arange(2**bits, dtype=torch.uint8).repeat(3, 1),
        "zero": torch.full((3,), zero, dtype=torch.uint8),
        "exponent": torch.tensor([-3, 0, 2], dtype=torch.int8),
        "bits": bits,
    }
    return WeightCode(**{**given, **changes})


def test_weights_are_whole_multiples_of_a_power_of_two() -> None:
    expected = [[k * s for k in (-1, 0, 1, 2)] for s in (0.125, 1, 4)]
    assert code().dequantized().tolist() == expected
    assert code().scale.tolist() == [0.125, 1, 4]


@pytest.mark.parametrize("bits", range(2, 9))
def test_integers_fit_int8_for_any_bits(bits: int) -> None:
    integers = code(bits).integers
    assert integers.dtype == torch.int8
    zero = 128 if bits == 8 else 1
    assert integers[0].tolist() == [q - zero for q in range(2**bits)]


def test_every_exponent_of_int8_is_exact_in_float64() -> None:
    exponents = torch.arange(-128, 128, dtype=torch.int8)
    codes = torch.full((256, 1), 3, dtype=torch.uint8)
    weights = WeightCode(codes=codes, zero=torch.zeros(256, dtype=torch.uint8), exponent=exponents, bits=2)
    assert weights.dequantized(torch.float64)[:, 0].tolist() == [3 * 2.0**e for e in range(-128, 128)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"exponent": torch.tensor([-3.0, 0.2, 2.0])}, r"exponent must be torch.int8 of shape \(3,\)"),
        ({"zero": torch.tensor([0.5, 1, 1])}, "zero must be torch.uint8"),
        ({"exponent": torch.zeros(2, dtype=torch.int8)}, r"shape \(2,\)"),
        ({"codes": torch.full((3, 4), 4, dtype=torch.uint8)}, "A code of 2 bits cannot be 4"),
        ({"zero": torch.full((3,), 7, dtype=torch.uint8)}, "A code of 2 bits cannot be 7"),
        ({"bits": 1}, "A code of 1 bits"),
    ],
)
def test_what_is_not_whole_or_too_large_is_refused(changes: dict, words: str) -> None:
    with pytest.raises(DataError, match=words):
        code(**changes)


def test_eight_bits_need_the_middle_as_zero_point() -> None:
    with pytest.raises(DataError, match="zero point must be 128"):
        code(8, zero=torch.tensor([128, 0, 128], dtype=torch.uint8))


def test_unsigned_grid_by_hand() -> None:
    grid = ActivationGrid(bits=2, signed=False, exponent=-1)
    assert (grid.low, grid.high, grid.scale) == (0, 3, 0.5)
    assert grid.apply(torch.tensor([-1.0, 0.25, 0.75, 1.3, 9.0])).tolist() == [0, 0, 1.0, 1.5, 1.5]


def test_half_up_takes_ties_up() -> None:
    grid = ActivationGrid(bits=2, signed=False, exponent=-1, rounding="half_up")
    assert grid.apply(torch.tensor([0.25, 0.75])).tolist() == [0.5, 1.0]


def test_signed_grid_by_hand() -> None:
    grid = ActivationGrid(bits=4, signed=True, exponent=1)
    assert (grid.low, grid.high) == (-8, 7)
    assert grid.apply(torch.tensor([-99.0, -3.0, 99.0])).tolist() == [-16, -4, 14]


@pytest.mark.parametrize(("exponent", "high"), [(-1, 12), (-2, 15), (0, 6), (1, 3), (2, 1), (3, 0)])
def test_ceiling_of_relu6_is_rounded_down_to_the_grid(exponent: int, high: int) -> None:
    grid = ActivationGrid(bits=4, signed=False, exponent=exponent, ceiling=6.0)
    assert grid.high == high
    assert float(grid.apply(torch.tensor(6.0))) == high * 2.0**exponent <= 6


def test_another_exponent_is_all_that_moves() -> None:
    grid = ActivationGrid(bits=4, signed=False, exponent=-1, ceiling=6.0, rounding="half_up")
    moved = grid.moved(-2)
    assert moved == ActivationGrid(bits=4, signed=False, exponent=-2, ceiling=6.0, rounding="half_up")


@pytest.mark.parametrize("exponent", [128, -129, 0.5])
def test_exponent_of_a_grid_fits_int8(exponent: int) -> None:
    with pytest.raises(DataError, match="must fit int8"):
        ActivationGrid(bits=4, signed=False, exponent=exponent)


def test_the_controls_agree_with_the_grid_where_their_scale_is_a_power_of_two() -> None:
    x = torch.randn(1000, generator=torch.Generator().manual_seed(1))
    whole = ActivationGrid(bits=4, signed=True, exponent=-2)
    real = FloatActivationGrid(bits=4, signed=True, scale=0.25)
    assert torch.equal(whole.apply(x), real.apply(x))
    weights = code()
    control = FloatWeightCode(codes=weights.codes, zero=weights.zero.float(), scale=weights.scale, bits=2)
    assert torch.equal(control.dequantized(), weights.dequantized())
