"""The ONNX file: onnxruntime computes our very numbers from it, and what it cannot say is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from tests.unit.quantize.random_models import DepthwiseNet, ResidualNet, images, random_model, random_resnet20
from torch import Tensor, nn

from modicum.errors import ConfigError, DataError, ModelError
from modicum.quantize.codes import ActivationGrid, FloatActivationGrid, FloatWeightCode, WeightCode
from modicum.quantize.configuration import LayerBits, RAPQConfig
from modicum.quantize.graph.placement import simulated
from modicum.quantize.inspect.certificate import certify
from modicum.quantize.io.onnx import compare_onnx, export_onnx
from modicum.quantize.model import QuantizedModel
from modicum.quantize.quantizer import quantize

NETS = {"residual": ResidualNet, "depthwise": DepthwiseNet}


def a_model(name: str = "residual", **changes: object) -> QuantizedModel:
    return random_model(NETS[name](), shape=NETS[name].shape, config=RAPQConfig(**changes))  # pyright: ignore


def with_float_scales(model: QuantizedModel, *, stretch: float = 1.1, shift: float = 0.0) -> QuantizedModel:
    """Stretch all scales by a number that is no power of two, and shift the zero points."""
    codes: dict[str, FloatWeightCode] = {}
    grids: dict[str, FloatActivationGrid] = {}
    for name, code in model.codes.items():
        assert isinstance(code, WeightCode)
        zero = code.zero.float() + shift
        codes[name] = FloatWeightCode(codes=code.codes, zero=zero, scale=code.scale * stretch, bits=code.bits)
    for name, grid in model.grids.items():
        assert isinstance(grid, ActivationGrid)
        scale = float(np.float32(grid.scale * stretch))
        grids[name] = FloatActivationGrid(bits=grid.bits, signed=grid.signed, scale=scale, ceiling=grid.ceiling)
    graph = simulated(model.graph, codes, grids)
    return QuantizedModel(graph, codes, grids, config=model.config, shape=model.shape)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "network.onnx"


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"weight_bits": 2, "first_last_bits": 4},
        {"weight_bits": 8, "activation_bits": 8},
        {"weight_bits": 3, "activation_bits": 2, "per_layer": {"last": LayerBits(activation_bits=5)}},
    ],
)
def test_onnxruntime_computes_our_numbers_to_the_last_bit(name: str, settings: dict[str, Any], path: Path) -> None:
    model = a_model(name, **settings)  # RAPQ-C10
    export_onnx(model, path)
    found = compare_onnx(model, path, images(model.shape, count=64, seed=4))
    assert certify(model).exact_in_float32
    for it in (found.plain, found.optimised):
        assert (it.equal, it.largest, it.same_class) == (1, 0, 1)


def test_onnxruntime_computes_resnet20_to_the_last_bit(path: Path) -> None:
    model = random_resnet20(config=RAPQConfig(weight_bits=2))  # RAPQ-C10
    export_onnx(model, path)
    found = compare_onnx(model, path, images(model.shape, count=16, seed=4))
    assert (found.plain.equal, found.optimised.equal) == (1, 1)
    assert str(found).startswith("without optimisation: 100.00% of outputs equal")


class Bottleneck(nn.Module):
    """As of MobileNetV2: no activation between two convolutions, so that a layer's output has a grid of its own."""

    shape = (3, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.narrow, self.wide = nn.Conv2d(3, 32, 3), nn.Conv2d(32, 8, 1), nn.Conv2d(8, 32, 3, groups=8)
        self.first, self.last = nn.Linear(32 * 16, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        wide = torch.relu(self.wide(self.narrow(torch.relu(self.stem(x)))))
        return self.last(self.first(wide.flatten(1)))


def test_linear_layers_over_rows_are_translated(path: Path) -> None:
    x = images((5, 8), count=32)
    model = quantize(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)), x)
    found = model.export_onnx(path, x)
    assert found is not None
    assert (found.plain.equal, found.optimised.equal) == (1, 1)


@pytest.mark.parametrize("high", [False, True])
@pytest.mark.parametrize("net", [Bottleneck, ResidualNet, DepthwiseNet])
def test_the_largest_products_of_8_bits_do_not_saturate(net: Any, high: bool, path: Path) -> None:
    # int8 weights do without VNNI: two products of 255 * 127 are summed in 16 bits.
    model = random_model(net(), shape=net.shape, config=RAPQConfig(weight_bits=8, activation_bits=8))
    codes = {
        name: replace(code, codes=torch.full_like(code.codes, 255 if high else 0)) for name, code in model.codes.items()
    }
    grids = {  # most activations at the top
        name: grid.moved(grid.exponent - 2) for name, grid in model.grids.items() if isinstance(grid, ActivationGrid)
    }
    extreme = QuantizedModel(
        simulated(model.graph, codes, grids), codes, grids, config=model.config, shape=model.shape
    ).eval()
    x = images(model.shape, count=32).abs() * 8
    found = extreme.export_onnx(path, x if high else -x)
    assert found is not None
    assert (found.plain.equal, found.optimised.equal) == (1, 1)


def test_weights_alone_agree_within_float32(path: Path) -> None:
    model = a_model(activation_bits=None)
    export_onnx(model, path)
    found = compare_onnx(model, path, images(model.shape))
    assert found.plain.largest < 1e-5  # sums of at most 72 products of order 1
    assert found.optimised.same_class == 1


@pytest.mark.parametrize("name", NETS)
def test_real_scales_agree_nearly(name: str, path: Path) -> None:
    model = with_float_scales(a_model(name))
    export_onnx(model, path)
    found = compare_onnx(model, path, images(model.shape, count=32))
    # A tie that falls the other way moves an activation by a step, so single outputs may differ, most may not.
    assert found.plain.same_class >= 0.9
    assert found.plain.largest < 0.5


def test_another_network_does_not_agree(path: Path) -> None:
    model, other = a_model(), random_model(ResidualNet(), shape=ResidualNet.shape, seed=1)
    export_onnx(other, path)
    found = compare_onnx(model, path, images(model.shape))
    assert found.plain.equal < 0.5
    assert found.plain.largest > 0.1
    assert found.optimised.equal < 0.5


def test_the_file_holds_whole_weights_and_scales_of_powers_of_two(path: Path) -> None:
    model = a_model(weight_bits=2)  # RAPQ-C3
    export_onnx(model, path)
    document = onnx.load(path)
    constants = {it.name: numpy_helper.to_array(it) for it in document.graph.initializer}
    code = model.codes["first"]
    assert isinstance(code, WeightCode)
    assert constants["first/weight_codes"].dtype == np.uint8
    assert np.array_equal(constants["first/weight_codes"].astype(int) - 128, code.integers.numpy())
    scales = [value for name, value in constants.items() if name.endswith("scale")]
    assert len(scales) == 2 * 4 + 5
    assert all((np.frexp(it)[0] == 0.5).all() for it in scales)
    assert {it.op_type for it in document.graph.node} == {
        *("QuantizeLinear", "DequantizeLinear", "Clip", "Conv", "Relu", "MaxPool", "Slice", "Pad", "Add"),
        *("ReduceSum", "Div", "Gemm"),
    }
    properties = {it.key: it.value for it in document.metadata_props}
    assert json.loads(properties["config"])["weight_bits"] == 2
    assert document.opset_import[0].version == 21


@pytest.mark.parametrize("count", [1, 3])
def test_the_batch_is_of_any_size(count: int, path: Path) -> None:
    model = a_model()
    export_onnx(model, path)
    assert compare_onnx(model, path, images(model.shape, count=count)).optimised.equal == 1


@pytest.mark.parametrize("opset", [13, 17])
def test_older_operators_compute_the_same(opset: int, path: Path) -> None:
    model = a_model()
    export_onnx(model, path, opset=opset)
    assert compare_onnx(model, path, images(model.shape)).plain.equal == 1


@pytest.mark.parametrize("opset", [12, 99])
def test_other_versions_of_the_operators_are_refused(opset: int, path: Path) -> None:
    with pytest.raises(ConfigError, match=f"opset must be 13 to .* but it is {opset}"):
        export_onnx(a_model(), path, opset=opset)


def test_a_batch_norm_that_no_layer_took_in_is_translated(path: Path) -> None:
    class Before(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.last = nn.BatchNorm2d(3), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.norm(x).mean(dim=(2, 3)))

    model = random_model(Before(), shape=(3, 4, 4))
    export_onnx(model, path)
    assert compare_onnx(model, path, images(model.shape, count=32)).plain.same_class >= 0.9


def test_an_operator_without_a_translation_is_named(path: Path) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.last = nn.Conv2d(3, 4, 1), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.tanh(self.stem(x)).mean(dim=(2, 3)))

    with pytest.raises(ModelError, match="operator tanh"):
        export_onnx(random_model(Odd(), shape=(3, 4, 4)), path)
    assert not path.exists()


def test_ties_that_are_rounded_up_are_refused(path: Path) -> None:
    with pytest.raises(ModelError, match="x rounds ties up"):
        export_onnx(a_model(rounding="half_up"), path)


@pytest.mark.parametrize("shift", [0.25, 40.0])
def test_zero_points_that_onnx_cannot_hold_are_refused(shift: float, path: Path) -> None:
    with pytest.raises(ModelError, match="stem has a zero point that is no integer, or weights beyond 8 bits"):
        export_onnx(with_float_scales(a_model(), shift=shift), path)


def test_a_bias_beyond_32_bits_is_refused(path: Path) -> None:
    model = a_model()
    model.grids["x"] = ActivationGrid(bits=8, signed=True, exponent=-40)
    with pytest.raises(ModelError, match="bias of stem does not fit 32 bits"):
        export_onnx(model, path)


def test_another_version_of_the_file_is_told(path: Path) -> None:
    model = a_model()
    export_onnx(model, path)
    document = onnx.load(path)
    next(it for it in document.metadata_props if it.key == "version").value = "9"
    onnx.save(document, path)
    with pytest.raises(DataError, match="version 9 of the format, but this modicum reads version 1"):
        compare_onnx(model, path, images(model.shape))


def test_files_of_others_truncated_ones_and_missing_ones_are_told(path: Path) -> None:
    model = a_model()
    with pytest.raises(DataError, match="cannot be read"):
        compare_onnx(model, path, images(model.shape))
    export_onnx(model, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="no complete ONNX file"):
        compare_onnx(model, path, images(model.shape))
    document = onnx.load_from_string(whole)
    del document.metadata_props[:]
    onnx.save(document, path)
    with pytest.raises(DataError, match="no ONNX file of modicum"):
        compare_onnx(model, path, images(model.shape))
