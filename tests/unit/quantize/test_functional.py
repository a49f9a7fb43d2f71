from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from modicum.quantize.functional import learnable_quantize, loss_exponent, power_of_two, unit_loss

LN2 = math.log(2)


def test_a_power_of_two_is_exact_and_keeps_the_shape() -> None:
    exponent = torch.arange(-126, 128, dtype=torch.int8).view(2, -1)
    assert power_of_two(exponent).tolist() == [[2.0**e for e in row] for row in exponent.tolist()]
    assert float(power_of_two(torch.tensor(-3))) == 0.125


@pytest.mark.parametrize(("gamma", "slope", "p"), [(1.0, 0.9, 1.7), (1.0, 0.1, 1.1), (0.0, 0.9, 1.4), (0.0, 0.1, 1.0)])
def test_the_loss_exponent_in_closed_form(gamma: float, slope: float, p: float) -> None:  # RAPQ-C4
    assert loss_exponent(torch.full((64,), gamma), slope) == p


def test_a_vanishing_gamma_gives_the_loss_exponent_1() -> None:  # RAPQ-C4
    assert loss_exponent(torch.full((8,), -40.0), 0.9) == 1.0


def test_the_unit_loss_sums_channels_and_averages_the_rest() -> None:  # RAPQ-C5
    ones, zeros = torch.ones(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    for p in (1.0, 1.3, 2.0):
        assert float(unit_loss(ones, zeros, p)) == 3.0
    assert float(unit_loss(torch.tensor([[2.0, -3.0], [0.0, 0.0]]), torch.zeros(2, 2), 2.0)) == 6.5
    assert float(unit_loss(torch.tensor([[4.0, -9.0]]), torch.zeros(1, 2), 1.5)) == pytest.approx(8 + 27)


@pytest.mark.parametrize("p", [1.0, 1.1, 1.5, 1.9, 2.0])
def test_the_gradient_of_the_unit_loss_is_finite_at_zero(p: float) -> None:  # RAPQ-C5
    output = torch.tensor([[0.0, 1e-30, -2.0, 3.0]], requires_grad=True)
    unit_loss(output, torch.zeros(1, 4), p).backward()
    assert output.grad is not None
    assert output.grad[0, 0] == 0.0
    assert torch.isfinite(output.grad).all()
    assert output.grad[0, 2:].tolist() == pytest.approx([-p * 2 ** (p - 1), p * 3 ** (p - 1)])


def numbers(count: int = 400) -> Tensor:
    return 2 * torch.randn(count, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.mark.parametrize(("low", "high", "ceiling"), [(0, 15, None), (-8, 7, None), (-2, 1, None), (0, 15, 2.7)])
def test_a_learnable_step_quantizes_to_whole_powers(low: int, high: int, ceiling: float | None) -> None:
    x = numbers()
    for exponent in (-2.0, -2.4, -1.6):
        found = learnable_quantize(x, torch.tensor(exponent, dtype=torch.float64), low, high, ceiling=ceiling)
        top = high if ceiling is None else min(high, math.floor(ceiling / 0.25))
        assert torch.equal(found, torch.round(x / 0.25).clamp(low, top) * 0.25)


@pytest.mark.parametrize(("low", "high"), [(0, 15), (-8, 7), (-2, 1)])
@pytest.mark.parametrize("exponent", [-3.0, -1.3, 0.4])
def test_the_gradient_of_a_step_in_closed_form(low: int, high: int, exponent: float) -> None:  # RAPQ-C11
    x = numbers().requires_grad_()
    latent = torch.tensor(exponent, dtype=torch.float64, requires_grad=True)
    weight = torch.cos(torch.arange(len(x), dtype=torch.float64))
    (weight * learnable_quantize(x, latent, low, high)).sum().backward()
    step = 2.0 ** round(exponent)
    ratio = x.detach() / step
    level = torch.round(ratio)
    inside = (level >= low) & (level <= high)
    slope = step * LN2 * torch.where(inside, level - ratio, level.clamp(low, high))
    assert latent.grad is not None
    assert float(latent.grad) == pytest.approx(float((weight * slope).sum()), rel=1e-12)
    assert x.grad is not None
    torch.testing.assert_close(x.grad, weight * inside)


@pytest.mark.parametrize(("low", "high", "ceiling"), [(0, 15, None), (-8, 7, None), (0, 15, 2.7)])
def test_the_gradient_of_a_step_is_that_of_its_surrogate(low: int, high: int, ceiling: float | None) -> None:
    # RAPQ-C11: each rounding is replaced by adding what it adds at e, a level at the end of the range counts as
    # inside, and the rest is differentiated numerically.
    x, exponent = numbers(), -2.0
    step = 2.0**exponent
    offset = torch.round(x / step) - x / step
    limit = math.inf if ceiling is None else ceiling
    drop = 0.0 if ceiling is None else math.floor(limit / step) - limit / step
    level = torch.round(x / step)
    above = level > min(high, limit / step + drop)

    def surrogate(e: float) -> float:
        s = 2.0**e
        inside = torch.where(level < low, low, x / s + offset)
        return float((torch.where(above, min(high, limit / s + drop), inside) * s).square().sum())

    latent = torch.tensor(exponent, dtype=torch.float64, requires_grad=True)
    learnable_quantize(x, latent, low, high, ceiling=ceiling).square().sum().backward()
    h = 1e-6
    assert latent.grad is not None
    assert float(latent.grad) == pytest.approx((surrogate(exponent + h) - surrogate(exponent - h)) / (2 * h), rel=1e-6)
