"""The operators beside layers, ReLU and pools: whatever runs them gives the same numbers, to the last bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tests.unit.quantize import small_networks as nets
from tests.unit.quantize.coded import coded
from tests.unit.quantize.exactness import assert_exact, assert_portable
from torch import Tensor, nn
from torch.nn import functional

from modicum.errors import DataError, ModelError
from modicum.quantize import Engine, QuantizedModel, RAPQConfig, lower, quantize
from modicum.quantize.bounds import Own, Span, span_of
from modicum.quantize.codes import ActivationGrid
from modicum.quantize.functional import Rounding
from modicum.quantize.graph.graph import folded
from modicum.quantize.graph.ops import Activation, AvgPool, Concat, MeanPool, Opaque, Table
from modicum.quantize.graph.placement import sites
from modicum.quantize.graph.trace import trace
from modicum.quantize.quantizer import quantize_graph

SETTINGS: list[tuple[int, int, Rounding, bool]] = [
    (2, 4, "half_even", True),
    (4, 4, "half_up", False),
    (8, 8, "half_even", True),
]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODICUM_CACHE", str(tmp_path / "cache"))


class Dense(nn.Module):
    """Channels of rectified, signed and raw tensors side by side, twice; one is read by all that follows."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 5, 3, padding=1)
        self.one, self.norm = nn.Conv2d(5, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.two, self.raw = nn.Conv2d(11, 3, 1), nn.Conv2d(5, 2, 1)
        self.last = nn.Linear(21 * 16, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Map images of 8x8 to four numbers."""
        x = torch.relu(self.stem(x))
        one = torch.cat(tensors=[x, torch.relu(self.norm(self.one(x)))], dim=1)
        two = torch.cat([x, self.two(one), one[:, :, :, :], self.raw(x)], dim=-3)
        return self.last(functional.max_pool2d(torch.relu(two), 2).flatten(1))


class Ends(nn.Module):
    """Features side by side with raw sums, and an output of two tensors without a grid."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Linear(6, 9), nn.Linear(15, 7), nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map six numbers to twelve."""
        one = self.one(x)
        two = self.two(torch.cat((torch.relu(one), x), 1))
        return torch.cat([self.three(two), one], 1)


class Pyramid(nn.Module):
    """A small U-Net: what was pooled is enlarged again, and lies beside what it was made of."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1)
        self.third, self.last = nn.Conv2d(10, 5, 3, padding=1), nn.Conv2d(5, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map images of 8x12 to maps of 16x12."""
        high = torch.relu(self.first(x))
        low = torch.relu(self.second(functional.max_pool2d(high, (2, 3))))
        high = torch.relu(self.third(torch.cat([functional.interpolate(low, scale_factor=(2, 3)), high], 1)))
        return functional.interpolate(self.last(high), size=(16, 12), mode="nearest-exact")


class Pooled(nn.Module):
    """Means of windows: of signed numbers and with zeros around them, of which a layer takes up the rest, and all."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 4, 1)
        self.two, self.last = nn.Conv2d(4, 3, 3), nn.Conv2d(3, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map images of 8x9 to six numbers."""
        x = torch.relu(self.one(functional.avg_pool2d(self.stem(x), 3, stride=1, padding=1)))
        x = functional.avg_pool2d(x, (2, 4), stride=(2, 1), padding=(1, 2))
        x = self.two(functional.adaptive_avg_pool2d(x, 5))
        return self.last(x.mean((2, 3), keepdim=True))


class Smooth(nn.Module):
    """Functions of single numbers: behind layers, sums and pools, and of rectified numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(20, 5, 3, padding=1)
        self.last = nn.Linear(20, 6)

    def forward(self, x: Tensor) -> Tensor:
        """Map images of 8x8 to six numbers."""
        x = self.stem(x)
        high = torch.cat([functional.silu(x), functional.hardswish(x), x.sigmoid(), functional.hardsigmoid(x)], 1)
        x = functional.hardswish(torch.relu(functional.max_pool2d(torch.relu(x + self.one(high)), 4)))
        return self.last(x.flatten(1))


class Signal(nn.Module):
    """Convolutions of signals, with what goes with them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv1d(2, 8, 7, stride=2, padding=3, bias=False), nn.BatchNorm1d(8)
        self.one, self.two = nn.Conv1d(8, 8, 3, padding="same", dilation=2, groups=8), nn.Conv1d(16, 6, 1)
        self.last = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Map signals of 40 to four numbers."""
        x = functional.max_pool1d(torch.relu(self.norm(self.stem(x))), 3, 2, padding=1)
        x = torch.cat([functional.silu(x + self.one(x)), x], 1)
        x = functional.adaptive_avg_pool1d(functional.avg_pool1d(torch.relu(self.two(x)), 4, 2, padding=1), 1)
        return self.last(x.flatten(1))


class Sides(nn.Module):
    """A signal comes out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.last = nn.Conv1d(3, 17, 2), nn.Conv1d(17, 3, 4, stride=3)

    def forward(self, x: Tensor) -> Tensor:
        """Map signals of 30 to those of 9."""
        return self.last(torch.relu(self.stem(x)))


class Upward(nn.Module):
    """Transposed convolutions: with strides, groups, dilation, other kernels and sizes, and none of these."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.ConvTranspose2d(3, 6, 3, stride=2, padding=1, output_padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.two = nn.ConvTranspose2d(6, 4, (2, 3), stride=(3, 1), padding=(0, 1), groups=2)
        self.three = nn.ConvTranspose2d(4, 2, 3, padding=2, dilation=2)

    def forward(self, x: Tensor) -> Tensor:
        """Map images of 4x5 to maps of 25x12."""
        x = torch.relu(self.norm(self.one(x)))
        return self.three(torch.relu(self.two(x)))


class Gated(nn.Module):
    """Squeeze and excitation of either kind, gates on the left and on the right, and a product of two maps."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.deep = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.down, self.up = nn.Conv2d(8, 2, 1), nn.Conv2d(2, 8, 1)
        self.low, self.high, self.last = nn.Conv2d(8, 3, 1), nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map images of 7x7 to maps of 5x5."""
        x = functional.silu(self.stem(x))
        x = x * torch.sigmoid(self.up(functional.silu(self.down(functional.adaptive_avg_pool2d(x, 1)))))
        y = functional.hardswish(self.deep(x))
        y = functional.hardsigmoid(self.high(torch.relu(self.low(y.mean((2, 3), keepdim=True))))) * y
        return self.last(x * y + x)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "dense": (Dense, (3, 8, 8)),
    "ends": (Ends, (6,)),
    "pyramid": (Pyramid, (2, 8, 12)),
    "pooled": (Pooled, (3, 8, 9)),
    "smooth": (Smooth, (3, 8, 8)),
    "gated": (Gated, (3, 7, 7)),
    "signal": (Signal, (2, 40)),
    "sides": (Sides, (3, 30)),
    "upward": (Upward, (3, 4, 5)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_graph_gives_the_outputs_of_the_network(name: str) -> None:
    make, shape = NETWORKS[name]
    network = nets.stirred(make())
    x = torch.randn(5, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    graph, wanted = folded(trace(network, x[:2])), nets.logits(network, x)
    assert not any(isinstance(node.operation, Opaque) for node in graph)
    torch.testing.assert_close(graph.run({}, x=x)[graph.output], wanted, rtol=1e-12, atol=1e-12)


# Each network has one setting, the first of them all: compiling takes most of the time.
CASES = [(name, *SETTINGS[place % len(SETTINGS)]) for place, name in enumerate(NETWORKS)]


@pytest.mark.parametrize(
    ("name", "weight_bits", "activation_bits", "rounding", "signed"),
    [*CASES, *((next(iter(NETWORKS)), *setting) for setting in SETTINGS[1:])],
)
def test_engine_reference_and_simulation_give_the_same(  # RAPQ-C10
    name: str, weight_bits: int, activation_bits: int, rounding: Rounding, signed: bool
) -> None:
    make, shape = NETWORKS[name]
    config = RAPQConfig(weight_bits=weight_bits, activation_bits=activation_bits, rounding=rounding)
    assert_exact(make(), shape, config, signed=signed, seed=activation_bits)


@pytest.mark.parametrize(("name", "activation_bits"), [(name, 3 + 5 * (at % 2)) for at, name in enumerate(NETWORKS)])
def test_onnxruntime_and_files_give_the_same(name: str, activation_bits: int, tmp_path: Path) -> None:  # RAPQ-C10
    make, shape = NETWORKS[name]
    assert_portable(make(), shape, RAPQConfig(weight_bits=4, activation_bits=activation_bits), tmp_path)


class Odd(nn.Module):
    """A convolution, and then whatever is called."""

    def __init__(self, call: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.call = nn.Conv2d(3, 4, 3, padding=1), call

    def forward(self, x: Tensor) -> Tensor:
        """Map images to whatever comes out."""
        return self.call(self.conv(x))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: torch.cat([x, x], 2), "cat along dimension 2"),
        (lambda x: x * 0.3, "mul by a constant"),
        (lambda x: x * x.mean(1, keepdim=True), "mul of other shapes|mean"),
        (lambda x: functional.avg_pool2d(x, 3, padding=1, count_include_pad=False), "avg_pool2d without count_include"),
        (lambda x: functional.avg_pool2d(x, 3, ceil_mode=True), "avg_pool2d with ceil_mode"),
        (lambda x: functional.adaptive_avg_pool2d(x, 3), "adaptive_avg_pool2d of several window sizes"),
        (nn.ConvTranspose2d(4, 4, 1, padding=1), "conv_transpose2d with a padding beyond its kernel"),
        (lambda x: functional.interpolate(x, size=(12, 16)), "upsample_nearest2d by a fraction"),
        (lambda x: functional.interpolate(x, scale_factor=2.1), "upsample_nearest2d by a fraction"),
        (lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear"), "upsample_bilinear2d"),
    ],
)
def test_forms_that_are_not_covered_are_named(call: Callable[[Tensor], Tensor], words: str) -> None:
    model, _ = coded(Odd(call).eval(), (3, 8, 8))
    with pytest.raises(ModelError, match=f"no integer form of {words}"):
        lower(model)
    with pytest.raises(ModelError, match=words):
        quantize(Odd(call), torch.randn(4, 3, 8, 8), integers_only=True)


def test_windows_of_which_no_shift_is_the_mean_are_refused_unless_layers_take_up_the_rest() -> None:
    with pytest.raises(ModelError, match="avg_pool2d is a mean over 6 pixels, which no shift can divide by"):
        lower(coded(Odd(lambda x: functional.avg_pool2d(x, (2, 3))).eval(), (3, 8, 8))[0])
    model = nn.Sequential(nn.AvgPool2d(3, 2), nn.Conv2d(3, 2, 3, padding=1))
    graph = folded(trace(nets.stirred(model), nets.images(8)[:2]))
    assert [node.operation.pixels for node in graph if isinstance(node.operation, AvgPool)] == [16]
    x = nets.images(8)
    torch.testing.assert_close(graph.run({}, x=x)[graph.output], nets.logits(model, x), rtol=1e-12, atol=1e-14)


def test_a_function_at_the_output_is_told_to_be_in_float() -> None:
    network = Odd(torch.sigmoid)
    with pytest.raises(ModelError, match="sigmoid"):
        quantize(network, torch.randn(4, 3, 8, 8), integers_only=True)
    model, _ = coded(network.eval(), (3, 8, 8))
    assert model.verify().float_operations == ("sigmoid: sigmoid without a grid behind it",)
    with pytest.raises(ModelError, match=r"sigmoid.* needs a grid before and behind it"):
        lower(model)


def test_a_table_that_float32_would_round_another_way_is_not_proved_equal() -> None:
    given, grid = (
        span_of(ActivationGrid(bits=8, signed=True, exponent=-5)),
        ActivationGrid(bits=8, signed=True, exponent=-7),
    )
    table = Table(function="silu")
    found = table.bounds([given], Own(name="silu", grid=grid))
    assert isinstance(found, Span)
    values = [
        round(float(torch.nn.functional.silu(torch.tensor(k / 32, dtype=torch.float64))) * 128)
        for k in range(-128, 128)
    ]
    assert table.looked_up(given, grid).tolist() == [min(max(it, -128), 127) for it in values]
    assert (found.low[0], found.high[0], found.reach[0]) == (min(values), 127, 127)


def test_what_takes_a_batch_for_channels_stays_as_it_is() -> None:
    class Unbatched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = functional.max_pool2d(x, 2)
            return self.last(functional.avg_pool2d(x, (1, 2)).flatten(1))

    network, x = nets.stirred(Unbatched()), nets.images(8)[:, 0]
    graph = folded(trace(network, x[:2]))
    assert [it.operation.label for it in graph if isinstance(it.operation, Opaque)] == ["max_pool2d", "avg_pool2d"]
    torch.testing.assert_close(graph.run({}, x=x)[graph.output], nets.logits(network, x), rtol=1e-12, atol=1e-14)


def test_a_window_larger_than_the_image_is_the_mean_over_it() -> None:  # as in EfficientNet of transformers
    network = nets.stirred(nn.Sequential(nn.AvgPool2d(9, ceil_mode=True), nn.Flatten(), nn.Linear(3, 2)))
    x = nets.images(5)
    graph = folded(trace(network, x[:2]))
    assert [it.operation.pixels for it in graph if isinstance(it.operation, MeanPool)] == [32]
    torch.testing.assert_close(graph.run({}, x=x)[graph.output], nets.logits(network, x), rtol=1e-12, atol=1e-14)


def test_what_is_joined_of_rectified_tensors_is_unsigned_and_no_finer_than_they_are() -> None:
    class Joined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.one, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(8, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.relu(self.stem(x))
            return self.last(torch.cat([x, torch.relu(self.one(x))], 1))

    graph = folded(trace(Joined().eval(), torch.randn(2, 3, 4, 4)))
    found = sites(graph, RAPQConfig(activation_bits=4, first_last_bits=7))
    kinds = {
        type(node.operation): found[node.name] for node in graph if isinstance(node.operation, Activation | Concat)
    }
    assert {kind: (it.bits, it.unsigned) for kind, it in kinds.items()} == {Activation: (7, True), Concat: (7, True)}


def test_a_dense_network_is_quantized_end_to_end() -> None:
    x = nets.images(8, count=48).float()
    network = nets.stirred(Dense()).float()
    model = quantize(network, x, RAPQConfig(weight_bits=8, activation_bits=8), integers_only=True)
    with torch.no_grad():
        wanted = network(x)
    assert float((model(x) - wanted).square().mean() / wanted.square().mean()) < 1e-3
    assert model.verify().whole
    program = lower(model)
    assert torch.equal(torch.from_numpy(Engine(program).run(x)), model.double()(x.double()))


def test_a_file_in_which_an_operator_is_opaque_that_is_known_today_is_read(tmp_path: Path) -> None:
    network, x = nets.stirred(Gated()).float(), nets.images(7, count=8).float()
    graph = folded(trace(network, x[:2], opaque={"silu", "mul_1", "hardsigmoid"}))
    assert sum(isinstance(node.operation, Opaque) for node in graph) == 3
    with pytest.warns(UserWarning, match="silu .*, hardsigmoid .*, mul "):
        model = quantize_graph(graph, x, RAPQConfig(polish=False))
    means = {node.name: replace(node.operation, pixels=49) for node in graph if isinstance(node.operation, MeanPool)}
    model.graph = model.graph.with_operations(means)  # as before layers took up the rest of a mean
    model.save(tmp_path / "network.safetensors")
    loaded = QuantizedModel.load(tmp_path / "network.safetensors", network=Gated())
    assert torch.equal(loaded(x), model(x))


@pytest.mark.parametrize(
    ("widths", "words"), [([5, 6, 7], "lacks one"), ([11, 0], "lacks one"), ("8", "widths of cat")]
)
def test_a_file_with_other_widths_is_refused(widths: object, words: str, tmp_path: Path) -> None:
    path = tmp_path / "network.safetensors"
    coded(Dense().eval(), (3, 8, 8))[0].float().save(path)
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        document = json.loads(file.metadata()["modicum.quantize/2"])
    settings = next(node[3] for node in document["nodes"] if node[0] == "cat")
    assert settings == {"widths": [5, 6]}
    settings["widths"] = [7, 4]  # as many channels, but not these: the engine would read beyond an image
    save_file(tensors, path, metadata={"modicum.quantize/2": json.dumps(document)})
    with pytest.raises(ModelError, match="7, 4 channels and one size, but a sample has shape"):
        lower(QuantizedModel.load(path))
    settings["widths"] = widths
    save_file(tensors, path, metadata={"modicum.quantize/2": json.dumps(document)})
    with pytest.raises(DataError, match=words):
        QuantizedModel.load(path)
