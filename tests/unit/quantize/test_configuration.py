"""Settings that are no settings are refused with what to use."""

from __future__ import annotations

import re
from typing import Any

import pytest

from modicum.errors import ConfigError
from modicum.quantize.configuration import LayerBits, RAPQConfig


@pytest.mark.parametrize("bits", [1, 9, 0, -4, 2.5, "4", True])
@pytest.mark.parametrize("name", ["weight_bits", "activation_bits", "first_last_bits"])
def test_bits_are_whole_numbers_from_two_to_eight(name: str, bits: Any) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"{name} must be an integer from 2 to 8, but it is {bits!r}.")):
        RAPQConfig(**{name: bits})


@pytest.mark.parametrize("bits", [1, 9])
def test_bits_of_single_layers_are_checked_likewise(bits: int) -> None:
    with pytest.raises(ConfigError, match="weight_bits must be an integer"):
        LayerBits(weight_bits=bits)
    with pytest.raises(ConfigError, match="activation_bits must be an integer"):
        LayerBits(activation_bits=bits)


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("granularity", "channel, tensor"),
        ("scales", "power_of_two, float"),
        ("method", "paper, hessian"),
        ("initial", "hessian, mse"),
        ("rounding", "half_even, half_up"),
    ],
)
def test_choices_are_listed(name: str, choices: str) -> None:
    wrong: Any = {name: "best"}
    with pytest.raises(ConfigError, match=f"{name} must be one of {choices}, but it is 'best'"):
        RAPQConfig(**wrong)


@pytest.mark.parametrize("slope", [-0.1, 1.1, float("nan")])
def test_slope_is_a_share(slope: float) -> None:
    with pytest.raises(ConfigError, match="p_slope must be in"):
        RAPQConfig(p_slope=slope)


@pytest.mark.parametrize("name", ["iterations", "activation_iterations"])
def test_iterations_are_not_negative(name: str) -> None:
    wrong: Any = {name: -1}
    with pytest.raises(ConfigError, match=f"{name} must be >= 0"):
        RAPQConfig(**wrong)


def test_bits_of_a_layer_are_given_by_their_class() -> None:
    wrong: Any = {"fc": 4}
    with pytest.raises(ConfigError, match="per_layer must give LayerBits for 'fc', but it gives int"):
        RAPQConfig(per_layer=wrong)
