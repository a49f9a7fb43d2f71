"""What counts towards a power: exactly the calls that reach the gradient."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad
from torch.utils.checkpoint import checkpoint

from modicum.errors import ModelError, StateError
from modicum.optim import NSGD

Draw = Callable[..., Tensor]


def power_of(x: Tensor) -> float:
    """Give the mean squared length of rows."""
    return x.detach().square().sum(-1).mean().item()


@pytest.fixture
def net(initialise: Callable[[nn.Module], nn.Module]) -> nn.Module:
    return initialise(nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)))


@pytest.mark.parametrize("reduce", ["batch", "channel"])
def test_accumulation_equals_one_large_batch(reduce: Any, net: nn.Module, draw: Draw) -> None:  # NSGD-C9
    x, labels = draw(12, 6), torch.arange(12) % 3
    whole, parts = net, copy.deepcopy(net)
    first, second = (NSGD(model, lr=0.5, momentum=0.9, reduce=reduce) for model in (whole, parts))
    for _ in range(3):
        first.zero_grad()
        cross_entropy(whole(x), labels).backward()
        first.step()
        second.zero_grad()
        for part in range(4):
            rows = slice(3 * part, 3 * part + 3)
            (cross_entropy(parts(x[rows]), labels[rows]) / 4).backward()
        second.step()
    for mine, theirs in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)  # sums in another order


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("reduce", ["batch", "channel", "sample"])
def test_activation_checkpointing_changes_nothing(
    reduce: Any, reentrant: bool, net: nn.Module, draw: Draw
) -> None:  # NSGD-C9
    x, labels = draw(8, 6).requires_grad_(), torch.arange(8) % 3
    plain, saving = net, copy.deepcopy(net)
    optimizers = [NSGD(model, lr=0.5, momentum=0.9, reduce=reduce) for model in (plain, saving)]
    for _ in range(3):
        cross_entropy(plain(x), labels).backward()
        cross_entropy(checkpoint(saving, x, use_reentrant=reentrant), labels).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    for mine, theirs in zip(plain.parameters(), saving.parameters(), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("reentrant", [True, False])
def test_calls_in_and_out_of_a_checkpoint_weigh_the_same(reentrant: bool, draw: Draw) -> None:
    layer = nn.Linear(4, 4, bias=False)
    optimizer = NSGD(layer, lr=0.1)
    x = draw(3, 4).requires_grad_()
    hidden = checkpoint(layer, x, use_reentrant=reentrant)
    layer(hidden).sum().backward()
    optimizer.step()
    expected = (power_of(x) + power_of(hidden)) / 2
    assert optimizer.powers()["weight"].power == pytest.approx(expected)


def test_calls_without_a_backward_pass_do_not_count(draw: Draw) -> None:  # NSGD-C12
    layer = nn.Linear(4, 2)
    optimizer = NSGD(layer, lr=0.1)
    x = draw(3, 4)
    layer(1e3 * x)  # its loss is dropped
    layer(torch.full((3, 4), float("nan")))
    with torch.no_grad():
        layer(1e3 * x)
    (layer(x) + layer.eval()(1e3 * x).detach()).sum().backward()
    optimizer.step()
    assert optimizer.powers()["weight"].power == pytest.approx(power_of(x))


@pytest.mark.parametrize("clear", ["optimizer", "model", "optimizer to zeros"])
@pytest.mark.parametrize("late", [False, True])
def test_powers_of_a_dropped_gradient_are_dropped_with_it(clear: str, late: bool, draw: Draw) -> None:
    layer = nn.Linear(4, 2)
    optimizer = NSGD(layer, lr=0.1)
    x = draw(3, 4)
    drop = optimizer.zero_grad if clear.startswith("optimizer") else layer.zero_grad
    layer(torch.full((3, 4), float("inf"))).sum().backward()  # a gradient scaler skips the step that was due here
    if not late:
        drop(set_to_none="zeros" not in clear)
    loss = layer(x).sum()
    if late:
        drop(set_to_none="zeros" not in clear)
    loss.backward()
    optimizer.step()
    assert optimizer.powers()["weight"].power == pytest.approx(power_of(x))


def test_gradient_scaler_skips_without_a_trace(draw: Draw) -> None:
    layer = nn.Linear(4, 2)
    optimizer = NSGD(layer, lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    x, before = draw(3, 4), layer.weight.detach().clone()
    for factor in (float("inf"), 1.0):
        optimizer.zero_grad()
        scaler.scale(layer(factor * x).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    assert optimizer.state[layer.weight]["step"] == 1
    expected = before - 0.1 * x.sum(0) / (0.01 + power_of(x))
    torch.testing.assert_close(layer.weight.detach(), expected)


def test_gradients_of_the_input_alone_do_not_count(draw: Draw) -> None:
    layer = nn.Linear(4, 2)
    optimizer = NSGD(layer, lr=0.1)
    x = draw(3, 4).requires_grad_()
    torch.autograd.grad(layer(5 * x).sum(), x)  # as adversarial training does
    layer(x).sum().backward()
    optimizer.step()
    assert optimizer.powers()["weight"].power == pytest.approx(power_of(x))


def test_tied_layers_share_the_mean_over_their_calls(draw: Draw) -> None:
    first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    second.weight = first.weight
    model = nn.Sequential(first, nn.ReLU(inplace=True), second)
    optimizer = NSGD(model, lr=0.1)
    x = draw(3, 4)
    hidden = first(x).relu()
    first(2 * x).sum().backward()
    model(x).sum().backward()
    optimizer.step()
    expected = (power_of(2 * x) + power_of(x) + power_of(hidden)) / 3
    assert optimizer.powers()["0.weight"].power == pytest.approx(expected)


def test_embedding_takes_plain_steps_without_a_warning(draw: Draw) -> None:
    table = nn.Embedding(5, 3)
    before = table.weight.detach().clone()
    optimizer = NSGD(table, lr=0.5)
    table(torch.tensor([1, 1, 4])).sum().backward()
    optimizer.step()
    expected = before - 0.5 * torch.tensor([[0.0], [2.0], [0.0], [0.0], [1.0]])
    torch.testing.assert_close(table.weight.detach(), expected)
    assert optimizer.powers() == {}


def test_embedding_tied_to_a_decoder_counts_as_power_one(draw: Draw) -> None:
    table, decoder = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
    decoder.weight = table.weight
    model = nn.Sequential(table, decoder)
    optimizer = NSGD(model, lr=0.1)
    hidden = table(torch.tensor([1, 4])).detach()
    model(torch.tensor([1, 4])).sum().backward()
    optimizer.step()
    assert optimizer.powers()["0.weight"].power == pytest.approx((1 + power_of(hidden)) / 2)


@pytest.mark.parametrize("batch_first", [True, False])
def test_attention_projections_see_query_key_and_value(batch_first: bool, draw: Draw) -> None:
    attention = nn.MultiheadAttention(4, 2, batch_first=batch_first)
    before = attention.in_proj_weight.detach().clone()
    optimizer = NSGD(attention, lr=0.5, eps=0.0)
    query, key, value = draw(3, 3, 4), 2 * draw(3, 3, 4), 5 * draw(3, 3, 4)
    output, _ = attention(query, key=key, value=value)
    output.square().sum().backward()
    gradient = attention.in_proj_weight.grad
    assert gradient is not None
    with pytest.warns(UserWarning, match=r"has not seen the input of these weights: out_proj.weight. They take plain"):
        optimizer.step()
    powers = torch.tensor([power_of(x) for x in (query, key, value)]).repeat_interleave(4)[:, None]
    torch.testing.assert_close(attention.in_proj_weight.detach(), before - 0.5 * gradient / powers)


def test_attention_with_projections_of_their_own_widths(draw: Draw) -> None:
    attention = nn.MultiheadAttention(4, 2, kdim=3, vdim=5)
    optimizer = NSGD(attention, lr=0.5)
    query, key, value = draw(3, 2, 4), draw(3, 2, 3), draw(3, 2, 5)
    attention(query, key, value)[0].sum().backward()
    with pytest.warns(UserWarning, match="out_proj.weight"):
        optimizer.step()
    readings = optimizer.powers()
    for name, x in (("q", query), ("k", key), ("v", value)):
        assert readings[f"{name}_proj_weight"].power == pytest.approx(power_of(x))


def test_unseen_weights_are_named_once(draw: Draw, recwarn: pytest.WarningsRecorder) -> None:
    model = nn.ModuleDict({"turned": nn.ConvTranspose1d(2, 2, 2), "memory": nn.GRU(2, 2), "seen": nn.Linear(2, 2)})
    turned = model["turned"].get_parameter("weight")
    before = turned.detach().clone()
    optimizer = NSGD(model, lr=0.5)
    x = draw(3, 2)
    for _ in range(2):
        optimizer.zero_grad()
        (model["turned"](x[..., None]).sum() + model["memory"](x)[0].sum() + model["seen"](x).sum()).backward()
        optimizer.step()
    (warning,) = recwarn.list
    message = str(warning.message)
    assert "turned.weight, memory.weight_ih_l0, memory.weight_hh_l0. They take plain SGD steps." in message
    assert warning.filename == __file__
    assert turned.grad is not None
    torch.testing.assert_close(turned.detach(), before - 2 * 0.5 * turned.grad)


def test_gradient_without_a_power_is_refused_where_earlier_ones_had_it(draw: Draw) -> None:
    layer = nn.Linear(4, 2)
    optimizer = NSGD(layer, lr=0.1)
    layer(draw(3, 4)).sum().backward()
    optimizer.step()
    before = layer.weight.detach().clone()
    with pytest.raises(StateError, match=r"gradient of weight came without the power of its layer's input"):
        optimizer.step()  # the same gradient a second time
    optimizer.zero_grad()
    layer.eval()(draw(3, 4)).sum().backward()
    with pytest.raises(StateError, match=r"Run the forward pass in training mode, call backward"):
        optimizer.step()
    assert torch.equal(layer.weight, before)


def test_layer_left_out_of_a_step_keeps_its_power(draw: Draw) -> None:
    model = nn.ModuleList([nn.Linear(4, 2), nn.Linear(4, 2)])
    optimizer = NSGD(model, lr=0.1)
    x = draw(3, 4)
    sum(head(x).sum() for head in model).backward()  # pyright: ignore[reportAttributeAccessIssue]
    optimizer.step()
    optimizer.zero_grad(set_to_none=False)
    model[0](2 * x).sum().backward()
    optimizer.step()
    readings = optimizer.powers()
    assert readings["0.weight"].power == pytest.approx(power_of(2 * x))
    assert readings["1.weight"].power == pytest.approx(power_of(x))


def test_call_without_rows_does_not_count(draw: Draw) -> None:
    layer = nn.Linear(4, 2)
    optimizer = NSGD(layer, lr=0.1)
    x = draw(3, 4)
    (layer(x).sum() + layer(x[:0]).sum()).backward()  # an expert that no token was sent to
    optimizer.step()
    assert optimizer.powers()["weight"].power == pytest.approx(power_of(x))


def test_frozen_layers_are_neither_measured_nor_named(draw: Draw) -> None:
    model = nn.Sequential(nn.Linear(4, 3).requires_grad_(False), nn.Linear(3, 2))
    optimizer = NSGD(model, lr=0.1)
    model(draw(3, 4)).sum().backward()
    optimizer.step()
    assert set(optimizer.powers()) == {"1.weight"}


def test_model_moved_to_another_precision_is_followed(draw: Draw) -> None:
    layer = nn.Linear(4, 2)
    optimizer = NSGD(layer, lr=0.1)
    layer.double()
    x = draw(3, 4, dtype=torch.float64)
    for _ in range(2):
        optimizer.zero_grad()
        layer(x).sum().backward()
        optimizer.step()
    power = optimizer.state[layer.weight]["power"]
    torch.testing.assert_close(power, x.square().sum(1).mean().reshape(1), rtol=1e-14, atol=0)


def test_weight_shared_by_unlike_layers_is_refused() -> None:
    dense, grouped = nn.Conv1d(2, 4, 3), nn.Conv1d(4, 4, 3, groups=2)
    grouped.weight = dense.weight
    with pytest.raises(ModelError, match=r"shape \(4, 2, 3\) is shared by layers that use it differently. Give each"):
        NSGD(nn.ModuleList([dense, grouped]), lr=0.1)


def test_functional_transforms_of_a_watched_model_work(net: nn.Module, draw: Draw) -> None:
    optimizer = NSGD(net, lr=0.1)
    x = draw(5, 6)
    parameters = dict(net.named_parameters())

    def loss(values: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(net, values, (x,)).square().sum()

    gradients = torch.func.grad(loss)({name: value.detach() for name, value in parameters.items()})
    net(x).square().sum().backward()
    for name, value in parameters.items():
        torch.testing.assert_close(gradients[name], value.grad)
    optimizer.step()
    assert optimizer.powers()["0.weight"].power == pytest.approx(power_of(x))


class Causal(nn.Conv1d):
    """Pads its input itself."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        return super().forward(pad(input, (4, 0)))


class Padded(nn.Conv1d):
    """Does so inside of torch's own forward."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002
        return super()._conv_forward(pad(input, (4, 0)), weight, bias)


@pytest.mark.parametrize("kind", [Causal, Padded])
@pytest.mark.parametrize("reduce", ["batch", "channel", "sample"])
def test_convolutions_that_pad_themselves_take_plain_steps(kind: type[nn.Conv1d], reduce: Any, draw: Draw) -> None:
    layer = kind(2, 3, 5)
    optimizer = NSGD(layer, lr=0.1, reduce=reduce)
    for length in (3, 4, 9):  # shorter than the kernel, and longer
        optimizer.zero_grad()
        layer(draw(2, 2, length)).square().sum().backward()
        before, gradient = layer.weight.detach().clone(), layer.weight.grad
        if length == 3:
            with pytest.warns(UserWarning, match="not seen the input of these weights: weight"):
                optimizer.step()
        else:
            optimizer.step()
        torch.testing.assert_close(layer.weight.detach(), before - 0.1 * gradient)  # pyright: ignore
    assert optimizer.powers() == {}
