from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.unit.quantize.coded import coded
from torch import nn

from modicum.errors import ConfigError
from modicum.quantize.bounds import Span
from modicum.quantize.codes import ActivationGrid, WeightCode
from modicum.quantize.configuration import RAPQConfig
from modicum.quantize.engine.engine import Engine
from modicum.quantize.engine.program import added, lower, rescaled
from modicum.quantize.functional import Rounding, shift_right
from modicum.quantize.graph.ops import Layer


def span(low: int, high: int, exponents: list[int]) -> Span:
    ends = (np.full(len(exponents), it, dtype=object) for it in (low, high, max(-low, high)))
    least, most, reach = ends
    return Span(exponents=np.array(exponents), low=least, high=most, reach=reach)


def test_an_addition_brings_each_channel_to_the_smaller_exponent() -> None:
    total, residual, met = added(span(-3, 5, [0, 2, -1]), "v", span(0, 7, [0, 0, 0]), 3)
    assert total.exponents.tolist() == [0, 0, -1]
    assert residual.own.tolist() == [0, 2, 0]
    assert residual.other.tolist() == [0, 0, 1]
    assert total.low.tolist() == [-3, -12, -3]
    assert total.high.tolist() == [12, 27, 19]
    assert met == 5 * 4 + 7


def test_a_bound_is_the_sum_of_what_a_channel_can_meet() -> None:
    model, _ = coded(nn.Linear(6, 3), (6,), config=RAPQConfig(activation_bits=4, first_last_bits=4))
    step = lower(model).steps[0]
    assert isinstance(step.head, Layer)
    weight = np.abs(step.head.weight.astype(int)).sum(axis=(1, 2, 3))
    offset = 2 * 128  # stored numbers may be this much larger than 8
    assert step.bound == int((weight * (8 + offset) + np.abs(step.head.bias)).max())
    signs = np.sign(step.head.weight[:, :, 0, 0]).astype(int)
    largest = [
        int(row @ np.where(sign > 0, 7, -8) + bias)
        for row, sign, bias in zip(step.head.weight[:, :, 0, 0].astype(int), signs, step.head.bias, strict=True)
    ]
    assert step.result.high == max(largest)


@pytest.mark.parametrize("rounding", ["half_even", "half_up"])
def test_a_shift_beyond_all_bits_is_cut_to_what_int32_can_do(rounding: Rounding) -> None:
    rescale, met = rescaled(span(-128, 127, [0]), ActivationGrid(bits=8, signed=True, exponent=100), 1)
    assert rescale.shift.tolist() == [9]
    assert met == 128 + 2**8
    assert not shift_right(torch.arange(-128, 128), torch.from_numpy(rescale.shift.copy()), rounding).any()


def test_distant_exponents_are_refused_when_the_sum_needs_more_than_int32() -> None:
    _, _, met = added(span(0, 255, [60]), "v", span(0, 255, [0]), 1)
    assert met == (255 << 60) + 255
    model, _ = coded(nn.Linear(4, 2), (4,))
    code = model.codes[next(iter(model.codes))]
    assert isinstance(code, WeightCode)
    code.exponent.copy_(torch.tensor([-40, 0]))  # the biases become as large in units of their channel
    with pytest.raises(ConfigError, match=r"The values of weight may need \d\d bits"):
        Engine(lower(model), "numpy")


def test_a_value_that_is_always_0_asks_for_no_shift() -> None:
    total, residual, _ = added(span(-3, 5, [0, 2]), "v", span(0, 0, [-60, 60]), 2)
    assert total.exponents.tolist() == [0, 2]
    assert not residual.own.any()
    assert not residual.other.any()


def test_a_dead_channel_does_not_ask_for_its_exponent() -> None:
    model, x = coded(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)), (3, 8, 8))
    codes, layers = dict(model.codes), model.graph.layers
    for name in ("0", "2"):
        code = codes[name]
        assert isinstance(code, WeightCode)
        code.codes[1] = code.zero[1]
        code.exponent[1] = -100
        layers[name].weight[1] = 0
        layers[name].bias[1] = 0
    program = lower(model)
    assert len(set(program.steps[-1].result.exponents.tolist())) == 1
    assert np.array_equal(Engine(program, "numpy").run(x), model(x).numpy())
