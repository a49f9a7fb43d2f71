from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.unit.quantize.coded import coded, simulated_logits
from tests.unit.quantize.engine_networks import NETWORKS, available

from modicum.quantize.configuration import RAPQConfig
from modicum.quantize.engine.build import CompiledProgram, find_compiler
from modicum.quantize.engine.engine import Engine
from modicum.quantize.engine.program import lower
from modicum.quantize.functional import Rounding
from modicum.quantize.graph.ops import AvgPool, Flatten, Input, Layer, MaxPool, Pad, Slice


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODICUM_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("weight_bits", "activation_bits", "rounding", "signed"),
    [(2, 4, "half_even", True), (4, 4, "half_up", False), (8, 8, "half_up", True)],
)
@pytest.mark.parametrize("name", NETWORKS)
def test_integers_give_what_the_simulation_gives(  # RAPQ-C10
    name: str, weight_bits: int, activation_bits: int, rounding: Rounding, signed: bool
) -> None:
    make, shape = NETWORKS[name]
    config = RAPQConfig(weight_bits=weight_bits, activation_bits=activation_bits, rounding=rounding)
    model, x = coded(make().eval(), shape, config=config, signed=signed)
    program, wanted = lower(model), simulated_logits(model, x)
    assert len(np.unique(wanted)) > 10  # no network that is clipped to a few numbers
    for backend in available():
        assert np.array_equal(Engine(program, backend).run(x), wanted)


@pytest.mark.parametrize("name", NETWORKS)
def test_code_without_intrinsics_gives_the_same(name: str) -> None:  # RAPQ-C10
    compiler = find_compiler()
    if compiler is None:
        pytest.skip("there is no C compiler")
    make, shape = NETWORKS[name]
    model, x = coded(make().eval(), shape, seed=1)
    program = lower(model)
    fast, plain = CompiledProgram(program, compiler), CompiledProgram(program, compiler, ["-DMODICUM_SCALAR"])
    numbers = Engine(program, "numpy").to_grid(x)
    assert np.array_equal(fast.run(numbers), plain.run(numbers))
    assert fast.path != plain.path


def test_the_networks_of_these_tests_have_every_kind_of_step() -> None:
    steps = [step for make, shape in NETWORKS.values() for step in lower(coded(make().eval(), shape)[0]).steps]
    kinds = {type(step.head) for step in steps}
    assert kinds == {Layer, AvgPool, MaxPool, Pad, Slice, Flatten, Input}
    assert any(step.residual is not None and step.residual.own.any() for step in steps)
    assert any(step.rescale is None and step.rectify for step in steps)


def test_no_number_of_the_reference_passes_the_bound_of_its_step() -> None:
    for make, shape in NETWORKS.values():
        model, x = coded(make().eval(), shape)
        values = model.graph.run({}, x=x, wanted=tuple(it.name for it in model.graph), through=model._to_grid)
        for step in lower(model).steps:
            scale = torch.from_numpy(np.ldexp(1.0, step.result.exponents))
            numbers = values[step.result.name] / scale.view(-1, *[1] * (values[step.result.name].ndim - 2))
            assert torch.equal(numbers, numbers.round())
            assert step.result.low <= numbers.min()
            assert numbers.max() <= step.result.high
            assert numbers.abs().max() <= step.bound
