from __future__ import annotations

import copy
import hashlib
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.unit.quantize.coded import coded, simulated_logits
from tests.unit.quantize.engine_networks import available

from modicum.core.resnet import resnet20
from modicum.quantize.configuration import RAPQConfig
from modicum.quantize.engine.engine import Engine
from modicum.quantize.engine.program import lower
from modicum.quantize.model import QuantizedModel


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODICUM_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def resnet() -> tuple[QuantizedModel, torch.Tensor]:
    return coded(resnet20().eval(), (3, 32, 32), config=RAPQConfig(weight_bits=2))


def test_a_resnet_does_not_depend_on_batch_size_threads_or_backend(resnet) -> None:  # RAPQ-C10
    model, x = resnet
    program, hashes = lower(model), set()
    for backend, threads in itertools.product(available(), (1, 2)):
        runs = Engine(program, backend, threads)
        assert np.array_equal(runs.run(x), simulated_logits(model, x))
        for size in (1, 3, 8):
            parts = [runs.run_integers(runs.to_grid(it))[0] for it in x.split(size)]
            hashes.add(hashlib.sha256(np.concatenate(parts).astype(np.int64).tobytes()).hexdigest())
    assert len(hashes) == 1


def test_the_simulation_in_float32_gives_the_same_where_sums_fit_it(resnet) -> None:  # RAPQ-C10
    model, x = resnet
    program = lower(model)
    assert max(step.bound for step in program.steps) < 2**24
    single = copy.copy(model).float()
    assert np.array_equal(simulated_logits(single, x.float()), Engine(program, "numpy").run(x.float()))
