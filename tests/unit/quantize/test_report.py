"""The report: counts against those of the tensors, and its forms."""

from __future__ import annotations

import json

import torch
from tests.unit.quantize.random_models import DepthwiseNet, ResidualNet, random_model, random_resnet20

from modicum.quantize.codes import FloatActivationGrid, FloatWeightCode, WeightCode
from modicum.quantize.configuration import RAPQConfig
from modicum.quantize.inspect.report import LayerQuality, summarise
from modicum.quantize.model import QuantizedModel


def a_model(**changes: object) -> QuantizedModel:
    return random_model(ResidualNet(), shape=ResidualNet.shape, config=RAPQConfig(**changes))  # pyright: ignore


def test_a_layer_is_described_by_its_code() -> None:
    model = a_model()
    code = model.codes["first"]
    assert isinstance(code, WeightCode)
    first = summarise(model).layers[1]
    assert (first.name, first.kind, first.bits) == ("first", "3x3 convolution", 4)
    assert first.weights == 8 * 4 * 9
    assert first.parameters == 8 * 4 * 9 + 8
    assert first.bytes == 8 * 4 * 9 * 4 // 8 + 8 * (1 + 1 + 4)
    assert first.exponents == {int(e): int((code.exponent == e).sum()) for e in code.exponent.unique()}
    assert first.zeros == {int(z): int((code.zero == z).sum()) for z in code.zero.unique()}


def test_kinds_of_layers_are_told_apart() -> None:
    layers = summarise(random_model(DepthwiseNet(), shape=DepthwiseNet.shape)).layers
    kinds = ["3x3 convolution", "1x1 convolution", "3x3 depthwise convolution", "1x1 convolution", "linear"]
    assert [it.kind for it in layers] == kinds


def test_totals_are_those_of_resnet20() -> None:
    summary = summarise(random_resnet20(config=RAPQConfig(weight_bits=2)))
    ends = 16 * 27 + 640
    body = 6 * 16 * 16 * 9 + 16 * 32 * 9 + 5 * 32 * 32 * 9 + 32 * 64 * 9 + 5 * 64 * 64 * 9
    channels = 7 * 16 + 6 * 32 + 6 * 64 + 10
    assert summary.parameters == body + ends + channels
    assert summary.bytes == body * 2 // 8 + ends + channels * 6
    assert summary.mean_bits == (body * 2 + ends * 8) / (body + ends)
    assert sum(summary.exponents.values()) == channels


def test_grids_are_described() -> None:
    model = a_model()
    grids = {it.name: it for it in summarise(model).grids}
    assert list(grids) == list(model.grids)
    assert grids["x"].signed
    assert (grids["relu_1"].bits, grids["relu_1"].signed) == (4, False)
    assert grids["relu_1"].scale == 2.0 ** (grids["relu_1"].exponent or 0)


def test_real_scales_have_no_exponents_and_no_size() -> None:
    model = a_model()
    codes = {
        name: FloatWeightCode(codes=it.codes, zero=it.zero.float(), scale=torch.full(it.zero.shape, 0.1), bits=it.bits)
        for name, it in model.codes.items()
    }
    grids = {"x": FloatActivationGrid(bits=8, signed=True, scale=0.1)}
    summary = summarise(QuantizedModel(model.graph, codes, grids, config=model.config, shape=model.shape))
    assert summary.bytes is None
    assert summary.mean_bits is not None
    assert summary.layers[0].exponents == {}
    assert summary.grids[0].exponent is None
    assert "It cannot be stored" in str(summary)
    assert "0.1" in str(summary)


def test_quality_is_shown_where_it_was_measured() -> None:
    model = a_model()
    assert "SNR" not in str(summarise(model))
    model.quality["first"] = LayerQuality(clipped=0.0125, snr_db=21.04)
    lines = str(summarise(model)).splitlines()
    assert lines[0].endswith("clipped  SNR")
    assert lines[2].endswith("1.25%    21.0 dB")
    assert lines[1].endswith("-        -")


def test_quality_is_an_argument_of_the_model() -> None:
    model = a_model()
    quality = {"stem": LayerQuality(clipped=0.0, snr_db=30.0)}
    given = QuantizedModel(
        model.graph, model.codes, model.grids, config=model.config, shape=model.shape, quality=quality
    )
    assert summarise(given).layers[0].quality == quality["stem"]
    assert model.quality == {}


def test_the_dictionary_is_json() -> None:
    model = a_model()
    model.quality["first"] = LayerQuality(clipped=0.0125, snr_db=21.04)
    summary = summarise(model)
    read = json.loads(json.dumps(summary.to_dict()))
    assert read["layers"][1]["quality"] == {"clipped": 0.0125, "snr_db": 21.04}
    assert read["layers"][0]["zeros"] == {"128": 4}
    assert read["totals"]["bytes"] == summary.bytes
    assert read["grids"][0]["name"] == "x"
