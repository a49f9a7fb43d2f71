"""The backend "torch" against hooks written by hand: the form in which the authors' code draws its noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification

from modicum.perturb import HyPe, HyPeConfig
from modicum.perturb.configuration import Noise

SIGMA = 0.01
# The released code: torch.empty(shape).normal_() * sigma for HyPe-N, and .uniform_() * sigma, which is U[0, sigma).
BY_HAND: dict[Noise, Callable[[torch.Size], torch.Tensor]] = {
    "normal": lambda shape: torch.empty(shape).normal_() * SIGMA,
    "uniform": lambda shape: torch.empty(shape).uniform_(-1, 1) * SIGMA,
    "uniform_positive": lambda shape: torch.empty(shape).uniform_() * SIGMA,
}


@pytest.fixture
def model() -> Any:
    sizes = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64}
    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = AutoConfig.for_model("bert", vocab_size=64, **sizes, **off)
    return AutoModelForSequenceClassification.from_config(config).train()


# HYPE-C1
@pytest.mark.parametrize("noise", BY_HAND)
def test_logits_and_gradients_are_bitwise_those_of_hooks_by_hand(noise: Noise, model: Any) -> None:
    tokens = torch.randint(3, 64, (4, 11))
    state = torch.get_rng_state()

    def run() -> tuple[torch.Tensor, list[torch.Tensor]]:
        torch.set_rng_state(state)
        model.zero_grad()
        output = model(tokens, labels=torch.tensor([0, 1, 0, 1]))
        output.loss.backward()
        return output.logits, [parameter.grad.clone() for parameter in model.parameters()]

    def perturb(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return args[0] + BY_HAND[noise](args[0].shape), *args[1:]

    with HyPe(model, HyPeConfig(noise=noise, sigma=SIGMA, backend="torch")):
        logits, gradients = run()
    hooks = [layer.register_forward_pre_hook(perturb) for layer in model.bert.encoder.layer]
    expected, wanted = run()
    for hook in hooks:
        hook.remove()
    clean, _ = run()
    assert torch.equal(logits, expected)
    assert all(torch.equal(one, other) for one, other in zip(gradients, wanted, strict=True))
    assert not torch.equal(logits, clean)
