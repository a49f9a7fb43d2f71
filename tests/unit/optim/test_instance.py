"""The rule for single instances, against a loop over them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from modicum.optim import NSGD

Draw = Callable[..., Tensor]

CONVOLUTIONS = {
    "1d, strided": lambda: nn.Conv1d(2, 3, 3, stride=2, padding=1, dtype=torch.float64),
    "2d, grouped": lambda: nn.Conv2d(4, 6, (3, 2), padding=(1, 0), groups=2, dtype=torch.float64),
    "2d, depthwise, no bias": lambda: nn.Conv2d(3, 6, 3, groups=3, bias=False, dtype=torch.float64),
    "2d, dilated, reflected": lambda: nn.Conv2d(
        2, 3, 3, dilation=2, padding=2, padding_mode="reflect", dtype=torch.float64
    ),
    "2d, unlike sides": lambda: nn.Conv2d(2, 3, (1, 4), padding="same", dtype=torch.float64),
    "3d": lambda: nn.Conv3d(2, 2, 2, dtype=torch.float64),
}


def divided(powers: Tensor, kind: str) -> Tensor:
    return powers + 0.01 if kind == "power" else powers.log().clamp(min=0.01)


@pytest.mark.parametrize("kind", ["power", "log"])
@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_linear_step_sums_the_normalised_gradients_of_instances(norm: Any, kind: Any, draw: Draw) -> None:  # NSGD-C13
    layer = nn.Linear(5, 3, dtype=torch.float64)
    x, errors = 2 * draw(4, 2, 5, dtype=torch.float64), draw(4, 2, 3, dtype=torch.float64)
    before, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    weight = before.clone()
    optimizer = NSGD(layer, lr=0.5, norm=norm, denominator=kind, reduce="sample")
    seen = x.clone().requires_grad_()
    (layer(seen) * errors).sum().backward()
    optimizer.step()
    for row, error in zip(x.reshape(-1, 5), errors.reshape(-1, 3), strict=True):
        power = row.square().sum() if norm == "l2" else row.abs().sum()
        weight -= 0.5 * torch.outer(error, row) / divided(power, kind)
    torch.testing.assert_close(layer.weight.detach(), weight)
    torch.testing.assert_close(layer.bias.detach(), bias - 0.5 * errors.sum((0, 1)))
    assert seen.grad is not None
    torch.testing.assert_close(seen.grad, errors @ before)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")  # torch is only slower there
@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution_step_sums_the_normalised_gradients_of_patches(  # NSGD-C13
    name: str, norm: Any, draw: Draw
) -> None:
    layer = CONVOLUTIONS[name]()
    plain = copy.deepcopy(layer)
    x = draw(2, layer.in_channels, *[6] * (layer.weight.ndim - 2), dtype=torch.float64)
    optimizer = NSGD(layer, lr=1.0, norm=norm, reduce="sample")
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    output = layer(inputs[0])
    errors = draw(*output.shape, dtype=torch.float64)
    (output * errors).sum().backward()
    (plain(inputs[1]) * errors).sum().backward()
    optimizer.step()
    # The gradients that are not normalised are those of torch.
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad)
    if layer.bias is not None:
        torch.testing.assert_close(layer.bias.grad, plain.bias.grad)
    # The weight: one patch after the other, each cut out by the gradient of a single output position.
    expected = torch.zeros_like(layer.weight)
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = pad(x, layer._reversed_padding_repeated_twice, mode=mode)
    rows, columns = layer.out_channels // layer.groups, layer.in_channels // layer.groups
    for batch, *position in torch.cartesian_prod(*[torch.arange(n) for n in (2, *output.shape[2:])]).tolist():
        window = padded[batch]
        for axis, start in enumerate(position):
            taps = start * layer.stride[axis] + layer.dilation[axis] * torch.arange(layer.kernel_size[axis])
            window = window.index_select(axis + 1, taps)
        for group in range(layer.groups):
            patch = window[group * columns : (group + 1) * columns]
            power = patch.square().sum() if norm == "l2" else patch.abs().sum()
            for row in range(group * rows, (group + 1) * rows):
                expected[row] += errors[(batch, row, *position)] * patch / (0.01 + power)
    torch.testing.assert_close(plain.weight.detach() - layer.weight.detach(), expected)


@pytest.mark.parametrize("make", [lambda: nn.Linear(4, 3), lambda: nn.Conv2d(2, 3, 2)])
def test_one_instance_with_one_position_equals_the_batch_rule(  # NSGD-C13
    make: Callable[[], nn.Module], draw: Draw
) -> None:
    layer = make()
    twin = copy.deepcopy(layer)
    x = draw(1, 4) if isinstance(layer, nn.Linear) else draw(1, 2, 2, 2)
    for model, reduce in ((layer, "sample"), (twin, "batch")):
        optimizer = NSGD(model, lr=0.5, reduce=reduce)  # pyright: ignore[reportArgumentType]
        model(x).square().sum().backward()
        optimizer.step()
        reading = optimizer.powers()["weight"]
        assert reading.power == pytest.approx(x.square().sum().item())
    torch.testing.assert_close(layer.get_parameter("weight"), twin.get_parameter("weight"))


def test_powers_report_the_mean_over_instances(draw: Draw) -> None:
    layer = nn.Conv2d(4, 6, 3, groups=2)
    twin = copy.deepcopy(layer)
    x = draw(3, 4, 5, 5)
    powers = []
    for model, reduce in ((layer, "sample"), (twin, "batch")):
        optimizer = NSGD(model, lr=0.5, reduce=reduce)  # pyright: ignore[reportArgumentType]
        model(x).square().sum().backward()
        optimizer.step()
        powers.append(optimizer.state[model.weight]["power"])
    torch.testing.assert_close(powers[0], powers[1])


def test_unbatched_and_keyword_inputs_are_taken(draw: Draw) -> None:
    layer = nn.Conv2d(2, 3, 2)
    twin = copy.deepcopy(layer)
    x = draw(2, 4, 4)
    optimizers = [NSGD(model, lr=0.5, reduce="sample") for model in (layer, twin)]
    assert layer(input=x).shape == (3, 3, 3)
    layer(input=x).sum().backward()
    twin(x[None]).sum().backward()
    for optimizer in optimizers:
        optimizer.step()
    torch.testing.assert_close(layer.weight, twin.weight)


def test_autocast_keeps_powers_in_float32(draw: Draw) -> None:
    model = nn.Sequential(nn.Conv1d(2, 3, 2), nn.Flatten(), nn.Linear(9, 2))
    optimizer = NSGD(model, lr=0.5, reduce="sample")
    x = 300 * draw(5, 2, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(x)
    assert output.dtype == torch.bfloat16
    output.float().sum().backward()
    optimizer.step()
    power = optimizer.state[model.get_parameter("0.weight")]["power"]
    assert power.dtype == torch.float32
    windows = x.unfold(2, 2, 1).square().sum((1, 3)).mean()
    # The layer multiplies inputs that were rounded to eight bits: 2^-9 each, and squares double that.
    torch.testing.assert_close(power, windows.reshape(1), rtol=2**-8, atol=0)


def test_layers_that_compute_something_of_their_own_take_plain_steps(draw: Draw) -> None:
    class Doubled(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002
            return 2 * super().forward(input)

    model = nn.Sequential(Doubled(3, 3), nn.Linear(3, 2))
    optimizer = NSGD(model, lr=0.5, reduce="sample")
    model(draw(4, 3)).sum().backward()
    with pytest.warns(UserWarning, match=r"input of these weights: 0.weight\. They"):
        optimizer.step()
    assert set(optimizer.powers()) == {"1.weight"}


def test_attention_takes_plain_steps(draw: Draw) -> None:
    attention = nn.MultiheadAttention(4, 2)
    optimizer = NSGD(attention, lr=0.5, reduce="sample")
    x = draw(3, 2, 4)
    attention(x, x, x)[0].sum().backward()
    with pytest.warns(UserWarning, match=r"in_proj_weight, out_proj.weight\. They"):
        optimizer.step()


def test_eval_mode_runs_the_layer_s_own_forward(draw: Draw) -> None:
    layer = nn.Linear(3, 2)
    optimizer = NSGD(layer, lr=0.5, reduce="sample")
    x = draw(4, 3)
    layer.eval()(x).sum().backward()
    assert layer.weight.grad is not None
    torch.testing.assert_close(layer.weight.grad, x.sum(0).expand(2, 3))
    optimizer.zero_grad()
    assert optimizer.powers() == {}
