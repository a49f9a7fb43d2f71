"""Layer by layer inside a network that cannot be traced."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from tests.unit.quantize import small_networks as nets
from tests.unit.quantize.digits_network import trained_digits
from torch import Tensor, nn

from modicum.errors import ConfigError, ModelError, StateError
from modicum.quantize.codes import ActivationGrid, FloatWeightCode, WeightCode
from modicum.quantize.configuration import LayerBits, RAPQConfig
from modicum.quantize.quantizer import quantize

PLAIN: dict[str, Any] = {"polish": False, "absorb_mantissa": False, "first_last_bits": 4}
FINE = RAPQConfig(weight_bits=8, activation_bits=8)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def made(model: nn.Module) -> nn.Module:
    return nets.stirred(model).float()


def strided_chain() -> nn.Module:
    return made(
        nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 12, 3, groups=4, bias=False),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(12 * 4, 5),
        )
    )


class Branching(nn.Module):
    """A network whose way depends on its data."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.last = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Map images to four numbers."""
        h = self.norm(self.first(x))
        h = torch.relu(h) if float(h.mean()) < 1e6 else h
        return self.last(h.mean((2, 3)))


class Residual(nn.Module):
    """A convolution that a batch norm and a sum read."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.last = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map images to three numbers."""
        h = self.first(x)
        return self.last((self.norm(h) + h).mean((2, 3)))


class Sometimes(nn.Module):
    """A layer that runs for some batches only."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.last = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map four numbers to two."""
        return self.last(self.first(x) if len(x) <= 2 else x)


@pytest.mark.parametrize("settings", [{}, {"activation_bits": None}, {"weight_bits": 2, "granularity": "tensor"}])
def test_chain_gets_the_codes_of_the_traced_network(settings: dict[str, Any]) -> None:
    model, x = strided_chain(), drawn(32, 3, 8, 8)
    config = RAPQConfig(**{**PLAIN, **settings})
    traced, eager = (quantize(model, x, config, tracing=it) for it in ("export", "eager"))
    assert list(traced.codes) == list(eager.codes) == ["0", "2", "5"]
    for name, code in traced.codes.items():
        other = eager.codes[name]
        assert isinstance(code, WeightCode)
        assert isinstance(other, WeightCode)
        assert torch.equal(code.codes, other.codes)
        assert torch.equal(code.exponent, other.exponent)
        assert torch.equal(code.zero, other.zero)
    exponents = [
        [it.exponent for it in found.grids.values() if isinstance(it, ActivationGrid)] for found in (traced, eager)
    ]
    assert exponents[0] == exponents[1]
    torch.testing.assert_close(eager(x), traced(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "model", [Branching(), Residual(), nets.Shared(), nets.InPlace(), strided_chain(), nets.regnet_y()]
)
def test_eight_bits_stay_close_to_the_network(model: nn.Module) -> None:
    model = made(model)
    x = drawn(16, 3, 32 if "RegNet" in type(model).__name__ else 8, 32 if "RegNet" in type(model).__name__ else 8)
    wanted = nets.logits(model, x.clone())
    found = quantize(model, x, FINE, tracing="eager")
    assert (found(x) - wanted).abs().max() < 0.06 * wanted.abs().max()


def test_network_that_cannot_be_traced_is_quantized_layer_by_layer() -> None:
    model, x = made(Branching()), drawn(16, 3, 8, 8)
    with pytest.raises(ModelError, match="tracing='eager'"):
        quantize(model, x)
    found = quantize(model, x, tracing="eager")
    assert [code.bits for code in found.codes.values()] == [8, 8]  # the first and the last layer
    assert list(found.grids) == ["first:input", "last:input"]


def test_digits_on_two_bits() -> None:
    digits = trained_digits()
    found = quantize(digits.model, digits.train[:128], RAPQConfig(weight_bits=2), tracing="eager")
    assert digits.accuracy(found) > digits.accuracy(digits.model) - 6


def test_layers_of_the_result_compute_with_their_codes() -> None:
    found = quantize(strided_chain(), drawn(16, 3, 8, 8), tracing="eager")
    assert found.network is not None
    for name, code in found.codes.items():
        assert torch.equal(found.network.get_parameter(f"{name}.weight"), code.dequantized())


def test_layer_that_runs_twice_has_one_set_of_codes() -> None:
    found = quantize(made(nets.Shared()), drawn(16, 3, 7, 7), tracing="eager")
    assert list(found.codes) == ["conv", "last"]


def test_layer_that_does_not_always_run_is_named() -> None:
    with pytest.raises(StateError, match="first did not run"):
        quantize(Sometimes(), drawn(8, 4), tracing="eager")


def test_bits_of_single_layers() -> None:
    config = RAPQConfig(weight_bits=2, per_layer={"2": LayerBits(weight_bits=5, activation_bits=6)})
    found = quantize(strided_chain(), drawn(16, 3, 8, 8), config, tracing="eager")
    assert {name: code.bits for name, code in found.codes.items()} == {"0": 8, "2": 5, "5": 8}
    assert {name: grid.bits for name, grid in found.grids.items()} == {"0:input": 8, "2:input": 6, "5:input": 8}


def test_control_has_real_scales() -> None:
    found = quantize(strided_chain(), drawn(16, 3, 8, 8), RAPQConfig(scales="float"), tracing="eager")
    assert all(isinstance(code, FloatWeightCode) for code in found.codes.values())


def test_model_is_not_touched() -> None:
    model = strided_chain().train()
    before = copy.deepcopy(model.state_dict())
    quantize(model, drawn(16, 3, 8, 8), tracing="eager")
    assert all(it.training for it in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(it._forward_pre_hooks or it._forward_hooks for it in model.modules())


def test_what_is_not_finite_is_named() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3)).eval()
    model.state_dict()["1.running_var"][0] = torch.nan
    for activation_bits, name in ((4, "2:input"), (None, "2")):
        with pytest.raises(ModelError, match=f"^{name} gives values on the calibration samples that are not finite"):
            quantize(model, drawn(4, 3, 8, 8), RAPQConfig(activation_bits=activation_bits), tracing="eager")


def test_reconstruction_needs_a_traced_network() -> None:
    with pytest.raises(ConfigError, match="method='hessian'"):
        quantize(strided_chain(), drawn(4, 3, 8, 8), RAPQConfig(method="paper"), tracing="eager")


def test_padding_that_is_no_number_is_named() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"))
    with pytest.raises(ModelError, match="0 pads with something other than a number of zeros"):
        quantize(model, drawn(4, 3, 8, 8), tracing="eager")
