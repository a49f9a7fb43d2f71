"""What the equations promise for linear networks."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modicum.optim import NSGD


def draw(*shape: int, seed: int = 5) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def linear(outputs: int, inputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(draw(outputs, inputs, seed=6))
    return layer


@pytest.mark.parametrize("lr", [0.3, 1.0, 1.7])
@pytest.mark.parametrize("eps", [0.0, 0.5])
def test_error_after_a_step_is_what_the_rate_leaves_of_it(lr: float, eps: float) -> None:  # NSGD-C2
    layer, x, target = linear(1, 6), draw(6), torch.tensor([1.5], dtype=torch.float64)
    optimizer = NSGD(layer, lr=lr, eps=eps)
    error = (target - layer(x)).detach()
    (0.5 * (target - layer(x)).square()).backward()
    optimizer.step()
    power = x.square().sum()
    # Rounding of a sum of six products of order 1.
    torch.testing.assert_close(target - layer(x), error * (1 - lr * power / (eps + power)), rtol=0, atol=1e-14)


@pytest.mark.parametrize("lr", [0.1, 1.0, 1.9])
def test_distance_to_the_solution_never_grows_below_a_rate_of_two(lr: float) -> None:  # NSGD-C2
    layer, solution, rows = linear(2, 6), draw(2, 6, seed=8), draw(40, 6)
    optimizer = NSGD(layer, lr=lr, eps=0.0)
    distances = [(layer.weight - solution).norm().item()]
    for row in rows:
        optimizer.zero_grad()
        (0.5 * (solution @ row - layer(row)).square().sum()).backward()
        optimizer.step()
        distances.append((layer.weight - solution).norm().item())
    assert all(after <= before + 1e-14 for before, after in pairwise(distances))
    assert distances[-1] < 0.9 * distances[0]


def test_step_is_one_sided_kfac_with_a_scalar_factor() -> None:  # NSGD-C7
    layer, x = linear(3, 5), draw(20, 5)
    before = layer.weight.detach().clone()
    optimizer = NSGD(layer, lr=0.7, eps=0.0)
    layer(x).pow(3).sum().backward()
    gradient = layer.weight.grad
    assert gradient is not None
    optimizer.step()
    factor = torch.einsum("bi,bj->ij", x, x) / 20  # A = E[x xᵀ]; G is the identity
    preconditioner = torch.trace(factor) * torch.eye(5, dtype=torch.float64)
    expected = before - 0.7 * gradient @ torch.linalg.inv(preconditioner)
    torch.testing.assert_close(layer.weight.detach(), expected)


@pytest.mark.parametrize("reduce", ["batch", "channel", "sample"])
def test_linear_layer_and_pointwise_convolution_take_the_same_step(reduce: Any) -> None:  # NSGD-C8
    dense = linear(3, 5)
    convolution = nn.Conv2d(5, 3, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        convolution.weight.copy_(dense.weight[:, :, None, None])
    images = draw(2, 5, 4, 3)
    for layer, x in ((dense, images.movedim(1, -1)), (convolution, images)):
        optimizer = NSGD(layer, lr=0.5, reduce=reduce)
        layer(x).square().sum().backward()
        optimizer.step()
    torch.testing.assert_close(convolution.weight[:, :, 0, 0], dense.weight)


@pytest.mark.parametrize("reduce", ["batch", "channel", "sample"])
@pytest.mark.parametrize("groups", [2, 4])
def test_grouped_convolution_is_one_convolution_for_each_block(reduce: Any, groups: int) -> None:  # NSGD-C8
    grouped = nn.Conv1d(4, 8, 3, padding=1, groups=groups, dtype=torch.float64)  # groups=4 is depthwise
    rows, columns = 8 // groups, 4 // groups
    blocks = nn.ModuleList(nn.Conv1d(columns, rows, 3, padding=1, dtype=torch.float64) for _ in range(groups))
    for index, block in enumerate(blocks):
        block.load_state_dict({name: value[index * rows :][:rows] for name, value in grouped.state_dict().items()})
    x = draw(3, 4, 6) * torch.tensor([[[1.0], [2.0], [5.0], [9.0]]], dtype=torch.float64)
    first, second = NSGD(grouped, lr=0.5, reduce=reduce), NSGD(blocks, lr=0.5, reduce=reduce)
    grouped(x).square().sum().backward()
    parts = zip(blocks, x.split(columns, dim=1), strict=True)
    torch.cat([block(part) for block, part in parts], dim=1).square().sum().backward()
    first.step()
    second.step()
    stacked = torch.cat([block.get_parameter("weight") for block in blocks])
    torch.testing.assert_close(grouped.weight, stacked)


@pytest.mark.parametrize("scale", [1e-2, 10.0, 1e3])
@pytest.mark.parametrize("reduce", ["batch", "channel", "sample"])
def test_weights_shrink_exactly_as_inputs_grow(reduce: Any, scale: float) -> None:  # NSGD-C14
    plain, scaled, x, targets = linear(2, 4), linear(2, 4), draw(16, 4), draw(16, 2, seed=9)
    with torch.no_grad():
        scaled.weight.div_(scale)
    for layer, factor in ((plain, 1.0), (scaled, scale)):
        optimizer = NSGD(layer, lr=0.2, momentum=0.9, eps=0.01 * factor**2, reduce=reduce)
        for _ in range(50):
            optimizer.zero_grad()
            (layer(factor * x) - targets).square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(scale * scaled.weight, plain.weight, rtol=1e-9, atol=1e-9)  # 50 steps of rounding


def test_pure_rescaling_of_the_images_leaves_a_deep_network_s_predictions() -> None:  # NSGD-C14
    outputs = []
    for scale in (1.0, 100.0):
        first = nn.Conv2d(2, 4, 3, bias=False, dtype=torch.float64)
        model = nn.Sequential(first, nn.Tanh(), nn.Flatten(), linear(3, 64))
        with torch.no_grad():
            first.weight.copy_(draw(4, 2, 3, 3, seed=7) / scale)
        images = scale * draw(6, 2, 6, 6)
        groups = [{"params": [first.weight], "eps": 0.01 * scale**2}, {"params": [model.get_parameter("3.weight")]}]
        optimizer = NSGD(model, lr=0.2, params=groups)
        for _ in range(20):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), torch.arange(6) % 3).backward()
            optimizer.step()
        outputs.append(model(images))
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("rank", [1, 6])
@pytest.mark.parametrize(("share", "converges"), [(0.95, True), (1.05, False)])
def test_stable_rates_end_at_twice_the_effective_rank(rank: int, share: float, converges: bool) -> None:  # NSGD-C16
    x = draw(30, rank) @ draw(rank, 6, seed=11)
    factor = x.T @ x / 30
    effective = (torch.trace(factor) / torch.linalg.eigvalsh(factor)[-1]).item()
    assert effective == pytest.approx(1.0) if rank == 1 else effective > 1.2
    layer, solution = linear(1, 6), draw(1, 6, seed=12)
    optimizer = NSGD(layer, lr=share * 2 * effective, eps=0.0)
    errors = []
    for _ in range(300):
        optimizer.zero_grad()
        loss = 0.5 * (layer(x) - x @ solution.T).square().sum(1).mean()
        loss.backward()
        optimizer.step()
        errors.append(loss.item())
    # The steepest direction shrinks or grows by |1 - 2 share| = 0.9 or 1.1 a step.
    assert (errors[-1] < 0.5 * errors[0]) if converges else (errors[-1] > 1e6 * errors[0])
