"""Clipping of the divided gradient, which must not bring the dependence on the scale of the inputs back."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_

from modicum.optim import NSGD

Draw = Callable[..., Tensor]


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).double()


@pytest.mark.parametrize("scale", [1.0, 100.0])
@pytest.mark.parametrize("reduce", ["batch", "channel"])
def test_clipped_step_follows_its_closed_form_at_every_scale(reduce: Any, scale: float, draw: Draw) -> None:
    x, wanted, start = draw(7, 4, dtype=torch.float64), draw(7, 1, dtype=torch.float64), draw(1, 4, dtype=torch.float64)
    layer = nn.Linear(4, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(start / scale)
    optimizer = NSGD(layer, lr=0.5, eps=0.0, reduce=reduce, max_norm=0.25)
    (layer(scale * x) - wanted).square().sum().div(2).backward()
    optimizer.step()
    gradient = (x @ start.T - wanted).T @ x
    power = x.square().mean(0) if reduce == "channel" else x.square().sum(1).mean()
    norm = (gradient / power.sqrt()).norm()
    assert norm > 0.25
    expected = -0.5 * 0.25 * gradient / power / norm
    # The 1e-6 that clip_grad_norm_ adds to the norm, of which the least here is 3.
    torch.testing.assert_close(scale * layer.weight.detach() - start, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("reduce", ["batch", "channel", "sample"])
def test_every_relative_step_is_that_of_the_other_scale(reduce: Any, draw: Draw) -> None:
    model, x = mlp(), draw(8, 6, dtype=torch.float64)
    steps = []
    for scale in (1.0, 100.0):
        ours = copy.deepcopy(model)
        with torch.no_grad():
            next(ours.parameters()).div_(scale)  # the weight of the first layer
        before = [parameter.detach().clone() for parameter in ours.parameters()]
        optimizer = NSGD(ours, lr=0.5, eps=0.0, reduce=reduce, max_norm=0.01)
        cross_entropy(ours(scale * x), torch.arange(8) % 3).backward()
        optimizer.step()
        steps.append([(new - old) / old for new, old in zip(ours.parameters(), before, strict=True)])
    for one, other in zip(*steps, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_norm_is_that_of_torch_over_all_groups_where_powers_are_one(draw: Draw) -> None:
    x, model = torch.eye(6, dtype=torch.float64)[:4], nn.Linear(6, 5, dtype=torch.float64)
    theirs = copy.deepcopy(model)
    groups = [{"params": [model.weight]}, {"params": [model.bias], "max_norm": None}]
    optimizer = NSGD(model, lr=0.3, eps=0.0, momentum=0.9, weight_decay=0.1, max_norm=0.02, params=groups)
    sgd = torch.optim.SGD(theirs.parameters(), lr=0.3, momentum=0.9, weight_decay=0.1)
    for layer in (model, theirs):
        cross_entropy(layer(x), torch.arange(4)).backward()
    assert theirs.bias.grad is not None
    bias = theirs.bias.grad.clone()
    assert clip_grad_norm_(theirs.parameters(), 0.02) > 0.02
    theirs.bias.grad.copy_(bias)  # its group does not clip, but counts
    optimizer.step()
    sgd.step()
    torch.testing.assert_close(model.weight, theirs.weight, rtol=1e-12, atol=0)
    torch.testing.assert_close(model.bias, theirs.bias, rtol=1e-12, atol=0)


def test_max_norm_is_saved_and_a_state_without_one_keeps_that_of_the_optimizer(draw: Draw) -> None:
    model = mlp()
    saved = NSGD(model, lr=0.1, max_norm=2.0).state_dict()
    other = NSGD(model, lr=0.1, max_norm=5.0)
    other.load_state_dict(saved)
    assert other.param_groups[0]["max_norm"] == 2.0
    del saved["param_groups"][0]["max_norm"]  # as NSGD saved it before
    other.load_state_dict(saved)
    assert other.param_groups[0]["max_norm"] == 5.0
