"""The engine on the published ResNet-20 and real images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modicum.core.method import Job
from modicum.quantize.comparison import METHOD, setup
from modicum.quantize.configuration import RAPQConfig
from modicum.quantize.doors import RESNET20
from modicum.quantize.engine.engine import Engine
from modicum.quantize.engine.program import lower
from modicum.quantize.quantizer import quantize


@pytest.mark.slow
@pytest.mark.data("cifar10-jpeg")
@pytest.mark.data("models/pytorch_resnet_cifar10")
def test_a_trained_resnet_gives_the_same_logits_on_real_images() -> None:  # RAPQ-C10
    settings = METHOD.comparison.settings_for("full", {"calibration": 32, "network": RESNET20})
    problem = setup(Job(seed=0, budget="full", settings=settings))
    model = quantize(problem.network, problem.calibration, RAPQConfig(weight_bits=2, polish=False))
    images = problem.test[::50]
    assert model.verify().exact_in_float32
    with torch.inference_mode():
        expected = model(images).double().numpy()
    program = lower(model)
    assert np.array_equal(Engine(program).run(images), expected)
    assert np.array_equal(Engine(program, backend="numpy").run(images[:20]), expected[:20])
