from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from modicum.errors import ConfigError
from modicum.quantize.codes import ActivationGrid, WeightCode
from modicum.quantize.configuration import RAPQConfig
from modicum.quantize.graph.graph import Graph, folded, units
from modicum.quantize.graph.ops import Convolution
from modicum.quantize.graph.placement import bits_of_weights, simulated, sites
from modicum.quantize.graph.trace import trace
from modicum.quantize.paper.reconstruct import UnitReport, exponent_of_unit, last_gamma, learning_rate, reconstruct
from modicum.quantize.scales import search_scales

CONFIG = RAPQConfig(
    weight_bits=2, activation_bits=4, method="paper", initial="mse", iterations=200, activation_iterations=200
)


class Block(nn.Module):
    def __init__(self, incoming: int, outgoing: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(incoming, outgoing, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outgoing)
        self.second = nn.Conv2d(outgoing, outgoing, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outgoing)
        self.shortcut = nn.Identity()
        if incoming != outgoing:
            self.shortcut = nn.Sequential(
                nn.Conv2d(incoming, outgoing, 1, stride, bias=False), nn.BatchNorm2d(outgoing)
            )

    def forward(self, x: Tensor) -> Tensor:
        main = self.second_norm(self.second(functional.relu(self.first_norm(self.first(x)))))
        return functional.relu(main + self.shortcut(x))


class SmallResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.blocks = nn.Sequential(Block(16, 16, 1), Block(16, 32, 2))
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(functional.relu(self.norm(self.stem(x))))
        return self.head(x.mean(dim=(2, 3)))


@dataclass(frozen=True)
class Digits:
    graph: Graph
    images: Tensor  # calibration
    test_images: Tensor
    test_labels: Tensor

    def accuracy(self, graph: Graph, grids: dict[str, ActivationGrid] | None = None) -> float:
        found = grids or {}

        def through(name: str, value: Tensor) -> Tensor:
            return found[name].apply(value) if name in found else value

        with torch.no_grad():
            logits = graph.run({}, x=self.test_images, through=through)[graph.output]
        return float((logits.argmax(dim=1) == self.test_labels).float().mean())


@pytest.fixture(scope="module")
def digits() -> Digits:
    generator = torch.Generator().manual_seed(0)
    pixels, digit = load_digits(return_X_y=True)
    images, labels = torch.tensor(pixels).float().view(-1, 1, 8, 8) / 16, torch.tensor(digit)
    order = torch.randperm(len(images), generator=generator)
    images, labels = images[order], labels[order]
    model = SmallResNet()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter, generator=generator)
    nn.init.zeros_(model.head.bias)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(5):
        for batch in torch.randperm(1280, generator=generator).split(64):
            optimizer.zero_grad()
            functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
    graph = folded(trace(model.eval(), images[:2]))
    return Digits(graph=graph, images=images[:256], test_images=images[1280:], test_labels=labels[1280:])


@dataclass(frozen=True)
class Outcome:
    codes: dict[str, WeightCode]
    grids: dict[str, ActivationGrid]
    reports: list[UnitReport]


@pytest.fixture(scope="module")
def weights_only(digits: Digits) -> Outcome:
    reports: list[UnitReport] = []
    codes, grids = reconstruct(digits.graph, {}, {}, digits.images, CONFIG, progress=reports.append)
    return Outcome(codes, grids, reports)


def nearest_grids(digits: Digits) -> dict[str, ActivationGrid]:
    places = sites(digits.graph, CONFIG)
    with torch.no_grad():
        values = digits.graph.run({}, x=digits.images, wanted=tuple(places))
    grids = {}
    for name, site in places.items():
        value, signed = values[name], bool((values[name] < 0).any())
        choices = [
            ActivationGrid(bits=site.bits, signed=signed, exponent=e, ceiling=site.ceiling) for e in range(-12, 4)
        ]
        grids[name] = min(choices, key=lambda it, value=value: float((it.apply(value) - value).square().mean()))
    return grids


def naive_snap(graph: Graph) -> dict[str, WeightCode]:
    codes = {}
    for name, bits in bits_of_weights(graph, CONFIG).items():
        weight = graph.layers[name].weight
        scale, zero = search_scales(weight, bits)
        exponent = torch.log2(scale).round()
        step = torch.exp2(exponent)
        whole = torch.full_like(zero, 128) if bits == 8 else (zero * scale / step).round().clamp(0, 2**bits - 1)
        shape = (-1, *[1] * (weight.ndim - 1))
        levels = ((weight / step.view(shape)).round() + whole.view(shape)).clamp(0, 2**bits - 1)
        codes[name] = WeightCode(
            codes=levels.to(torch.uint8), zero=whole.to(torch.uint8), exponent=exponent.to(torch.int8), bits=bits
        )
    return codes


def test_the_network_is_worth_quantizing(digits: Digits) -> None:
    assert digits.accuracy(digits.graph) > 0.95
    assert [it.layers for it in units(digits.graph)] == [
        ("stem",),
        ("blocks.0.first", "blocks.0.second"),
        ("blocks.1.first", "blocks.1.second", "blocks.1.shortcut.0"),
        ("head",),
    ]


def test_each_unit_comes_closer_to_the_float_network(weights_only: Outcome) -> None:
    reports = weights_only.reports
    assert [it.stage for it in reports] == ["weights"] * 4
    assert all(it.after <= it.before for it in reports)
    first, second = reports[1:3]  # the blocks, at two bits
    assert first.after < 0.5 * first.before
    assert second.after < 0.5 * second.before
    assert weights_only.grids == {}


def test_all_that_is_learned_is_whole(weights_only: Outcome, digits: Digits) -> None:  # RAPQ-C3
    assert list(weights_only.codes) == list(digits.graph.layers)
    for name, bits in bits_of_weights(digits.graph, CONFIG).items():
        code = weights_only.codes[name]
        assert (code.bits, code.exponent.dtype, code.zero.dtype) == (bits, torch.int8, torch.uint8)
        assert int(code.zero.max()) < 2**bits
        for channel, step in zip(code.dequantized(), code.scale, strict=True):
            assert len(channel.unique()) <= 2**bits
            assert torch.equal(torch.round(channel / step), channel / step)


def test_two_bits_beat_the_naive_snap(weights_only: Outcome, digits: Digits) -> None:
    snapped = digits.accuracy(simulated(digits.graph, naive_snap(digits.graph), {}))
    learned = digits.accuracy(simulated(digits.graph, weights_only.codes, {}))
    assert learned > 0.9
    assert learned > snapped + 0.2


@pytest.mark.parametrize("octaves", [1, -1])
def test_activation_exponents_move_back(  # RAPQ-C11
    octaves: int, weights_only: Outcome, digits: Digits
) -> None:
    best = nearest_grids(digits)
    off = {name: grid.moved(grid.exponent + octaves) for name, grid in best.items()}
    config = replace(CONFIG, initial="hessian", iterations=0)
    reports: list[UnitReport] = []
    codes, grids = reconstruct(digits.graph, weights_only.codes, off, digits.images, config, progress=reports.append)
    assert all(torch.equal(code.codes, weights_only.codes[name].codes) for name, code in codes.items())
    moved = [name for name in grids if grids[name].exponent != off[name].exponent]
    back = [name for name in moved if abs(grids[name].exponent - best[name].exponent) < 1]
    assert len(moved) >= 4
    assert len(back) >= 4
    learned = [it for it in reports if it.stage == "activations"]
    assert len(learned) == 4
    assert learned[1].after < learned[1].before
    assert digits.accuracy(simulated(digits.graph, codes, grids), grids) > 0.85


def test_one_seed_gives_one_result(digits: Digits, weights_only: Outcome) -> None:
    config = replace(CONFIG, iterations=8, activation_iterations=8)
    grids = nearest_grids(digits)
    one, one_grids = reconstruct(digits.graph, {}, grids, digits.images, config)
    two, two_grids = reconstruct(digits.graph, {}, grids, digits.images, config)
    other, _ = reconstruct(digits.graph, {}, grids, digits.images, replace(config, seed=1))
    assert one_grids == two_grids
    for name in one:
        assert torch.equal(one[name].codes, two[name].codes)
        assert torch.equal(one[name].exponent, two[name].exponent)
    assert any(not torch.equal(one[name].codes, other[name].codes) for name in one)


def test_given_codes_are_improved_upon_or_kept(digits: Digits) -> None:
    start = naive_snap(digits.graph)
    reports: list[UnitReport] = []
    config = replace(CONFIG, initial="hessian", iterations=100)
    codes, _ = reconstruct(digits.graph, start, {}, digits.images, config, progress=reports.append)
    for name, code in codes.items():
        assert torch.equal(code.exponent, start[name].exponent)
        assert torch.equal(code.zero, start[name].zero)
        assert int((code.codes.int() - start[name].codes.int()).abs().max()) <= 1
    assert reports[2].after < 0.5 * reports[2].before
    kept, _ = reconstruct(digits.graph, start, {}, digits.images, replace(config, iterations=0))
    assert all(torch.equal(kept[name].codes, start[name].codes) for name in start)


def test_the_loss_exponent_is_that_of_the_main_path(digits: Digits) -> None:  # RAPQ-C4
    operations = {
        name: replace(layer, gamma=torch.full((len(layer.weight),), value))
        for (name, layer), value in zip(digits.graph.layers.items(), [1.0, 0.0, 1.0, 0.0, 4.0, -9.0, 0.0], strict=True)
        if isinstance(layer, Convolution)
    }
    graph = digits.graph.with_operations(operations)
    stem, plain, widening, head = units(graph)
    gamma = last_gamma(graph, widening)
    assert gamma is not None
    assert (gamma == 4.0).all()  # of the second convolution, though the shortcut runs after it
    config = replace(CONFIG, p_slope=0.9)
    # sigmoid(15 / 16) is 0.719 and sigmoid(127 / 32) is 0.981.
    assert exponent_of_unit(graph, stem, config) == exponent_of_unit(graph, plain, config) == 1.6
    assert exponent_of_unit(graph, widening, config) == 1.9
    assert last_gamma(graph, head) is None
    assert exponent_of_unit(graph, head, config) == exponent_of_unit(graph, stem, replace(config, p_slope=None)) == 2.0


def test_reports_say_where_there_is_no_batch_norm(weights_only: Outcome) -> None:
    assert [it.batch_norm for it in weights_only.reports] == [True, True, True, False]
    assert weights_only.reports[-1].p == 2.0
    assert all(1.4 <= it.p <= 1.9 for it in weights_only.reports[:-1])


def test_the_learning_rate_makes_up_for_few_iterations() -> None:
    assert [learning_rate(it) for it in (80_000, 20_000, 2000, 200, 20, 0)] == [1e-3, 1e-3, 1e-2, 0.1, 0.1, 0.1]


def test_what_cannot_work_is_refused(digits: Digits) -> None:
    grid = ActivationGrid(bits=4, signed=False, exponent=-2)
    with pytest.raises(ConfigError, match="image"):
        reconstruct(digits.graph, {}, {}, digits.images[:0], CONFIG)
    with pytest.raises(ConfigError, match="real scales"):
        reconstruct(digits.graph, {}, {}, digits.images, replace(CONFIG, scales="float"))
    with pytest.raises(ConfigError, match="stem has no codes"):
        reconstruct(digits.graph, {}, {}, digits.images, replace(CONFIG, initial="hessian"))
    with pytest.raises(ConfigError, match="nowhere, which is no node"):
        reconstruct(digits.graph, {}, {"nowhere": grid}, digits.images, CONFIG)
