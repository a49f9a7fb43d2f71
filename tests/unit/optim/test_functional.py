from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from modicum.optim.functional import (
    Geometry,
    conv_power,
    denominator,
    linear_power,
    moving_power,
    patch_power_map,
    spread,
)

Draw = Callable[..., Tensor]


def test_linear_power_is_the_mean_squared_length_of_rows() -> None:
    x = torch.tensor([[[3.0, 4.0], [0.0, 1.0]]])
    assert linear_power(x).tolist() == [13.0]  # (25 + 1) / 2
    assert linear_power(x, norm="l1").tolist() == [4.0]  # (7 + 1) / 2
    assert linear_power(x, per_channel=True).tolist() == [4.5, 8.5]
    assert linear_power(x, norm="l1", per_channel=True).tolist() == [1.5, 2.5]


def test_conv_power_counts_a_pixel_once_for_each_patch_that_sees_it() -> None:
    # Three taps over (0) 1 2 3 (0): patches (0 1 2), (1 2 3), (2 3 0).
    geometry = Geometry((3,), (1,), (1,), ((1, 1),))
    x = torch.tensor([[[1.0, 2.0, 3.0]]])
    assert conv_power(x, geometry).tolist() == pytest.approx([(5 + 14 + 13) / 3])
    assert conv_power(x, geometry, norm="l1").tolist() == pytest.approx([(3 + 6 + 5) / 3])
    assert patch_power_map(x, geometry).tolist() == [[[5.0, 14.0, 13.0]]]


def test_conv_power_of_one_image_needs_no_batch_axis(draw: Draw) -> None:
    geometry = Geometry((3, 3), (1, 1), (1, 1), ((1, 1), (0, 0)))
    image = draw(4, 6, 5)
    assert torch.equal(conv_power(image, geometry), conv_power(image[None], geometry))


def test_conv_power_of_a_batch_larger_than_a_piece_is_the_mean_over_its_halves(draw: Draw) -> None:
    geometry = Geometry((3, 3), (1, 1), (1, 1), ((1, 1), (1, 1)))
    x = draw(6, 8, 96, 96)  # 442,368 numbers, and a piece holds 262,144
    halves = (conv_power(x[:3], geometry) + conv_power(x[3:], geometry)) / 2
    torch.testing.assert_close(conv_power(x, geometry), halves)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_power_of_half_precision_is_accumulated_in_float32(dtype: torch.dtype) -> None:
    # 300 squared is beyond the largest float16, 65,504, and bfloat16 has eight bits of mantissa.
    x = torch.full((2, 4, 3, 3), 300.0, dtype=dtype)
    value = x[0, 0, 0, 0].double().item()
    geometry = Geometry((3, 3), (1, 1), (1, 1), ((0, 0), (0, 0)))
    for power in (conv_power(x, geometry), patch_power_map(x, geometry), linear_power(x.reshape(-1, 36))):
        assert power.dtype == torch.float32
        torch.testing.assert_close(power, torch.full_like(power, 36 * value**2))


def test_power_of_float64_keeps_its_digits(draw: Draw) -> None:
    x = draw(3, 4, 5, dtype=torch.float64)
    geometry = Geometry((1,), (1,), (1,), ((0, 0),))
    expected = x.square().sum() / 15
    torch.testing.assert_close(conv_power(x, geometry), expected.reshape(1), rtol=1e-14, atol=0)


def test_power_denominator_adds_eps() -> None:
    assert denominator(torch.tensor([0.0, 3.0]), "power", 0.25).tolist() == [0.25, 3.25]
    assert denominator(torch.tensor([0.0, 3.0]), "power", 0.0).tolist() == [1.0, 3.0]


def test_log_denominator_is_the_logarithm_or_eps() -> None:  # NSGD-C11
    powers = torch.tensor([0.0, 0.5, 1.0, 1.005, 7.38905609893065])
    result = denominator(powers, "log", 0.01)
    torch.testing.assert_close(result, torch.tensor([0.01, 0.01, 0.01, 0.01, 2.0]))


def test_moving_power_weighs_the_past_by_beta() -> None:
    assert moving_power(torch.tensor([8.0]), torch.tensor([4.0]), 0.75).tolist() == [7.0]


def test_spread_lays_groups_along_rows_and_channels_along_columns() -> None:
    groups = spread(torch.tensor([1.0, 2.0]), torch.Size((4, 3, 5)), blocks=2)
    assert groups.expand(4, 3, 5)[:, 0, 0].tolist() == [1.0, 1.0, 2.0, 2.0]
    channels = spread(torch.arange(6.0), torch.Size((4, 3, 5)), blocks=2)
    assert channels.expand(4, 3, 5)[:, :, 0].tolist() == [[0, 1, 2], [0, 1, 2], [3, 4, 5], [3, 4, 5]]
    turned = spread(torch.arange(3.0), torch.Size((3, 2)), blocks=1, transposed=True)
    assert turned.expand(3, 2).tolist() == [[0, 0], [1, 1], [2, 2]]
    assert spread(torch.tensor([5.0]), torch.Size((4, 3)), blocks=1).shape == ()
