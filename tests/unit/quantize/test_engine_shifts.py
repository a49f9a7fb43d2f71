from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.unit.quantize.engine_networks import available

from modicum.quantize.codes import ActivationGrid
from modicum.quantize.engine.engine import Engine
from modicum.quantize.engine.program import Program, Rescale, Step, Value
from modicum.quantize.functional import Rounding, shift_right
from modicum.quantize.graph.ops import Head, Input, Layer

TABLE: dict[Rounding, list[int]] = {"half_up": [-1, -1, 0, 0, 1, 1, 2], "half_even": [-2, -1, 0, 0, 0, 1, 2]}
SHIFTS = np.arange(-3, 9)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODICUM_CACHE", str(tmp_path / "cache"))


def shifting(shift: np.ndarray, rounding: Rounding, head: Head, low: int, high: int) -> Program:
    """Give a program of a single step, on signed numbers of 8 bits."""
    grid = ActivationGrid(bits=8, signed=True, exponent=0)
    nothing = np.zeros(len(shift), np.int64)
    given = Value(name="x", shape=(len(shift),), exponents=nothing, low=-128, high=127)
    result = Value(name="y", shape=(len(shift),), exponents=nothing, low=low, high=high)
    step = Step(
        head=head,
        source="x",
        residual=None,
        rectify=False,
        rescale=Rescale(shift=shift, rounding=rounding, low=low, high=high),
        result=result,
        bound=2**16,
    )
    return Program(input=given, grid=grid, steps=(step,), output="y", align=nothing, exponent=0, bound=high)


def identity(channels: int) -> Layer:
    return Layer(weight=np.eye(channels, dtype=np.int8)[:, :, None, None], bias=np.zeros(channels, np.int64))


@pytest.mark.parametrize("rounding", TABLE)
def test_the_reference_rounds_as_the_table(rounding: Rounding) -> None:  # RAPQ-C13
    got = shift_right(torch.arange(-3, 4), 1, rounding)
    assert got.tolist() == TABLE[rounding]


@pytest.mark.parametrize("rounding", TABLE)
def test_every_engine_rounds_as_the_table(rounding: Rounding) -> None:  # RAPQ-C13
    numbers = np.arange(-3, 4)[:, None]
    for head in (Input(), identity(1)):
        program = shifting(np.array([1]), rounding, head, -128, 127)
        for backend in available():
            assert Engine(program, backend).run_integers(numbers)[0][:, 0].tolist() == TABLE[rounding]


@pytest.mark.parametrize("rounding", TABLE)
@pytest.mark.parametrize(("low", "high"), [(-128, 127), (0, 255), (0, 5), (-1024, 1023)])
def test_every_engine_shifts_and_clips_all_numbers_of_8_bits(low: int, high: int, rounding: Rounding) -> None:
    numbers = np.repeat(np.arange(-128, 128)[:, None], len(SHIFTS), axis=1)
    wanted = shift_right(torch.from_numpy(numbers), torch.from_numpy(SHIFTS), rounding).numpy().clip(low, high)
    for head in (Input(), identity(len(SHIFTS))):
        program = shifting(SHIFTS, rounding, head, low, high)
        for backend in available():
            assert np.array_equal(Engine(program, backend).run_integers(numbers)[0], wanted)


@pytest.mark.parametrize("rounding", TABLE)
def test_the_reference_is_division_with_rounding(rounding: Rounding) -> None:
    numbers = np.random.default_rng(0).integers(-(2**40), 2**40, 1000)
    for shift in (1, 2, 7, 20):
        exact = numbers / 2.0**shift  # float64 holds it exactly
        wanted = np.rint(exact) if rounding == "half_even" else np.floor(exact + 0.5)
        assert np.array_equal(shift_right(torch.from_numpy(numbers), shift, rounding).numpy(), wanted)
