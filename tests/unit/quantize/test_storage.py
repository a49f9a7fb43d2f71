"""The file of a quantized network: it comes back to the last bit, or with a sentence on what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tests.unit.quantize.random_models import DepthwiseNet, ResidualNet, images, random_model, random_resnet20
from torch import Tensor, nn
from torch.nn import functional

from modicum.errors import ConfigError, DataError, ModelError
from modicum.quantize.codes import FloatActivationGrid, FloatWeightCode, WeightCode
from modicum.quantize.configuration import LayerBits, RAPQConfig
from modicum.quantize.inspect.certificate import certify
from modicum.quantize.inspect.report import LayerQuality, summarise
from modicum.quantize.io.storage import save
from modicum.quantize.model import QuantizedModel

load = QuantizedModel.load
Change = Callable[[dict[str, Tensor], dict[str, Any]], object]


def a_model(**changes: object) -> QuantizedModel:
    return random_model(ResidualNet(), shape=ResidualNet.shape, config=RAPQConfig(**changes))  # pyright: ignore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "network.safetensors"


def changed(path: Path, change: Change, *, version: str = "2") -> None:
    """Write a network, and then the same file with a change of its tensors or of its description."""
    save(a_model(), path)
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        document = json.loads(file.metadata()["modicum.quantize/2"])
    change(tensors, document)
    save_file(tensors, path, metadata={f"modicum.quantize/{version}": json.dumps(document)})


@pytest.mark.parametrize("network", [ResidualNet, DepthwiseNet])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"weight_bits": 2, "first_last_bits": 3, "rounding": "half_up"},
        {"weight_bits": 5, "activation_bits": None},
        {"weight_bits": 7, "per_layer": {"stem": LayerBits(weight_bits=6)}, "p_slope": None},
    ],
)
def test_what_comes_back_computes_the_same_to_the_last_bit(
    network: type[ResidualNet | DepthwiseNet], settings: dict[str, Any], path: Path
) -> None:
    model = random_model(network(), shape=network.shape, config=RAPQConfig(**settings))
    model.quality["stem"] = LayerQuality(clipped=0.125, snr_db=1 / 3)
    save(model, path)
    loaded = load(path)
    x = images(model.shape, count=16, seed=3)
    assert torch.equal(loaded(x), model(x))
    assert loaded.config == model.config
    assert loaded.grids == model.grids
    assert loaded.shape == model.shape
    assert summarise(loaded) == summarise(model)
    assert certify(loaded) == certify(model)


def test_a_batch_norm_that_no_layer_took_in_is_kept(path: Path) -> None:
    class Before(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.last = nn.BatchNorm2d(3), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.norm(x).mean(dim=(2, 3)))

    model = random_model(Before(), shape=(3, 4, 4))
    save(model, path)
    x = images(model.shape)
    assert torch.equal(load(path)(x), model(x))


@pytest.mark.parametrize("activation_bits", [None, 4])
def test_resnet20_of_two_bits_takes_80_kilobytes(activation_bits: int | None, path: Path) -> None:
    model = random_resnet20(config=RAPQConfig(weight_bits=2, activation_bits=activation_bits))
    model.quality |= {name: LayerQuality(clipped=1 / 700, snr_db=100 / 7) for name in model.graph.layers}
    save(model, path)
    assert path.stat().st_size <= 80_000
    x = images(model.shape, count=4)
    assert torch.equal(load(path)(x), model(x))


def test_a_file_is_the_same_whenever_it_is_written(path: Path) -> None:
    save(a_model(), path)
    first = path.read_bytes()
    for _ in range(5):
        save(load(path), path)
        assert path.read_bytes() == first


def test_codes_take_their_bits_in_the_file(path: Path) -> None:
    model = a_model(weight_bits=3)
    save(model, path)
    with safe_open(path, framework="pt") as file:
        assert file.get_tensor("first.codes").numel() == 8 * 4 * 9 * 3 // 8
        assert file.get_tensor("exponents").dtype == torch.int8
        assert file.get_tensor("biases").dtype == torch.int32
        layers = [model.codes[name] for name in model.graph.layers]
        exponents = torch.cat([it.exponent for it in layers if isinstance(it, WeightCode)])
        assert torch.equal(file.get_tensor("exponents"), exponents)


class Odd(nn.Module):
    def __init__(self, hidden: int = 8) -> None:
        super().__init__()
        self.stem, self.hidden, self.last = nn.Conv2d(3, 4, 1), nn.Linear(4, hidden), nn.Linear(hidden, 2)
        self.upper = nn.ConvTranspose2d(4, 4, 1, stride=2, padding=1)
        self.register_buffer("order", torch.tensor([3, 2, 1, 0]))

    def forward(self, x: Tensor) -> Tensor:
        h = self.upper(torch.tanh(self.stem(x)))[:, self.order]
        return self.last(functional.softplus(self.hidden(h.mean(dim=(2, 3)))))


def test_a_network_with_other_operators_comes_back_with_its_class(path: Path) -> None:
    model = random_model(Odd(), shape=(3, 4, 4))
    x = images(model.shape)
    model.save(path)
    with pytest.raises(ConfigError, match=r"tanh, conv_transpose2d, .*softplus\).*network="):
        QuantizedModel.load(path)
    with pytest.raises(ConfigError, match="other operators than Odd"):
        QuantizedModel.load(path, network=Odd(hidden=9))
    loaded = QuantizedModel.load(path, network=Odd())
    assert torch.equal(loaded(x), model(x))
    assert loaded.report() == model.report()
    assert torch.allclose(loaded.double()(x.double()).float(), model(x), atol=1e-5)


def test_a_network_that_was_not_traced_is_refused(path: Path) -> None:
    model = a_model()
    model.network = ResidualNet()
    with pytest.raises(ModelError, match="layer by layer"):
        save(model, path)
    assert not path.exists()


def test_real_scales_cannot_be_stored(path: Path) -> None:
    model = a_model()
    code = model.codes["first"]
    assert isinstance(code, WeightCode)
    real = FloatWeightCode(codes=code.codes, zero=code.zero.float(), scale=code.scale, bits=code.bits)
    model.codes["first"] = real
    with pytest.raises(ModelError, match="first: its scale is real"):
        save(model, path)
    model.codes["first"] = code
    model.grids["relu"] = FloatActivationGrid(bits=8, signed=False, scale=0.1)
    with pytest.raises(ModelError, match="relu: the scale of its grid is real"):
        save(model, path)


def test_weights_beside_their_codes_cannot_be_stored(path: Path) -> None:
    model = a_model()
    layer = model.graph.layers["first"]
    model.graph = model.graph.with_operations({"first": replace(layer, weight=layer.weight + 0.01)})
    with pytest.raises(ModelError, match="first: the weights of 8 of 8 channels"):
        save(model, path)


def test_a_file_that_cannot_be_written_leaves_the_old_one(path: Path) -> None:
    path.mkdir()
    with pytest.raises(ConfigError, match="no file that can be replaced"):
        save(a_model(), path)
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(ConfigError, match="cannot be written"):
        save(a_model(), path.parent / "missing" / "network.safetensors")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_a_truncated_file_is_told(share: float, path: Path) -> None:
    save(a_model(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match="no complete safetensors file"):
        load(path)


def test_a_missing_file_is_told(path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load(path)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_a_file_of_something_else_is_told(metadata: dict[str, str] | None, path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, path, metadata=metadata)
    with pytest.raises(DataError, match="no quantized network of modicum"):
        load(path)


@pytest.mark.parametrize("version", ["1", "7"])
def test_another_version_of_the_format_is_told(path: Path, version: str) -> None:
    changed(path, lambda *_: None, version=version)
    with pytest.raises(DataError, match=rf"version {version} of the format.*reads version 2"):
        load(path)


def _zeros(tensors: dict[str, Tensor], place: int, value: int) -> None:
    tensors["zeros"][place] = value


DAMAGE: dict[str, Change] = {
    "the tensor first.codes is missing": lambda tensors, _: tensors.pop("first.codes"),
    "the tensor biases is missing": lambda tensors, _: tensors.pop("biases"),
    "holds more, which no part has": lambda tensors, _: tensors.update(more=torch.zeros(2)),
    "exponents must be int8 of shape": lambda it, _: it.update(exponents=it["exponents"].repeat(2)),
    "zeros must be uint8 of shape": lambda it, _: it.update(zeros=it["zeros"][:-1]),
    "got float32": lambda it, _: it.update(exponents=it["exponents"].float()),
    "take 144 bytes": lambda it, _: it.update({"first.codes": it["first.codes"][:-1]}),
    "first has zero points that 4 bits do not have": lambda it, _: _zeros(it, 4, 16),
    "stem has zero points that 8 bits do not have": lambda it, _: _zeros(it, 0, 127),
    "bits of stem is damaged": lambda _, it: it["nodes"][1][3].update(bits="8"),
    "weights of shape .* and 9 bits": lambda _, it: it["nodes"][1][3].update(bits=9),
    "does not come before": lambda _, it: it["nodes"][1].__setitem__(2, [1]),
    "settings that no activation has": lambda _, it: it["nodes"][2][3].update(stride=[1, 1]),
    "settings that no opaque has, or lacks one": lambda _, it: it["nodes"][2].__setitem__(1, "opaque"),
    "lacks a setting that a max_pool has": lambda _, it: it["nodes"][3][3].pop("kernel"),
    "is no node, but a softmax": lambda _, it: it["nodes"][2].__setitem__(1, "softmax"),
    "Two nodes share a name": lambda _, it: it["nodes"][2].__setitem__(0, "stem"),
    "too large": lambda _, it: it.update(shape=[3, 2**16, 2**15]),
    "is no node, but a activation of 2 inputs": lambda _, it: it["nodes"][2].__setitem__(2, [0, 1]),
    "a grid of 9 bits": lambda _, it: it["grids"][0].__setitem__(1, 9),
    "differs in speed": lambda _, it: it["config"].update(speed=3),
    "configuration in the file is not usable": lambda _, it: it["config"].update(weight_bits=1),
}


@pytest.mark.parametrize("message", DAMAGE)
def test_damage_is_told(message: str, path: Path) -> None:
    changed(path, DAMAGE[message])
    with pytest.raises(DataError, match=message):
        load(path)


@pytest.mark.parametrize("name", ["*/ int x; /*", "a b", "a\n#include <x>", "../a", 'a"', "", "a" * 300, "caf\u00e9"])
def test_a_name_that_could_mean_something_elsewhere_is_refused(name: str, path: Path) -> None:
    changed(path, lambda _, document: document["nodes"][2].__setitem__(0, name))
    with pytest.raises(DataError, match=r"The layer name .* has characters other than"):
        load(path)


def test_a_network_with_such_a_name_is_not_saved(path: Path) -> None:
    network = nn.Sequential()
    network.add_module("a b", nn.Conv2d(3, 4, 3))
    model = random_model(network, shape=(3, 8, 8), config=RAPQConfig())
    with pytest.raises(ModelError, match=r"The layer name 'a b' has characters other than"):
        save(model, path)
    assert not path.exists()


def test_a_description_nested_too_deep_is_told(path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, path, metadata={"modicum.quantize/2": "[" * 100_000})
    with pytest.raises(DataError, match="nested too deep"):
        load(path)
