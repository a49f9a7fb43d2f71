from __future__ import annotations

import pytest
import torch
from torch import Tensor

from modicum.errors import ConfigError, StateError
from modicum.quantize.codes import WeightCode
from modicum.quantize.paper.soft import SoftWeights
from modicum.quantize.scales import search_scales


def weights(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.02


def wide(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def given(bits: int = 2) -> tuple[Tensor, WeightCode]:
    weight = weights(4, 3, 3, 3)
    generator = torch.Generator().manual_seed(5)
    codes = torch.randint(2**bits, weight.shape, generator=generator, dtype=torch.uint8)
    exponent = torch.tensor([-6, -5, -6, -7], dtype=torch.int8)
    return weight, WeightCode(
        codes=codes, zero=torch.tensor([0, 1, 2, 3]).to(torch.uint8), exponent=exponent, bits=bits
    )


def test_soft_weights_begin_as_the_clipped_weights() -> None:  # RAPQ-C2
    weight = weights(6, 4, 3, 3)
    soft = SoftWeights.search(weight, 4)
    scale, zero = search_scales(weight, 4)
    torch.testing.assert_close(soft.scale, scale, rtol=1e-6, atol=0)
    low, high = -zero * scale, (15 - zero) * scale
    expected = torch.minimum(torch.maximum(weight, wide(low)), wide(high))
    torch.testing.assert_close(soft.weights(), expected, atol=1e-7, rtol=1e-5)


def test_both_gates_get_a_gradient() -> None:
    soft = SoftWeights.search(weights(6, 4, 3, 3), 2)
    soft.weights().square().sum().backward()
    assert soft.beta is not None
    assert soft.beta.grad is not None
    assert soft.alpha.grad is not None
    assert (soft.beta.grad != 0).all()
    assert (soft.alpha.grad != 0).float().mean() > 0.5


def test_exponents_become_the_nearer_whole_number() -> None:
    weight = weights(64, 4, 3, 3)
    soft = SoftWeights.search(weight, 3)
    before = torch.log2(soft.scale.detach())
    zero = search_scales(weight, 3)[1]
    soft.harden_exponents()
    assert soft.beta is None
    assert torch.equal(torch.log2(soft.scale), torch.floor(before + 0.5))
    code = soft.code()
    # The real zero point of the published form, z0 s0 / s, to the nearest level.
    real = zero * torch.exp2(before - torch.log2(soft.scale))
    assert torch.equal(code.zero.float(), torch.round(real).clamp(0, 7))


def test_after_hardening_alpha_begins_on_the_new_grid() -> None:
    weight = weights(8, 4, 3, 3)
    soft = SoftWeights.search(weight, 4)
    old = soft.alpha
    soft.harden_exponents()
    assert soft.alpha is not old
    code = soft.code()
    scale, zero = wide(code.scale), wide(code.zero.float())
    expected = torch.minimum(torch.maximum(weight, -zero * scale), (15 - zero) * scale)
    torch.testing.assert_close(soft.weights(), expected, atol=1e-7, rtol=1e-5)
    # What is decided at once is rounding to the nearest.
    nearest = (torch.floor(weight / scale + 0.5) + zero).clamp(0, 15)
    assert torch.equal(code.codes.float(), nearest)
    kept = soft.alpha
    soft.harden_exponents()
    assert soft.alpha is kept


@pytest.mark.parametrize("bits", [2, 3, 5, 8])
@pytest.mark.parametrize("granularity", ["channel", "tensor"])
def test_a_code_is_whole_and_has_no_more_than_its_levels(bits: int, granularity: str) -> None:  # RAPQ-C3
    weight = weights(10, 40, 3, 3)
    soft = SoftWeights.search(weight, bits, "tensor" if granularity == "tensor" else "channel")
    with torch.no_grad():
        assert soft.beta is not None
        soft.beta.add_(torch.linspace(-3, 3, len(soft.beta)))
    soft.harden_exponents()
    with torch.no_grad():
        soft.alpha.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(2)))
    code = soft.code()
    assert (code.codes.dtype, code.zero.dtype, code.exponent.dtype) == (torch.uint8, torch.uint8, torch.int8)
    assert (len(code.zero), len(code.exponent)) == (10, 10)
    assert int(code.zero.max()) < 2**bits
    assert all(len(channel.unique()) <= 2**bits for channel in code.dequantized())
    if bits == 8:
        assert (code.zero == 128).all()
    if granularity == "tensor":
        assert len(code.exponent.unique()) == len(code.zero.unique()) == 1


def test_decided_gates_give_the_code_itself() -> None:
    soft = SoftWeights.search(weights(5, 4, 3, 3), 3)
    soft.harden_exponents()
    with torch.no_grad():
        soft.alpha.copy_(torch.where(soft.alpha >= 0, 9.0, -9.0))
    assert torch.equal(soft.weights().detach(), soft.code().dequantized())


def test_deciding_early_changes_nothing() -> None:
    soft = SoftWeights.search(weights(5, 4, 3, 3), 3)
    early = soft.decided()
    assert soft.beta is not None
    soft.harden_exponents()
    assert torch.equal(early.codes, soft.code().codes)


def test_weights_of_one_sign_keep_their_range() -> None:
    weight = torch.stack([weights(3, 3, 3).abs() + 0.1, -weights(3, 3, 3).abs() - 0.1, torch.zeros(3, 3, 3)])
    soft = SoftWeights.search(weight, 4)
    code = soft.decided()
    assert code.zero[:2].tolist() == [0, 15]
    # Half a step where the scale became no smaller; the end of the range, else, is what rounding the exponent costs.
    nearest = torch.floor(weight / wide(code.scale) + 0.5).clamp(-15, 15) * wide(code.scale)
    assert torch.equal(code.dequantized(), nearest)
    assert torch.isfinite(soft.weights()).all()


@pytest.mark.parametrize("bits", [2, 4])
def test_given_codes_are_the_first_decision(bits: int) -> None:
    weight, code = given(bits)
    soft = SoftWeights.given(weight, code)
    found = soft.code()
    assert torch.equal(found.codes, code.codes)
    assert torch.equal(found.zero, code.zero)
    assert torch.equal(found.exponent, code.exponent)
    gap = (soft.weights() - code.dequantized()).abs() / wide(code.scale)
    torch.testing.assert_close(gap, torch.full_like(gap, 0.1), atol=1e-5, rtol=0)


def test_a_given_code_can_move_by_one_level_towards_its_weight() -> None:
    weight, code = given(3)
    soft = SoftWeights.given(weight, code)
    soft.weights().sum().backward()
    assert soft.alpha.grad is not None
    assert (soft.alpha.grad > 0).all()  # no gate is cut off at the end of the range
    with torch.no_grad():
        soft.alpha.neg_()
    moved = soft.code().codes.int() - code.codes.int()
    assert (moved.abs() == 1).all()
    inner = (code.codes > 0) & (code.codes < 7)
    towards = torch.sign(weight - code.dequantized())
    assert torch.equal(moved[inner], towards[inner].int())


def test_misuse_is_refused() -> None:
    weight, code = given()
    with pytest.raises(StateError, match="still soft"):
        SoftWeights.search(weight, 2).code()
    with pytest.raises(ConfigError, match="the weight has"):
        SoftWeights.given(weight[:2], code)
