from __future__ import annotations

import math

import pytest
import torch

from modicum.quantize.functional import gate, gate_logit, gate_regularizer, soft_scale, temperature


def test_a_gate_by_hand() -> None:
    # sigmoid(0) = 1/2 gives 1.2 / 2 - 0.1; sigmoid(ln 3) = 3/4 gives 0.8; far out it is cut off.
    found = gate(torch.tensor([0.0, math.log(3), 20.0, -20.0]))
    torch.testing.assert_close(found, torch.tensor([0.5, 0.8, 1.0, 0.0]))


def test_the_logit_inverts_the_gate() -> None:
    opening = torch.linspace(0, 1, 101, dtype=torch.float64)
    torch.testing.assert_close(gate(gate_logit(opening)), opening, atol=1e-12, rtol=0)
    assert gate_logit(torch.tensor([0.0, 1.0])).tolist() == pytest.approx([-math.log(11), math.log(11)], rel=1e-5)


def test_the_regularizer_counts_open_gates() -> None:  # RAPQ-C6
    for b in (2.0, 7.5, 20.0):
        assert float(gate_regularizer(torch.full((3, 2), 0.5), b)) == 6.0
        assert float(gate_regularizer(torch.tensor([0.0, 1.0, 1.0]), b)) == 0.0
    assert float(gate_regularizer(torch.tensor([0.75, 0.25]), 2.0)) == pytest.approx(1.5)


def test_the_temperature_waits_and_then_falls_on_a_line() -> None:  # RAPQ-C6
    assert [temperature(step, 100) for step in (0, 10, 20)] == [20.0, 20.0, 20.0]
    assert [temperature(step, 100) for step in (40, 60, 80, 100)] == pytest.approx([15.5, 11.0, 6.5, 2.0])
    assert temperature(50, 100, warm_up=0.0) == pytest.approx(11.0)


def test_a_soft_scale_begins_at_the_real_one() -> None:  # RAPQ-C2
    scale = torch.rand(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.2 + 1e-4
    exponent = torch.log2(scale)
    floor = torch.floor(exponent)
    logit = gate_logit(exponent - floor)
    assert float((gate(logit) - (exponent - floor)).abs().max()) < 1e-6
    torch.testing.assert_close(soft_scale(floor, logit), scale, rtol=1e-6, atol=0)
    single = soft_scale(floor.float(), gate_logit((exponent - floor).float()))
    torch.testing.assert_close(single, scale.float(), rtol=1e-6, atol=0)


def test_the_gradient_of_a_soft_scale_is_its_difference_quotient() -> None:  # RAPQ-C2
    floor = torch.tensor([-5.0, -3.0, -7.0, 0.0], dtype=torch.float64)
    logit = torch.tensor([-1.7, -0.2, 0.9, 2.2], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(soft_scale(floor, logit).sum(), logit)
    step = 1e-6
    with torch.no_grad():
        quotient = (soft_scale(floor, logit + step) - soft_scale(floor, logit - step)) / (2 * step)
    torch.testing.assert_close(gradient, quotient, rtol=1e-6, atol=0)
