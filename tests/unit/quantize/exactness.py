"""What holds for every operator that integers stand for: one check of all that runs, bounds, stores and exports it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tests.unit.quantize.coded import coded, simulated_logits
from tests.unit.quantize.random_models import images, random_model
from torch import Tensor, nn

from modicum.quantize.configuration import RAPQConfig
from modicum.quantize.engine.build import CompiledProgram, find_compiler
from modicum.quantize.engine.engine import Engine
from modicum.quantize.engine.program import Program, lower
from modicum.quantize.graph.ops import Table
from modicum.quantize.inspect.certificate import bounds_of, certify
from modicum.quantize.io.onnx import compare_onnx, export_onnx
from modicum.quantize.model import QuantizedModel

PATHS: tuple[list[str], ...] = ([], ["-DMODICUM_AVX2"], ["-DMODICUM_SCALAR"])


def assert_exact(
    network: nn.Module, shape: tuple[int, ...], config: RAPQConfig, *, signed: bool = True, seed: int = 0
) -> Program:
    """See that simulation, int64 numpy and every path of C give the same, and nothing leaves its bounds."""
    model, x = coded(network.eval(), shape, config=config, signed=signed, seed=seed)
    assert certify(model).whole
    program, wanted = lower(model), simulated_logits(model, x)
    assert len(np.unique(wanted)) > 10  # no network that is clipped to a few numbers
    engine = Engine(program, "numpy")
    assert np.array_equal(engine.run(x), wanted)
    numbers, compiler = engine.to_grid(x), find_compiler()
    for flags in PATHS if compiler is not None else ():
        found = CompiledProgram(program, compiler or "", flags).run(numbers)
        assert np.array_equal(np.ldexp(found.astype(np.float64), program.exponent), wanted), flags
    assert_bounded(model, program, 20 * x)
    return program


def assert_bounded(model: QuantizedModel, program: Program, x: Tensor) -> None:
    """See that every number before a grid is whole and within the certificate's bounds, and the engine's behind it."""
    seen: dict[str, Tensor] = {}
    kept: dict[str, Tensor] = {}

    def watch(node: str, value: Tensor) -> Tensor:
        seen[node], kept[node] = value, model._to_grid(node, value)
        return kept[node]

    model.graph.run({}, x=x, through=watch)
    bounds = bounds_of(model.graph, model.codes, model.grids)
    assert set(bounds.computed) == {node.name for node in model.graph} - {model.graph.nodes[0].name}
    for node, span in bounds.computed.items():
        scale = torch.from_numpy(np.ldexp(1.0, span.exponents))
        looked_up = isinstance(model.graph[node].operation, Table)  # straight to the grid
        numbers = (kept if looked_up else seen)[node].transpose(0, 1).flatten(1) / scale[:, None]
        low, high, reach = (torch.tensor(it.astype(np.float64))[:, None] for it in (span.low, span.high, span.reach))
        assert torch.equal(numbers, numbers.round()), node
        assert bool((low <= numbers).all()), node
        assert bool((numbers <= high).all()), node
        assert bool((numbers.abs() <= reach).all()), node
    for step in program.steps:
        scale = torch.from_numpy(np.ldexp(1.0, step.result.exponents))
        numbers = kept[step.result.name].transpose(0, 1).flatten(1) / scale[:, None]
        assert step.result.low <= numbers.min()
        assert numbers.max() <= step.result.high
        assert numbers.abs().max() <= step.bound


def assert_portable(network: nn.Module, shape: tuple[int, ...], config: RAPQConfig, folder: Path) -> None:
    """See that float32, onnxruntime and a file that is read again give the same to the last bit."""
    model = random_model(network, shape=shape, config=config).eval()
    x = images(shape, count=16, seed=3)
    assert certify(model).exact_in_float32
    export_onnx(model, folder / "network.onnx")
    found = compare_onnx(model, folder / "network.onnx", x)
    assert (found.plain.equal, found.optimised.equal) == (1, 1)
    model.save(folder / "network.safetensors")
    loaded = QuantizedModel.load(folder / "network.safetensors")
    assert torch.equal(loaded(x), model(x))
    assert certify(loaded) == certify(model)
    assert torch.equal(model(x).double(), model.double()(x.double()))
