from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.unit.quantize.coded import coded
from torch import nn

from modicum.errors import ConfigError, DataError, ModelError
from modicum.quantize.codes import FloatActivationGrid, FloatWeightCode
from modicum.quantize.configuration import RAPQConfig
from modicum.quantize.engine.c_source import source_of, write_c
from modicum.quantize.engine.engine import Engine
from modicum.quantize.engine.program import Program, lower
from modicum.quantize.model import QuantizedModel


@pytest.fixture
def model() -> QuantizedModel:
    return coded(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)), (3, 8, 8))[0]


@pytest.fixture
def program(model: QuantizedModel) -> Program:
    return lower(model)


def changed(model: QuantizedModel, **parts: Any) -> QuantizedModel:
    parts = {"graph": model.graph, "codes": model.codes, "grids": model.grids} | parts
    return QuantizedModel(**parts, config=model.config, shape=model.shape)


def without_grid(model: QuantizedModel, name: str) -> QuantizedModel:
    return changed(model, grids={at: grid for at, grid in model.grids.items() if at != name})


def test_real_scales_are_refused_by_name(model: QuantizedModel) -> None:
    code = model.codes["2"]
    real = FloatWeightCode(codes=code.codes, zero=code.zero.float(), scale=torch.ones(2), bits=4)
    with pytest.raises(ConfigError, match="weights of 2 "):
        lower(changed(model, codes={**model.codes, "2": real}))
    grid = FloatActivationGrid(bits=4, signed=False, scale=0.3)
    with pytest.raises(ConfigError, match="grid of relu has a real scale"):
        lower(changed(model, grids={**model.grids, "relu": grid}))


def test_missing_grids_are_refused_by_name(model: QuantizedModel) -> None:
    with pytest.raises(ConfigError, match="input input has no grid"):
        lower(without_grid(model, "input"))
    with pytest.raises(ConfigError, match="2 reads relu, which has no grid"):
        lower(without_grid(model, "relu"))


@pytest.mark.parametrize(
    ("module", "shape", "message"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU()), (3, 8, 8), "silu.* needs a grid before and behind it"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)), (3, 8, 8), "BatchNorm"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1)), (3, 8, 8), "36 pixels"),
        (nn.Sequential(nn.Linear(8, 4)), (5, 8), r"shape \(5, 8\)"),
        (nn.Sequential(nn.Linear(8, 4)), (3, 8, 8), r"features \(batch, n\) with n = 8"),
    ],
)
def test_operators_without_an_integer_form_are_refused_by_name(
    module: nn.Module, shape: tuple[int, ...], message: str
) -> None:
    quantized, _ = coded(module.eval(), shape)
    with pytest.raises(ModelError, match=message):
        lower(quantized)


def test_a_ceiling_needs_a_grid_that_knows_it() -> None:
    quantized, _ = coded(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU6(), nn.Conv2d(4, 2, 3)), (3, 8, 8))
    name = next(it for it, grid in quantized.grids.items() if grid.ceiling == 6)
    forgetful = replace(quantized.grids[name], ceiling=None)
    with pytest.raises(ConfigError, match=f"{name} has the ceiling 6"):
        lower(changed(quantized, grids={**quantized.grids, name: forgetful}))


def test_numbers_that_may_leave_int32_are_refused_by_every_engine() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    quantized, _ = coded(module, (3, 8, 8), config=RAPQConfig(weight_bits=8, activation_bits=8))
    layer = quantized.graph.layers["2"]
    large = replace(layer, bias=layer.bias + 2.0**24)  # units of the accumulator are far smaller
    program = lower(changed(quantized, graph=quantized.graph.with_operations({"2": large})))
    assert program.steps[-1].bound > 2**31
    for backend in ("numpy", "c"):
        with pytest.raises(ConfigError, match="values of 2 may need"):
            Engine(program, backend)
    with pytest.raises(ConfigError, match="but the engine has 32"):
        source_of(program)


def test_input_of_another_shape_kind_or_range_is_refused(program: Program) -> None:
    engine = Engine(program, "numpy")
    with pytest.raises(DataError, match=r"must have shape \(3, 8, 8\), got \(3, 8, 7\)"):
        engine.run(np.zeros((2, 3, 8, 7)))
    with pytest.raises(DataError, match="float32 or float64, but it is int64"):
        engine.run(np.zeros((2, 3, 8, 8), np.int64))
    with pytest.raises(DataError, match="NaN"):
        engine.run(np.full((2, 3, 8, 8), np.nan))
    with pytest.raises(DataError, match=r"integers in -128 ... 127"):
        engine.run_integers(np.full((2, 3, 8, 8), 128))
    with pytest.raises(DataError, match=r"integers in -128 ... 127"):
        engine.run_integers(np.zeros((2, 3, 8, 8)))


def test_no_samples_give_no_logits(program: Program) -> None:
    for threads in (1, 2):
        assert Engine(program, "numpy", threads).run(np.zeros((0, 3, 8, 8))).shape == (0, 2, 4, 4)


def test_wrong_arguments_are_refused(program: Program, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="backend must be one of auto, c, numpy"):
        Engine(program, "fortran")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="threads must be >= 1"):
        Engine(program, "numpy", threads=0)
    with pytest.raises(ConfigError, match="'2fast' is no name of a C function"):
        write_c(program, tmp_path, "2fast")


def test_without_a_compiler_numpy_runs_and_c_is_refused(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    assert Engine(program).backend == "numpy"
    with pytest.raises(ConfigError, match="no C compiler"):
        Engine(program, "c")


def test_a_compiler_that_fails_is_named(program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODICUM_CACHE", str(tmp_path))
    broken = tmp_path / "broken-cc"
    broken.write_text("#!/bin/sh\necho 'error: out of registers' >&2\nexit 1\n", encoding="utf-8")
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    with pytest.raises(ConfigError, match=r"broken-cc failed: error: out of registers"):
        Engine(program, "c")
