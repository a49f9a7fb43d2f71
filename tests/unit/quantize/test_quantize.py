"""A trained network stays accurate on few bits, and everything in it is whole."""

from __future__ import annotations

import copy
import functools
from types import SimpleNamespace
from typing import Any, Literal, cast, get_args

import pytest
import torch
from tests.unit.quantize.digits_network import DigitNet, Digits, trained_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from modicum.core.seeding import seeded_globally
from modicum.errors import ConfigError, DataError, ModelError
from modicum.quantize.codes import ActivationGrid, Codes, FloatActivationGrid, FloatWeightCode, Grids, WeightCode
from modicum.quantize.configuration import LayerBits, RAPQConfig
from modicum.quantize.graph.graph import folded
from modicum.quantize.graph.ops import Convolution, Linear
from modicum.quantize.graph.placement import bias_integers, simulated
from modicum.quantize.graph.trace import trace
from modicum.quantize.model import QuantizedModel
from modicum.quantize.polish import distance
from modicum.quantize.quantizer import quantize

pytestmark = pytest.mark.slow  # all of them together


@pytest.fixture(scope="module")
def digits() -> Digits:
    return trained_digits()


@pytest.fixture(scope="module")
def narrow() -> nn.Module:
    """The same network a quarter as wide and not trained, where only what goes in and what comes out is looked at."""
    with seeded_globally(0, "narrow"):
        return DigitNet(2).eval()


@functools.cache
def made(**settings: Any) -> QuantizedModel:
    digits = trained_digits()
    return quantize(digits.model, digits.train[:256], RAPQConfig(**settings))


def plain_accuracy(digits: Digits, bits: int) -> float:
    """Round weights to the nearest on the power of two that covers a channel's range; activations stay float."""
    graph = folded(trace(digits.model, digits.train[:2]))
    codes = {}
    for name, layer in graph.layers.items():
        n = 8 if name in {"stem", "head"} else bits
        flat = layer.weight.flatten(1)
        low, high = flat.amin(1).clamp(max=0), flat.amax(1).clamp(min=0)
        exponent = torch.ceil(torch.log2((high - low) / (2**n - 1)))
        scale = 2**exponent
        zero = torch.full_like(low, 128) if n == 8 else torch.round(-low / scale)
        level = (torch.round(flat / scale[:, None]) + zero[:, None]).clamp(0, 2**n - 1)
        codes[name] = WeightCode(
            codes=level.view_as(layer.weight).to(torch.uint8),
            zero=zero.to(torch.uint8),
            exponent=exponent.to(torch.int8),
            bits=n,
        )
    rounded = simulated(graph, codes, {})
    return digits.accuracy(QuantizedModel(rounded, codes, {}, config=RAPQConfig(), shape=(1, 8, 8)))


def test_network_is_worth_quantizing(digits: Digits) -> None:
    assert digits.accuracy(digits.model) > 95


def test_four_bits_cost_less_than_two_points(digits: Digits) -> None:
    assert digits.accuracy(made()) > digits.accuracy(digits.model) - 2


def test_two_bits_cost_less_than_six_points_and_much_less_than_plain_rounding(digits: Digits) -> None:
    accuracy = digits.accuracy(made(weight_bits=2))
    assert accuracy > digits.accuracy(digits.model) - 6
    assert accuracy > plain_accuracy(digits, 2) + 25


def test_eight_bits_cost_nearly_nothing(digits: Digits) -> None:
    assert abs(digits.accuracy(made(weight_bits=8, activation_bits=8)) - digits.accuracy(digits.model)) < 0.7


SETTINGS: list[dict[str, Any]] = [
    {},
    {"weight_bits": 2},
    {"weight_bits": 2, "granularity": "tensor"},
    {"weight_bits": 2, "activation_bits": None},
    {"rounding": "half_up", "polish": False, "absorb_mantissa": False},
    {"weight_bits": 8, "activation_bits": 8},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_everything_is_whole(settings: dict[str, Any]) -> None:
    model = made(**settings)
    config = RAPQConfig(**settings)
    assert list(model.codes) == list(model.graph.layers)
    for name, code in model.codes.items():
        assert isinstance(code, WeightCode)
        levels = 2**code.bits
        assert code.bits == (8 if name in {"stem", "head"} else config.weight_bits)
        assert all(len(it.unique()) <= levels for it in code.codes)
        layer = model.graph.layers[name]
        assert torch.equal(layer.weight, code.dequantized())
        steps = layer.weight.flatten(1).double() / 2.0 ** code.exponent.double()[:, None]
        assert torch.equal(steps, steps.round())
        if config.granularity == "tensor":
            assert len(code.exponent.unique()) == 1
        if config.activation_bits is not None:
            codes, grids = cast("Codes", model.codes), cast("Grids", model.grids)
            assert bias_integers(model.graph, codes, grids, name).dtype == torch.int64
    assert bool(model.grids) == (config.activation_bits is not None)
    for grid in model.grids.values():
        assert isinstance(grid, ActivationGrid)
        assert grid.rounding == config.rounding


def test_biases_are_whole_multiples_of_the_unit_of_the_accumulator() -> None:
    model = made()
    for name, layer in model.graph.layers.items():
        before = model.graph[name].inputs[0]
        grid, code = model.grids[before], model.codes[name]
        assert isinstance(code, WeightCode)
        assert isinstance(grid, ActivationGrid)
        steps = layer.bias.double() / 2.0 ** (code.exponent.double() + grid.exponent)
        assert torch.equal(steps, steps.round())


def test_tensors_between_layers_are_on_their_grids(digits: Digits) -> None:
    model = made()
    values = model.graph.run({}, x=digits.images[:50], wanted=tuple(model.grids), through=model._to_grid)
    for name, grid in model.grids.items():
        k = values[name] / grid.scale
        assert torch.equal(k, k.round())
        assert grid.low <= k.min()
        assert k.max() <= grid.high
        assert len(values[name].unique()) <= 2**grid.bits


def test_the_same_call_gives_the_same_network_bit_for_bit(digits: Digits) -> None:
    first = made(weight_bits=2)
    second = quantize(digits.model, digits.train[:256], RAPQConfig(weight_bits=2))
    assert first.grids == second.grids
    for name, code in first.codes.items():
        assert torch.equal(code.codes, second.codes[name].codes)
        assert torch.equal(first.graph.layers[name].bias, second.graph.layers[name].bias)
    assert torch.equal(first(digits.images), second(digits.images))


def test_control_with_real_scales_is_marked_as_such(digits: Digits) -> None:
    model = made(weight_bits=2, scales="float")
    assert all(isinstance(code, FloatWeightCode) for code in model.codes.values())
    assert all(isinstance(grid, FloatActivationGrid) for grid in model.grids.values())
    assert digits.accuracy(model) > digits.accuracy(digits.model) - 6


def test_single_layers_have_bits_of_their_own(digits: Digits, narrow: nn.Module) -> None:
    own = {"blocks.1.first": LayerBits(weight_bits=7, activation_bits=3), "head": LayerBits(weight_bits=3)}
    model = quantize(narrow, digits.train[:64], RAPQConfig(weight_bits=2, per_layer=own, polish=False))
    bits = {name: code.bits for name, code in model.codes.items()}
    assert (bits["blocks.1.first"], bits["head"], bits["stem"], bits["blocks.0.first"]) == (7, 3, 8, 2)
    assert model.grids[model.graph["blocks.1.first"].inputs[0]].bits == 3


def test_model_is_not_touched(digits: Digits, narrow: nn.Module) -> None:
    model = copy.deepcopy(narrow).train()
    model.get_submodule("blocks.0").eval()
    before = copy.deepcopy(model.state_dict())
    flags = [it.training for it in model.modules()]
    found = quantize(model, digits.train[:32], RAPQConfig(polish=False))
    assert [it.training for it in model.modules()] == flags
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not found.training


def test_calibration_data_are_not_touched() -> None:
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2))
    x = torch.randn(8, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    kept = x.clone()
    for tracing in get_args(Literal["export", "eager"]):
        found = quantize(model, x, RAPQConfig(weight_bits=8, activation_bits=8), tracing=tracing)
        assert torch.equal(x, kept)
        torch.testing.assert_close(found(x), model(x.clone()), rtol=0, atol=0.05)
        assert torch.equal(x, kept)


def test_all_kinds_of_calibration_give_the_same_network(digits: Digits, narrow: nn.Module) -> None:
    x, config = digits.train[:48], RAPQConfig(polish=False)
    expected = quantize(narrow, x, config)(digits.images)
    loader = DataLoader(TensorDataset(x, torch.zeros(48)), batch_size=20)
    for calibration in (loader, [(it, None) for it in x.split(20)], [{"pixel_values": it} for it in x.split(20)]):
        assert torch.equal(quantize(narrow, calibration, config)(digits.images), expected)


def test_the_polish_brings_the_calibration_outputs_closer(digits: Digits) -> None:
    x = digits.train[:64]
    wanted = digits.model(x)
    settings = [{"polish": False}, {}]
    models = [quantize(digits.model, x, RAPQConfig(weight_bits=2, activation_bits=3, **it)) for it in settings]
    apart = [distance(wanted, model(x)) for model in models]
    assert apart[1] < apart[0]
    assert models[1].verify().whole


def test_progress_names_the_layers(digits: Digits, narrow: nn.Module) -> None:
    steps: list[tuple[int, int, str]] = []
    settings = RAPQConfig(polish=False)
    model = quantize(narrow, digits.train[:32], settings, progress=lambda *step: steps.append(step))
    assert steps == [(place, 0, name) for place, name in enumerate(model.codes, start=1)]


def test_double_model_takes_float_calibration(digits: Digits, narrow: nn.Module) -> None:
    model = copy.deepcopy(narrow).double()
    found = quantize(model, digits.train[:32], RAPQConfig(polish=False))
    assert {layer.weight.dtype for layer in found.graph.layers.values()} == {torch.float64}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_result_is_on_the_device_of_the_model(digits: Digits) -> None:
    found = quantize(copy.deepcopy(digits.model).cuda(), digits.train[:64], RAPQConfig())
    assert found(digits.images.cuda()).is_cuda
    assert found.cpu()(digits.images).device.type == "cpu"


def test_moving_a_network_moves_its_weights() -> None:
    model = copy.deepcopy(made()).to("meta")
    layers = model.graph.layers.values()
    assert all(isinstance(it, Convolution | Linear) and it.weight.is_meta and it.bias.is_meta for it in layers)


def spoiled(x: Tensor) -> Tensor:
    x = x.clone()
    x[3, 0, 1, 1] = torch.nan
    return x


@pytest.mark.parametrize(
    ("calibration", "error", "words"),
    [
        (spoiled, DataError, "not finite"),
        (lambda x: [], ConfigError, "2 samples or more"),
        (lambda x: x[:1], ConfigError, "2 samples or more"),
        (lambda x: x.expand(-1, 3, -1, -1), ModelError, r"cannot take samples of shape \(3, 8, 8\)"),
        (lambda x: x.flatten(1), ModelError, r"cannot take samples of shape \(64,\)"),
        (lambda x: [x, x[:, :, 1:]], DataError, "batch 1"),
        (lambda x: "images", ConfigError, "str"),
        (torch.zeros_like, DataError, "one value a channel"),
    ],
)
@pytest.mark.parametrize("tracing", ["export", "eager"])
def test_bad_calibration_is_refused(digits: Digits, calibration: Any, error: type, words: str, tracing: Any) -> None:
    with pytest.raises(error, match=words):
        quantize(digits.model, calibration(digits.train[:8]), tracing=tracing)


def test_images_of_another_size_than_the_network_declares_are_told() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    network.config = SimpleNamespace(image_size=16)  # pyright: ignore[reportArgumentType] - as transformers
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with pytest.warns(UserWarning, match=r"have 8 x 8 pixels, but the network was made for 16 x 16"):
        quantize(network.eval(), x)


def test_samples_of_another_shape_are_refused_later_too(digits: Digits) -> None:
    with pytest.raises(ConfigError, match=r"must have shape \(1, 8, 8\), got \(1, 7, 8\)"):
        made()(digits.images[:, :, 1:])


def test_unknown_names_are_refused(digits: Digits) -> None:
    with pytest.raises(ConfigError, match="'neck'"):
        quantize(digits.model, digits.train[:8], RAPQConfig(per_layer={"neck": LayerBits(weight_bits=2)}))
    wrong: Any = "jit"
    with pytest.raises(ConfigError, match="tracing must be export or eager, but it is 'jit'"):
        quantize(digits.model, digits.train[:8], tracing=wrong)


@pytest.mark.parametrize(("tracing", "kind"), [("export", "conv3d"), ("eager", "Conv3d")])
def test_what_stays_in_floating_point_is_told_and_counted(tracing: Any, kind: str) -> None:
    network = nn.Sequential(
        nn.Conv3d(3, 32, (3, 1, 1)), nn.Tanh(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(32, 4)
    )
    x = torch.randn(8, 3, 16, 1, 1, generator=torch.Generator().manual_seed(0))
    said = rf"69.2% of the weights stay in floating point.*{kind} \(0\).*without an integer engine, C source or ONNX"
    with pytest.warns(UserWarning, match=said) as told:
        found = quantize(network.eval(), x, tracing=tracing)
    assert told[0].filename == __file__
    report, certificate = found.report(), str(found.verify())
    assert report.parameters == sum(it.numel() for it in network.parameters())
    assert report.bytes == 4 * (288 + 32) + 128 + 4 * 6
    assert report.mean_bits == (32 * 288 + 8 * 128) / (288 + 128)
    assert certificate.index("Computed in floating point") < certificate.index(
        "holds for the weights of 1 layer, 30.8%"
    )
    if tracing == "export":
        assert torch.allclose(found(x), found.double()(x.double()).float(), atol=1e-5)


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ConfigError, match="quantize takes the model itself, but it got an object of type NoneType"):
        quantize(None, torch.randn(4, 3))  # type: ignore[arg-type]


def test_network_without_layers_is_refused() -> None:
    with pytest.raises(ModelError, match="no convolution"):
        quantize(nn.ReLU(), torch.arange(12.0).view(4, 3))
