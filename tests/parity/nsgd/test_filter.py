"""NSGD on one linear neuron is the normalised least-mean-squares filter."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from modicum.optim import NSGD


def _stream(length: int, taps: int, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(2212)
    inputs = scale * generator.standard_normal((length, taps))
    wanted = inputs @ generator.standard_normal(taps) + 0.1 * scale * generator.standard_normal(length)
    return inputs, wanted


def _filter(inputs: np.ndarray, wanted: np.ndarray, *, lr: float, eps: float, reduce: str = "batch") -> np.ndarray:
    neuron = nn.Linear(inputs.shape[1], 1, bias=False, dtype=torch.float64)
    nn.init.zeros_(neuron.weight)
    history = []
    with NSGD(neuron, lr=lr, eps=eps, reduce=reduce) as optimizer:  # type: ignore[arg-type]
        for row, target in zip(torch.from_numpy(inputs), wanted, strict=True):
            # padasip records the weights that it predicts with, before it adapts them.
            history.append(neuron.weight.detach().flatten().numpy().copy())
            optimizer.zero_grad()
            (0.5 * (target - neuron(row)).square().sum()).backward()
            optimizer.step()
    return np.array(history)


@pytest.mark.parametrize("reduce", ["batch", "sample"])
def test_weights_follow_padasip_to_rounding(reduce: str) -> None:  # NSGD-C1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # padasip 1.2.2 has escape sequences that Python has come to warn of
        from padasip.filters import FilterNLMS
    inputs, wanted = _stream(500, 8)
    _, _, weights = FilterNLMS(n=8, mu=0.5, eps=1e-3, w="zeros").run(wanted, inputs)
    ours = _filter(inputs, wanted, lr=0.5, eps=1e-3, reduce=reduce)
    # Weights are of order 1 and an NLMS step contracts errors: rounding, 2e-16 a step, does not pile up.
    np.testing.assert_allclose(ours, weights, rtol=0, atol=1e-14)


def test_scale_of_inputs_does_not_change_predictions_error() -> None:  # NSGD-C3
    inputs, wanted = _stream(200, 8)
    plain = _filter(inputs, wanted, lr=0.5, eps=0.0)
    for scale in (10.0, 100.0):
        scaled = _filter(scale * inputs, wanted, lr=0.5, eps=0.0)
        # w . x is what is wanted in both, so the weights are divided by the scale; 200 steps of rounding.
        np.testing.assert_allclose(scale * scaled, plain, rtol=0, atol=1e-12)


def test_plain_sgd_diverges_where_the_filter_does_not() -> None:  # NSGD-C3
    inputs, wanted = _stream(200, 8, scale=10.0)
    neuron = nn.Linear(8, 1, bias=False, dtype=torch.float64)
    nn.init.zeros_(neuron.weight)
    optimizer = torch.optim.SGD(neuron.parameters(), lr=0.05)
    for row, target in zip(torch.from_numpy(inputs), wanted, strict=True):
        optimizer.zero_grad()
        (0.5 * (target - neuron(row)).square().sum()).backward()
        optimizer.step()
    assert neuron.weight.abs().max() > 1e20
    assert np.isfinite(_filter(inputs, wanted, lr=0.05, eps=0.0)).all()
