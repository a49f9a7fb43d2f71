"""Second moments against patches that are really formed, and the weights that follow from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import pad

from modicum.quantize.graph.ops import Convolution, Linear
from modicum.quantize.hessian import moments as module
from modicum.quantize.hessian.moments import choose_damping, measure, rounding_gram, together, wanted_weights


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def convolution(groups: int = 1, **geometry: Any) -> Convolution:
    return Convolution(weight=drawn(6, 4 // groups, 3, 2, seed=3), bias=drawn(6, seed=4), groups=groups, **geometry)


def by_hand(layer: Convolution, x: Tensor) -> list[np.ndarray]:
    """Cut out each patch of each group, without unfold."""
    x = pad(x, (layer.padding[1], layer.padding[1], layer.padding[0], layer.padding[0]))
    rows, columns = layer.weight.shape[2:]
    down, right = layer.dilation
    high = x.shape[2] - down * (rows - 1)
    wide = x.shape[3] - right * (columns - 1)
    found = []
    for part in x.chunk(layer.groups, dim=1):
        patches = [
            image[:, i : i + down * (rows - 1) + 1 : down, j : j + right * (columns - 1) + 1 : right].flatten()
            for image in part
            for i in range(0, high, layer.stride[0])
            for j in range(0, wide, layer.stride[1])
        ]
        found.append(torch.stack(patches).numpy())
    return found


GEOMETRIES = [
    convolution(),
    convolution(groups=2),
    convolution(stride=(2, 1), padding=(1, 2)),
    convolution(groups=2, dilation=(2, 3), padding=(0, 1), stride=(1, 2)),
]


@pytest.mark.parametrize("layer", GEOMETRIES)
def test_moments_are_the_covariances_of_patches(layer: Convolution) -> None:
    x = drawn(5, 4, 8, 9)
    target = layer.run(x) + 0.1 * drawn(*layer.run(x).shape, seed=9)
    found = measure(layer, x, target)
    values = target.movedim(1, -1).reshape(-1, 6).numpy()
    own = 6 // layer.groups
    for group, patches in enumerate(by_hand(layer, x)):
        outputs = values[:, group * own : (group + 1) * own]
        joint = np.cov(np.hstack([patches, outputs]).T, bias=True)
        size = patches.shape[1]
        np.testing.assert_allclose(found.gram[group], joint[:size, :size], atol=1e-12)
        np.testing.assert_allclose(found.cross[group * own : (group + 1) * own], joint[size:, :size], atol=1e-12)
        np.testing.assert_allclose(found.inputs[group], patches.mean(0), atol=1e-12)
    np.testing.assert_allclose(found.outputs, values.mean(0), atol=1e-12)


@pytest.mark.parametrize("shape", [(20, 4), (5, 4, 4)])
def test_moments_of_a_linear_layer(shape: tuple[int, ...]) -> None:
    layer = Linear(weight=drawn(3, 4, seed=1), bias=drawn(3, seed=2))
    x = drawn(*shape)
    found = measure(layer, x, layer.run(x))
    np.testing.assert_allclose(found.gram[0], np.cov(x.reshape(-1, 4).numpy().T, bias=True), atol=1e-12)
    torch.testing.assert_close(found.cross, layer.weight @ found.gram[0])


def test_moments_of_large_images_are_those_of_evenly_spread_places(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = convolution(groups=2), drawn(5, 4, 12, 10)
    monkeypatch.setattr(module, "_MOST", 3600)  # of 10,800 numbers of patches: every third, but the width is nine
    monkeypatch.setattr(module, "_EACH", 1)
    found = measure(layer, x, layer.run(x))
    chosen = np.tile(np.arange(10 * 9) % 4 == 0, 5)
    for group, patches in enumerate(by_hand(layer, x)):
        np.testing.assert_allclose(found.gram[group], np.cov(patches[chosen].T, bias=True), atol=1e-12)
        np.testing.assert_allclose(found.inputs[group], patches[chosen].mean(0), atol=1e-12)
    torch.testing.assert_close(found.cross.view(2, 3, -1), layer.weight.view(2, 3, -1) @ found.gram)


def test_no_place_is_left_out_where_weights_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = convolution(), drawn(3, 4, 8, 9)
    expected = measure(layer, x, layer.run(x))
    monkeypatch.setattr(module, "_MOST", 1)  # 24 weights for 144 patches: 16 a weight would be more
    assert torch.equal(measure(layer, x, layer.run(x)).gram, expected.gram)


@pytest.mark.parametrize("layer", GEOMETRIES)
def test_pieces_do_not_change_the_moments(layer: Convolution, monkeypatch: pytest.MonkeyPatch) -> None:
    x = drawn(7, 4, 8, 9)
    whole = measure(layer, x, layer.run(x))
    monkeypatch.setattr(module, "_PIECE", 3 * layer.weight[0].numel() * layer.groups * 20)
    pieces = measure(layer, x, layer.run(x))
    for name in ("gram", "cross", "inputs", "outputs"):
        torch.testing.assert_close(getattr(pieces, name), getattr(whole, name), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("layer", GEOMETRIES)
def test_moments_of_two_sets_are_those_of_all_samples(layer: Convolution) -> None:
    x = 3 + drawn(7, 4, 8, 9)
    whole = measure(layer, x, layer.run(x))
    both = together(measure(layer, x[:2], layer.run(x[:2])), measure(layer, x[2:], layer.run(x[2:])))
    assert both.count == whole.count
    for name in ("gram", "cross", "inputs", "outputs"):
        torch.testing.assert_close(getattr(both, name), getattr(whole, name), rtol=1e-12, atol=1e-12)


def halves_of(weight: Tensor, x: Tensor, target: Tensor) -> Any:
    layer = Linear(weight=weight, bias=torch.zeros(len(weight), dtype=torch.float64))
    return tuple(measure(layer, x[at::2], target[at::2]) for at in range(2))


@pytest.mark.parametrize("seed", range(10, 40))
def test_damping_is_the_one_with_the_least_error_on_the_other_half(seed: int) -> None:
    weight = drawn(5, 20, seed=1)
    x = 2 + drawn(60, 20, seed=seed)
    x[::2] += 1  # so that it matters whose means the bias is made from
    target = x @ (weight + 0.3 * drawn(5, 20, seed=2)).T + 3 * drawn(60, 5, seed=seed + 100)
    errors: dict[float, float] = {}
    for damping in module.DAMPINGS:
        errors[damping] = 0
        for seen in range(2):
            known, asked = slice(seen, None, 2), slice(1 - seen, None, 2)
            inputs, outputs = x[known] - x[known].mean(0), target[known] - target[known].mean(0)
            amount = (damping * inputs.square().mean()) ** 0.5 * torch.eye(20, dtype=torch.float64)
            left = torch.cat([inputs / 30**0.5, amount])
            found = torch.linalg.lstsq(left, torch.cat([outputs / 30**0.5, amount @ weight.T])).solution
            off = (x[asked] - x[known].mean(0)) @ found + target[known].mean(0) - target[asked]
            errors[damping] += float(off.square().sum(1).mean())
    assert choose_damping(weight, halves_of(weight, x, target)) == min(errors, key=lambda it: errors[it])


def test_few_samples_of_a_noisy_target_leave_the_weights_nearly_as_they_are() -> None:
    weight = drawn(5, 200, seed=1)
    x = drawn(40, 200)
    assert choose_damping(weight, halves_of(weight, x, x @ weight.T + 20 * drawn(40, 5, seed=2))) >= 10


def test_what_many_samples_show_is_made_up_for() -> None:
    weight = drawn(5, 10, seed=1)
    x = drawn(4000, 10)
    assert choose_damping(weight, halves_of(weight, x, 2 * x @ weight.T)) == module.DAMPINGS[0]


@pytest.mark.parametrize("layer", GEOMETRIES)
def test_wanted_weights_are_the_own_ones_where_nothing_is_lost(layer: Convolution) -> None:
    x = drawn(5, 4, 8, 9)
    wanted = wanted_weights(layer.weight, measure(layer, x, layer.run(x)), damping=0.01)
    torch.testing.assert_close(wanted, layer.weight.flatten(1), rtol=1e-10, atol=1e-12)


def test_wanted_weights_solve_ridge_regression_around_the_given_ones() -> None:
    x, weight, target = drawn(50, 4), drawn(3, 4, seed=1), drawn(50, 3, seed=2)
    layer = Linear(weight=weight, bias=torch.zeros(3, dtype=torch.float64))
    wanted = wanted_weights(weight, measure(layer, x, target), damping=0.3)
    centred, values = x - x.mean(0), target - target.mean(0)
    amount = 0.3 * float(centred.square().mean())
    # |t - v x|^2 / n + d |v - w|^2 as one least-squares problem with four more rows.
    left = torch.cat([centred / 50**0.5, amount**0.5 * torch.eye(4, dtype=torch.float64)])
    right = torch.cat([values / 50**0.5, amount**0.5 * weight.T])
    torch.testing.assert_close(wanted, torch.linalg.lstsq(left, right).solution.T)


def test_weights_are_rounded_under_moments_with_a_hundredth_of_the_mean_diagonal() -> None:
    x = drawn(50, 4)
    layer = Linear(weight=drawn(3, 4, seed=1), bias=torch.zeros(3, dtype=torch.float64))
    centred = x - x.mean(0)
    amount = 0.01 * float(centred.square().mean())
    expected = centred.T @ centred / 50 + amount * torch.eye(4, dtype=torch.float64)
    torch.testing.assert_close(rounding_gram(measure(layer, x, layer.run(x)))[0], expected)


def test_wanted_weights_make_up_for_a_scaled_input() -> None:
    x, weight = drawn(5000, 4), drawn(3, 4, seed=1)
    layer = Linear(weight=weight, bias=torch.zeros(3, dtype=torch.float64))
    wanted = wanted_weights(weight, measure(layer, 0.5 * x, layer.run(x)), damping=1e-9)
    torch.testing.assert_close(wanted, 2 * weight, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("constant", [0.0, 1.0, 1e4, -3e-5])
def test_inputs_that_never_vary_leave_the_weights_as_they_are(constant: float) -> None:
    x, weight = torch.full((30, 4), constant, dtype=torch.float64), drawn(3, 4, seed=1)
    layer = Linear(weight=weight, bias=drawn(3, seed=2))
    found = measure(layer, x, layer.run(x))
    wanted = wanted_weights(weight, found, damping=0.01)
    torch.testing.assert_close(wanted, weight, rtol=1e-2, atol=1e-2)
    torch.linalg.cholesky(rounding_gram(found))  # raises where it is not positive definite


def test_group_of_dead_inputs_does_not_touch_the_others() -> None:
    layer = convolution(groups=2)
    x = drawn(5, 4, 8, 9)
    x[:, :2] = 0
    found = measure(layer, x, layer.run(x))
    wanted = wanted_weights(layer.weight, found, damping=0.01)
    torch.testing.assert_close(wanted, layer.weight.flatten(1), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(rounding_gram(found)[0], torch.eye(12, dtype=torch.float64))
