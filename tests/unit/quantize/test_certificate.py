"""The certificate: what it proves is true, and what is not true it does not prove."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.unit.quantize.random_models import DepthwiseNet, ResidualNet, images, random_model, random_resnet20
from torch import Tensor, nn

from modicum.quantize.bounds import Span
from modicum.quantize.codes import ActivationGrid, FloatActivationGrid, FloatWeightCode, WeightCode
from modicum.quantize.configuration import RAPQConfig
from modicum.quantize.functional import Rounding
from modicum.quantize.graph.graph import Graph, Node
from modicum.quantize.graph.ops import Input, Linear, MeanPool
from modicum.quantize.graph.placement import simulated
from modicum.quantize.inspect.certificate import bounds_of, certify
from modicum.quantize.model import QuantizedModel

NETS = {"residual": ResidualNet, "depthwise": DepthwiseNet}


def a_model(name: str = "residual", **changes: object) -> QuantizedModel:
    return random_model(NETS[name](), shape=NETS[name].shape, config=RAPQConfig(**changes))  # pyright: ignore


def with_code(model: QuantizedModel, name: str, **changes: object) -> QuantizedModel:
    """Change the code of a layer, and not the weights that the network multiplies with."""
    codes = {**model.codes, name: replace(model.codes[name], **changes)}  # pyright: ignore
    return QuantizedModel(model.graph, codes, model.grids, config=model.config, shape=model.shape)


def a_linear_model(weight: Tensor, *, bits: int = 8) -> QuantizedModel:
    """Make a network of one layer: weights are q - z, the input is unsigned 8 bits of step 1."""
    zero = 128 if bits == 8 else 0
    code = WeightCode(
        codes=(weight + zero).to(torch.uint8),
        zero=torch.full(weight.shape[:1], zero, dtype=torch.uint8),
        exponent=torch.zeros(len(weight), dtype=torch.int8),
        bits=bits,
    )
    layer = Linear(weight=weight.float(), bias=torch.zeros(len(weight)))
    graph = Graph(nodes=(Node(name="x", operation=Input()), Node(name="last", operation=layer, inputs=("x",))))
    grids = {"x": ActivationGrid(bits=8, signed=False, exponent=0)}
    return QuantizedModel(
        simulated(graph, {"last": code}, grids), {"last": code}, grids, config=RAPQConfig(), shape=(weight.shape[1],)
    )


def span(exponents: list[int], low: list[int], high: list[int], layer: str) -> Span:
    ends = [np.array(it, dtype=object) for it in (low, high)]
    reach = np.maximum(-ends[0], ends[1])
    return Span(exponents=np.array(exponents), low=ends[0], high=ends[1], reach=reach, layers=frozenset({layer}))


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("rounding", ["half_even", "half_up"])
def test_float32_equals_float64_where_the_certificate_says_so(name: str, rounding: str) -> None:
    model = a_model(name, rounding=rounding)  # RAPQ-C10
    x = images(model.shape, count=64, seed=1)
    assert certify(model).exact_in_float32
    assert torch.equal(model(x).double(), model.double()(x.double()))


def test_resnet20_of_two_bits_is_exact_in_float32() -> None:
    model = random_resnet20(config=RAPQConfig(weight_bits=2))  # RAPQ-C3
    proof = certify(model)
    x = images(model.shape, seed=1)
    assert proof.holds
    assert proof.whole
    assert proof.exact_in_float32
    assert len(proof.layers) == 20
    assert all(it.powers_of_two == 1 and it.levels <= 2**it.bits for it in proof.layers)
    assert torch.equal(model(x).double(), model.double()(x.double()))


@pytest.mark.parametrize("name", NETS)
def test_no_number_exceeds_its_bound(name: str) -> None:
    model = a_model(name).double()
    bounds = bounds_of(model.graph, model.codes, model.grids)
    seen: dict[str, Tensor] = {}

    def watch(node: str, value: Tensor) -> Tensor:
        seen[node] = value
        return model._to_grid(node, value)

    model.graph.run({}, x=20 * images(model.shape, count=32, seed=2).double(), through=watch)
    assert set(model.graph.layers) <= set(bounds.computed)
    for node, span in bounds.computed.items():
        by_channel = seen[node].transpose(0, 1).flatten(1)
        numbers = by_channel / torch.exp2(torch.from_numpy(span.exponents).double())[:, None]
        assert torch.equal(numbers, numbers.round())
        for ends, limit in ((numbers.amin(dim=1), span.low), (-numbers.amax(dim=1), -span.high)):
            assert (ends.numpy() >= limit.astype(float)).all()
        assert (span.magnitude <= span.reach).all()


def test_the_bound_of_a_layer_is_that_of_the_worst_input() -> None:
    proof = certify(a_linear_model(torch.tensor([[3, 1], [2, 2]]), bits=2))
    assert proof.layers[0].accumulator == 4 * 255
    assert proof.layers[0].width == "int16"


def test_a_sum_is_bounded_in_the_finer_unit() -> None:
    coarse, fine = span([-2, -6], [-5, 0], [4, 3], "a"), span([-4], [0], [7], "b")
    both = coarse.plus(fine)
    assert both.exponents.tolist() == [-4, -6]
    assert both.low.tolist() == [-5 * 4, 0]
    assert both.high.tolist() == [4 * 4 + 7, 3 + 7 * 4]
    assert both.reach.tolist() == [5 * 4 + 7, 3 + 7 * 4]
    assert both.layers == {"a", "b"}


def test_a_residual_addition_is_in_the_reach_of_its_layer() -> None:
    proofs = {it.name: it for it in certify(a_model()).layers}
    assert proofs["first"].reach == proofs["first"].accumulator
    assert (proofs["second"].reach or 0) > (proofs["second"].accumulator or 0)


def test_sums_beyond_24_bits_are_not_called_exact_and_are_not() -> None:
    weight = torch.full((1, 1024), 127)
    weight[0, 0] = 126
    model = a_linear_model(weight)
    proof = certify(model)
    assert proof.holds
    assert proof.layers[0].width == "int32"
    assert not proof.exact_in_float32
    x = torch.full((1, 1024), 255.0)
    x[0, 1] = 254.0
    assert int(model.double()(x.double())) == 255 * (127 * 1023 + 126) - 127
    assert float(model.float()(x)) != float(model.double()(x.double()))


def test_scales_that_are_real_fail_layer_by_layer() -> None:
    model = a_model()  # RAPQ-C12
    generator = torch.Generator().manual_seed(0)
    soft: dict[str, WeightCode | FloatWeightCode] = {}
    for name, code in model.codes.items():
        assert isinstance(code, WeightCode)
        drift = torch.rand(code.scale.shape, generator=generator) - 0.5
        zero = code.zero / torch.exp2(drift)  # the zero point of the released code: z s0 / s, kept real
        soft[name] = FloatWeightCode(codes=code.codes, zero=zero, scale=code.scale * torch.exp2(drift), bits=code.bits)
    graph = simulated(model.graph, soft, model.grids)
    proof = certify(QuantizedModel(graph, soft, model.grids, config=model.config, shape=model.shape))
    assert not proof.holds
    assert not proof.exact_in_float32
    assert all(it.powers_of_two < 0.5 for it in proof.layers)
    assert all(any("is real" in reason for reason in it.failures) for it in proof.layers)
    assert all(it.powers_of_two == 1 for it in certify(model).layers)


def test_a_float_code_whose_scales_happen_to_be_powers_of_two_is_seen_as_such() -> None:
    model = a_model()
    code = model.codes["first"]
    assert isinstance(code, WeightCode)
    same = FloatWeightCode(codes=code.codes, zero=code.zero.float(), scale=code.scale, bits=code.bits)
    codes = {**model.codes, "first": same}
    proof = certify(QuantizedModel(model.graph, codes, model.grids, config=model.config, shape=model.shape))
    assert proof.layers[1].powers_of_two == 1
    assert proof.holds
    assert not proof.whole  # it has no exponents to shift by
    assert not proof.exact_in_float32


def test_a_grid_of_a_real_scale_fails() -> None:
    model = a_model()
    grids = {**model.grids, "relu": FloatActivationGrid(bits=8, signed=False, scale=0.01)}
    proof = certify(QuantizedModel(model.graph, model.codes, grids, config=model.config, shape=model.shape))
    assert proof.failures == ("relu: the scale of its grid is real",)
    assert "first: its input is on no grid" in proof.float_operations


def test_weights_other_than_those_of_the_codes_fail() -> None:
    model = a_model()
    layer = model.graph.layers["first"]
    weight = layer.weight.clone()
    weight[3, 0, 0, 0] += 2**-12
    model.graph = model.graph.with_operations({"first": replace(layer, weight=weight)})
    proof = certify(model).layers[1]
    assert proof.powers_of_two == 7 / 8
    assert proof.failures == ("the weights of 1 of 8 channels are not those of their codes",)


def test_more_levels_than_the_bits_have_fail() -> None:
    model = a_model()  # RAPQ-C3
    layer = model.graph.layers["first"]
    weight = torch.arange(layer.weight.numel()).view_as(layer.weight).float()
    model.graph = model.graph.with_operations({"first": replace(layer, weight=weight)})
    assert "36 levels in a channel, but 4 bits have 16" in certify(model).layers[1].failures


def test_zero_points_and_codes_that_were_overwritten_fail() -> None:
    # A code checks itself when it is made; the certificate reads what the tensors hold now.
    model = a_model()
    model.codes["first"].zero.fill_(16)
    assert "first: a zero point outside of 0 ... 15" in certify(model).failures
    model = a_model()
    model.codes["first"].codes.fill_(17)
    assert "first: a code of 17, but 4 bits end at 15" in certify(model).failures
    model = a_model()
    model.codes["stem"].zero.fill_(127)
    assert "stem: a zero point of 8 bits that is not 128" in certify(model).failures


def test_a_bias_between_two_steps_fails() -> None:
    model = a_model()
    layer = model.graph.layers["second"]
    model.graph = model.graph.with_operations({"second": replace(layer, bias=layer.bias + 2**-15)})
    assert "second: a bias that is no integer multiple of the accumulator's unit" in certify(model).failures


def test_a_ceiling_below_one_step_fails() -> None:
    model = a_model("depthwise")
    grids = {**model.grids, "hardtanh_1": ActivationGrid(bits=4, signed=False, exponent=3, ceiling=6.0)}
    model = QuantizedModel(model.graph, model.codes, grids, config=model.config, shape=model.shape)
    assert "hardtanh_1: a step of its grid is larger than the ceiling 6.0" in certify(model).failures


def test_weights_alone_hold_and_run_in_float() -> None:
    proof = certify(a_model(activation_bits=None))
    assert proof.holds
    assert not proof.whole
    assert not proof.exact_in_float32
    assert {it.width for it in proof.layers} == {"none"}
    assert proof.float_operations[:2] == ("x: the input has no grid", "stem: its input is on no grid")


def test_what_has_no_integer_form_is_named() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.norm, self.last = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(3), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.tanh(self.stem(self.norm(x))).mean(dim=(2, 3)))

    proof = certify(random_model(Odd(), shape=(3, 4, 4)))
    assert proof.float_operations == (
        "batch_norm: a batch norm that no layer took in",
        "tanh: tanh has no integer form",
    )
    assert not proof.exact_in_float32


def test_a_rectifier_with_a_ceiling_needs_a_grid() -> None:
    model = a_model("depthwise")
    grids = {name: grid for name, grid in model.grids.items() if name != "hardtanh_1"}
    model = QuantizedModel(model.graph, model.codes, grids, config=model.config, shape=model.shape)
    assert "hardtanh_1: a ReLU up to 6 without a grid" in certify(model).float_operations


def test_a_mean_that_is_no_shift_is_named() -> None:
    model = a_model()
    mean = model.graph["mean"].operation
    assert isinstance(mean, MeanPool)
    model.graph = model.graph.with_operations({"mean": replace(mean, pixels=9)})
    assert certify(model).float_operations == ("mean: a mean that divides by 9",)


def test_the_certificate_reads_as_a_table() -> None:
    text = str(certify(a_model()))
    assert text.splitlines()[0].split("  ")[0] == "layer"
    assert "The certificate holds: every scale is a power of two" in text
    assert "equals the integers bit for bit" in text
    before, _, after = str(certify(a_model(activation_bits=None))).partition("Computed in floating point:")
    assert "holds" not in before
    assert "The certificate holds for the weights of 4 layers, 100.0% of all weights, and not for" in after


@pytest.mark.parametrize("rounding", ["half_even", "half_up"])
def test_either_rounding_of_a_large_sum_is_exact_in_float32(rounding: Rounding) -> None:
    model = a_linear_model(torch.full((1, 300), 127))
    model.grids["last"] = ActivationGrid(bits=8, signed=False, exponent=16, rounding=rounding)
    proof = certify(model)
    assert 2**23 < (proof.layers[0].reach or 0) < 2**24
    assert proof.exact_in_float32
    step = model.grids["x"].scale
    x = step * torch.randint(0, 256, (4096, 300), generator=torch.Generator().manual_seed(0))
    assert torch.equal(model(x), model.double()(x.double()).float())
