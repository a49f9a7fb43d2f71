"""The vector paths of the engine against int64 numpy. MODICUM_AVX2 takes AVX2 where there is VNNI, too."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.unit.quantize.coded import coded
from torch import Tensor, nn

from modicum.quantize.codes import ActivationGrid
from modicum.quantize.configuration import RAPQConfig
from modicum.quantize.engine.build import CompiledProgram, find_compiler
from modicum.quantize.engine.c_vector import exact_run
from modicum.quantize.engine.engine import Engine
from modicum.quantize.engine.program import Program, Residual, Step, Value, lower
from modicum.quantize.graph.ops import Layer

PATHS: dict[str, list[str]] = {"the processor's": [], "AVX2": ["-DMODICUM_AVX2"]}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODICUM_CACHE", str(tmp_path / "cache"))


def assert_all_paths_give(wanted: np.ndarray, program: Program, numbers: np.ndarray) -> None:
    compiler = find_compiler()
    if compiler is None:
        pytest.skip("there is no C compiler")
    for name, flags in PATHS.items():
        assert np.array_equal(CompiledProgram(program, compiler, flags).run(numbers), wanted), name


class Mixed(nn.Module):
    """A network drawn at random: odd channels, strides, paddings, dilations, groups, additions and pooling."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        draw = np.random.default_rng(seed).integers
        a, b, c = (int(it) for it in draw(1, 38, 3))
        kernel = (int(draw(1, 4)), int(draw(1, 6)))
        self.stem = nn.Conv2d(3, a, kernel, stride=(1, int(draw(1, 4))), padding=(int(draw(3)), int(draw(3))))
        self.apart = nn.Conv2d(a, a, 3, padding=2, dilation=2, groups=a)
        self.wide = nn.Conv2d(a, 2 * b, (3, 2), padding=(2, 1), dilation=(1, int(draw(1, 3))))
        self.grouped = nn.Conv2d(2 * b, 2 * c, 1, groups=2)
        self.pool = nn.MaxPool2d(2, stride=(1, 2), padding=1)
        self.last = nn.Conv2d(2 * c, 7, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        x = torch.relu(self.wide(x + self.apart(x)))
        return self.last(self.pool(torch.relu(self.grouped(x))))


@pytest.mark.parametrize(
    ("seed", "weight_bits", "activation_bits"), [(0, 2, 4), (1, 4, 8), (2, 8, 8), (3, 8, 4), (4, 5, 8), (5, 2, 8)]
)
def test_random_networks_give_the_same_on_every_path(  # RAPQ-C10
    seed: int, weight_bits: int, activation_bits: int
) -> None:
    config = RAPQConfig(
        weight_bits=weight_bits, activation_bits=activation_bits, rounding="half_up" if seed % 2 else "half_even"
    )
    model, x = coded(Mixed(seed).eval(), (3, 11, 17), config=config, signed=seed % 3 > 0, seed=seed)
    program = lower(model)
    engine = Engine(program, "numpy")
    numbers = engine.to_grid(x)
    wanted, _ = engine.run_integers(numbers)
    assert len(np.unique(wanted)) > 10
    assert_all_paths_give(wanted, program, numbers)


# At most 32,767 // 510 |w| pairs of the largest input and this weight, in halves of a row of 3 x 16 quads.
@pytest.mark.parametrize(
    ("weight", "row", "pixel"),
    [(1, 48, 16), (2, 24, 16), (-15, 3, 4), (15, 3, 4), (32, 2, 2), (64, 1, 1), (-64, 1, 1), (65, 0, 0), (-128, 0, 0)],
)
def test_so_many_products_are_summed_in_16_bits_as_fit(weight: int, row: int, pixel: int) -> None:
    layer = Layer(weight=np.full((3, 64, 3, 3), weight, np.int8), bias=np.zeros(3, np.int64))
    assert exact_run(layer, 255, joined=True) == (row, 144)
    assert exact_run(layer, 255, joined=False) == (pixel, 144)


def test_signs_that_cancel_do_not_count_as_small() -> None:
    weight = np.tile(np.array([127, -128], np.int8), 32)[None, :, None, None]
    assert exact_run(Layer(weight=weight, bias=np.zeros(1, np.int64)), 255, joined=True) == (1, 16)
    assert exact_run(Layer(weight=weight, bias=np.zeros(1, np.int64)), 15, joined=True) == (16, 16)


def test_sums_at_the_ends_of_16_bits_are_exact() -> None:  # RAPQ-C10
    rng = np.random.default_rng(0)
    weights = np.array([1, 2, 15, -15, 32, 64, 65, 127, -64, -128, -127], np.int8)
    numbers = np.full((2, 9, 6, 7), 255, np.uint8)
    numbers[1] = rng.choice(np.array([0, 255], np.uint8), numbers[1].shape)
    layers: list[Layer] = []
    for weight, dilation in itertools.product((1, 15, 64, -128), (1, 2)):  # a layer sums as its largest weight allows
        some = rng.choice(weights[np.abs(weights.astype(int)) <= abs(weight)], (11, 9, 3, 3))
        some[:2] = weight
        bias = rng.integers(-1000, 1000, 11)
        layers.append(Layer(weight=some, bias=bias, padding=(1, dilation + 1), dilation=(1, dilation)))
    program = added(layers, given=(9, 6, 7), made=(11, 6, 9))
    assert_all_paths_give(Engine(program, "numpy").run_integers(numbers)[0], program, numbers)


def added(layers: list[Layer], *, given: tuple[int, ...], made: tuple[int, ...]) -> Program:
    """Give a program whose layers read one image of unsigned numbers of 8 bits, and add their sums up."""
    nothing, limit = np.zeros(made[0], np.int64), 2**24
    x = Value(name="x", shape=given, exponents=np.zeros(given[0], np.int64), low=0, high=255)
    steps: list[Step] = []
    for place, layer in enumerate(layers):
        y = Value(name=f"y{place}", shape=made, exponents=nothing, low=-limit, high=limit)
        before = Residual(name=f"y{place - 1}", own=nothing, other=nothing) if place else None
        step = Step(head=layer, source="x", residual=before, rectify=False, rescale=None, result=y, bound=limit)
        steps.append(step)
    grid = ActivationGrid(bits=8, signed=False, exponent=0)
    output = steps[-1].result.name
    return Program(input=x, grid=grid, steps=tuple(steps), output=output, align=nothing, exponent=0, bound=limit)
