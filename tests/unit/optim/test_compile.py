"""NSGD on models that torch.compile has turned into graphs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn.functional import cross_entropy

from modicum.optim import NSGD

Draw = Callable[..., Tensor]

# Both come from torch's own compiler.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*autograd.function.Function.* should not be instantiated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def train(model: nn.Module, run: Callable[[Tensor], Tensor], images: Tensor, reduce: Any) -> None:
    with NSGD(model, lr=0.3, momentum=0.9, reduce=reduce) as optimizer:
        for _ in range(3):
            optimizer.zero_grad()
            cross_entropy(run(images), torch.arange(len(images)) % 5).backward()
            optimizer.step()


@pytest.mark.parametrize("reduce", ["batch", "channel", "sample"])
def test_one_graph_without_breaks_serves_all_steps(reduce: Any, convnet: nn.Module, draw: Draw) -> None:
    images, eager = draw(6, 4, 8, 8), copy.deepcopy(convnet)
    counter = CompileCounterWithBackend("aot_eager")
    train(convnet, torch.compile(convnet, backend=counter, fullgraph=True), images, reduce)
    assert counter.frame_count == 1
    train(eager, eager, images, reduce)
    for mine, theirs in zip(convnet.parameters(), eager.parameters(), strict=True):
        # Powers are summed in another order; three steps of float32.
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_inductor_takes_the_same_steps(draw: Draw) -> None:
    model = nn.Sequential(nn.Conv2d(4, 5, 3, padding=1), nn.Flatten(), nn.Linear(80, 5))
    images, eager = draw(6, 4, 4, 4), copy.deepcopy(model)
    train(model, torch.compile(model, fullgraph=True), images, "batch")
    train(eager, eager, images, "batch")
    for mine, theirs in zip(model.parameters(), eager.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_optimizer_built_on_the_compiled_model_watches_it(convnet: nn.Module, draw: Draw) -> None:
    compiled = torch.compile(convnet, backend="aot_eager")
    assert isinstance(compiled, nn.Module)
    optimizer = NSGD(compiled, lr=0.3)
    cross_entropy(compiled(draw(5, 4, 8, 8)), torch.arange(5)).backward()
    optimizer.step()
    assert len(optimizer.powers()) == 3


def test_model_that_was_compiled_and_called_before_is_watched(draw: Draw) -> None:
    layer, x = nn.Linear(3, 2), draw(4, 3)
    compiled = torch.compile(layer, backend="eager")
    compiled(x)
    for _ in range(2):  # a second optimizer, too
        with NSGD(layer, lr=0.3) as optimizer:
            compiled(x).sum().backward()
            optimizer.step()
            assert optimizer.powers()["weight"].power == pytest.approx(x.square().sum(1).mean().item())
