from __future__ import annotations

import copy
import gc
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from modicum.errors import ConfigError, ModelError, StateError
from modicum.optim import NSGD

Draw = Callable[..., Tensor]


def train(model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, steps: int) -> None:
    for step in range(steps):
        optimizer.zero_grad()
        cross_entropy(model(images), torch.arange(len(images)).add(step) % 5).backward()
        optimizer.step()


@pytest.mark.parametrize("foreach", [True, False])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True},
        {"momentum": 0.9, "dampening": 0.3},
        {"momentum": 0.9, "weight_decay": 0.01},
        {"momentum": 0.9, "weight_decay": 0.01, "nesterov": True, "maximize": True},
    ],
)
def test_steps_equal_sgd_bit_by_bit_when_all_powers_are_one(  # NSGD-C6
    settings: dict[str, Any], foreach: bool, draw: Draw
) -> None:
    # Four one-hot rows: their squared sum is 4, whose root is exact, so the power is exactly 1; and eps is 0.
    x, labels = torch.eye(6)[:4], torch.tensor([0, 1, 2, 0])
    ours = nn.Linear(6, 3)
    theirs = copy.deepcopy(ours)
    optimizers = [
        NSGD(ours, lr=0.3, eps=0.0, foreach=foreach, **settings),
        torch.optim.SGD(theirs.parameters(), lr=0.3, foreach=foreach, **settings),
    ]
    for _ in range(10):
        for model, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            cross_entropy(model(x), labels).backward()
            optimizer.step()
        assert torch.equal(ours.weight, theirs.weight)
        assert torch.equal(ours.bias, theirs.bias)


def test_step_divides_then_decays_then_accelerates(draw: Draw) -> None:
    layer = nn.Linear(3, 2, bias=False)
    x, eps, decay, momentum, lr = draw(5, 3), 0.01, 0.1, 0.9, 0.2
    expected, buffer = layer.weight.detach().clone(), None
    optimizer = NSGD(layer, lr=lr, momentum=momentum, weight_decay=decay, eps=eps)
    for _ in range(3):
        optimizer.zero_grad()
        layer(x).square().sum().backward()
        gradient = 2 * (x @ expected.T).T @ x
        step = gradient / (eps + x.square().sum(1).mean()) + decay * expected
        buffer = step if buffer is None else momentum * buffer + step
        expected = expected - lr * buffer
        optimizer.step()
    torch.testing.assert_close(layer.weight.detach(), expected)


def test_gradients_are_left_as_they_are(convnet: nn.Module, draw: Draw) -> None:
    optimizer = NSGD(convnet, lr=0.1, momentum=0.9, weight_decay=0.1)
    cross_entropy(convnet(draw(4, 4, 8, 8)), torch.arange(4)).backward()
    before = [parameter.grad.clone() for parameter in convnet.parameters() if parameter.grad is not None]
    optimizer.step()
    for parameter, gradient in zip(convnet.parameters(), before, strict=True):
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, gradient)


def test_biases_take_plain_sgd_steps(draw: Draw) -> None:
    layer = nn.Linear(3, 2)
    bias = layer.bias.detach().clone()
    optimizer = NSGD(layer, lr=0.5)
    layer(10 * draw(4, 3)).sum().backward()
    optimizer.step()
    torch.testing.assert_close(layer.bias.detach(), bias - 0.5 * 4)


def test_power_follows_the_closed_form_of_its_recursion() -> None:  # NSGD-C10
    layer = nn.Linear(1, 1, bias=False)
    beta, inputs = 0.7, [2.0, 1.0, 3.0, 0.5]
    optimizer = NSGD(layer, lr=0.01, beta=beta)
    for t, x in enumerate(inputs, start=1):
        optimizer.zero_grad()
        layer(torch.tensor([[x]])).sum().backward()
        optimizer.step()
        expected = beta ** (t - 1) * inputs[0] ** 2
        expected += (1 - beta) * sum(beta ** (t - s) * inputs[s - 1] ** 2 for s in range(2, t + 1))
        assert optimizer.powers()["weight"].power == pytest.approx(expected)
        assert optimizer.state[layer.weight]["step"] == t


@pytest.mark.parametrize("reduce", ["batch", "channel", "sample"])
def test_resume_from_a_saved_state_is_bitwise(reduce: Any, convnet: nn.Module, draw: Draw) -> None:  # NSGD-C12
    images, beta = draw(8, 4, 8, 8), 0.0 if reduce == "sample" else 0.8
    first = NSGD(convnet, lr=0.1, momentum=0.9, reduce=reduce, beta=beta)
    train(convnet, first, images, 3)
    file = io.BytesIO()
    torch.save({"model": convnet.state_dict(), "optimizer": first.state_dict()}, file)
    train(convnet, first, images, 3)
    first.close()
    resumed = copy.deepcopy(convnet)
    second = NSGD(resumed, lr=0.9, momentum=0.9, reduce=reduce, beta=beta)  # the rate comes from the state
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    resumed.load_state_dict(saved["model"])
    second.load_state_dict(saved["optimizer"])
    train(resumed, second, images, 3)
    for mine, theirs in zip(resumed.parameters(), convnet.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_powers_stay_float32_under_bfloat16_parameters_and_after_loading() -> None:
    layer = nn.Linear(3, 2, dtype=torch.bfloat16)
    optimizer = NSGD(layer, lr=0.1, momentum=0.9, reduce="channel")
    layer(torch.tensor([[1.0, 1.0078125, 3.0]], dtype=torch.bfloat16)).sum().backward()
    optimizer.step()
    again = NSGD(layer, lr=0.1, momentum=0.9, reduce="channel")
    again.load_state_dict(optimizer.state_dict())
    for state in (optimizer.state[layer.weight], again.state[layer.weight]):
        assert state["power"].dtype == torch.float32
        # 1.0078125 squared has 15 bits and bfloat16 keeps 8; a root and a square may cost the last bit of float32.
        torch.testing.assert_close(state["power"], torch.tensor([1.0, 1.0078125**2, 9.0]), rtol=2e-7, atol=0)
        assert state["momentum_buffer"].dtype == torch.bfloat16
    assert again.state[layer.weight]["power"] is not optimizer.state[layer.weight]["power"]


def test_momentum_of_sgd_can_be_loaded(draw: Draw) -> None:
    layer = nn.Linear(3, 2)
    sgd = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    layer(draw(4, 3)).sum().backward()
    sgd.step()
    optimizer = NSGD(layer, lr=0.5, eps=0.125)
    optimizer.load_state_dict(sgd.state_dict())
    assert torch.equal(optimizer.state[layer.weight]["momentum_buffer"], sgd.state[layer.weight]["momentum_buffer"])
    assert optimizer.param_groups[0]["eps"] == 0.125
    assert optimizer.param_groups[0]["momentum"] == 0.9


def test_groups_have_rates_and_denominators_of_their_own(draw: Draw) -> None:
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 1, bias=False))
    x = draw(4, 3)
    groups = [
        {"params": [("body", model[0].weight)], "lr": 0.5},
        {"params": [("head", model[1].weight)], "denominator": "log"},
    ]
    optimizer = NSGD(model, lr=0.1, params=groups)
    model(x).sum().backward()
    hidden = model[0](x).detach()
    optimizer.step()
    readings = optimizer.powers()
    first, second = x.square().sum(1).mean(), hidden.square().sum(1).mean()
    assert readings["0.weight"].learning_rate[0] == pytest.approx(0.5 / (0.01 + first.item()))
    assert readings["1.weight"].learning_rate[1] == pytest.approx(0.1 / max(second.log().item(), 0.01))


def test_scheduler_and_closure_drive_it_like_any_optimizer(draw: Draw) -> None:
    layer = nn.Linear(3, 1)
    optimizer = NSGD(layer, lr=0.2)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    x = draw(4, 3)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = layer(x).square().mean()
        loss.backward()
        return loss

    before = optimizer.step(closure)
    scheduler.step()
    after = optimizer.step(closure)
    scheduler.step()
    assert after < before
    assert optimizer.param_groups[0]["lr"] == 0.05


def test_added_group_is_normalised_like_the_first(draw: Draw) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    optimizer = NSGD(model, lr=0.1, params=model[1].parameters())
    optimizer.add_param_group({"params": model[0].parameters(), "lr": 0.2})
    model(draw(4, 3)).sum().backward()
    optimizer.step()
    assert set(optimizer.powers()) == {"0.weight", "1.weight"}


def test_close_gives_the_model_back(convnet: nn.Module, draw: Draw) -> None:
    for reduce in ("batch", "sample"):
        with NSGD(convnet, lr=0.1, reduce=reduce) as optimizer:
            train(convnet, optimizer, draw(4, 4, 8, 8), 1)
        assert not any(module._forward_hooks or "forward" in vars(module) for module in convnet.modules())
        with pytest.raises(StateError, match="is closed: it sees no inputs"):
            optimizer.step()


def test_model_is_free_again_when_the_optimizer_is_let_go(convnet: nn.Module) -> None:
    optimizer = NSGD(convnet, lr=0.1)
    first = convnet.get_submodule("0")
    assert first._forward_hooks
    del optimizer
    gc.collect()
    assert not first._forward_hooks


@pytest.mark.parametrize("reduce", ["batch", "sample"])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copy_of_a_watched_model_is_not_watched(
    reduce: Any, copied: Callable[[nn.Module], nn.Module], convnet: nn.Module, draw: Draw
) -> None:
    images = draw(4, 4, 8, 8)
    optimizer = NSGD(convnet, lr=0.1, reduce=reduce)
    twin = copied(convnet)
    cross_entropy(convnet(images), torch.arange(4)).backward()
    cross_entropy(twin(10 * images), torch.arange(4)).backward()
    torch.testing.assert_close(twin(images), convnet(images))
    optimizer.step()
    watched = optimizer.powers()["0.weight"].power
    optimizer.zero_grad()
    cross_entropy(convnet(images), torch.arange(4)).backward()
    optimizer.step()
    assert optimizer.powers()["0.weight"].power == watched
    with NSGD(twin, lr=0.1, reduce=reduce) as second:
        cross_entropy(twin(images), torch.arange(4)).backward()
        second.step()
        assert len(second.powers()) == 3


@pytest.mark.parametrize("reduce", ["batch", "sample"])
def test_saved_model_is_loaded_without_modicum(reduce: Any, convnet: nn.Module, draw: Draw) -> None:
    images, file = draw(4, 4, 8, 8), io.BytesIO()
    optimizer = NSGD(convnet, lr=0.1, reduce=reduce)
    train(convnet, optimizer, images, 1)
    torch.save(convnet, file)
    assert b"modicum" not in file.getvalue()
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(images), convnet(images))


def test_copy_of_the_optimizer_alone_is_refused() -> None:
    optimizer = NSGD(nn.Linear(2, 2), lr=0.1)
    with pytest.raises(StateError, match=r"cannot be copied or pickled. Save its state_dict"):
        copy.deepcopy(optimizer)


def test_second_optimizer_is_refused_while_the_first_scales_single_instances() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    first = NSGD(model, lr=0.1, reduce="sample")
    for reduce in ("sample", "batch"):
        with pytest.raises(StateError, match=r'already replaced by an NSGD with reduce="sample". Call close'):
            NSGD(model, lr=0.1, reduce=reduce)
    first.close()
    NSGD(model, lr=0.1, reduce="sample")


def test_sparse_and_complex_gradients_are_refused() -> None:
    table = nn.Embedding(4, 2, sparse=True)
    optimizer = NSGD(table, lr=0.1)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(ModelError, match=r"dense real gradients, but that of weight is sparse. Build an embedding"):
        optimizer.step()
    layer = nn.Linear(2, 2, bias=False, dtype=torch.complex64)
    layer.weight.grad = torch.ones_like(layer.weight)
    with pytest.raises(ModelError, match="that of weight is complex"):
        NSGD(layer, lr=0.1).step()


def test_models_that_cannot_be_trained_are_refused() -> None:
    with pytest.raises(ModelError, match=r"no trainable parameter. Set requires_grad"):
        NSGD(nn.Linear(2, 2).requires_grad_(False), lr=0.1)
    with pytest.raises(ModelError, match=r"no shape yet. Run one forward pass"):
        NSGD(nn.LazyLinear(2), lr=0.1)


def test_parameter_of_another_model_is_refused() -> None:
    model, other = nn.Linear(2, 2), nn.Linear(3, 5)
    with pytest.raises(ModelError, match=r"shape \(5, 3\) is not one of the model"):
        NSGD(model, lr=0.1, params=other.parameters())
    optimizer = NSGD(model, lr=0.1)
    with pytest.raises(ModelError, match="Pass the model that owns it"):
        optimizer.add_param_group({"params": other.weight})
    assert len(optimizer.param_groups) == 1


def test_synchronize_needs_initialised_ranks() -> None:
    layer = nn.Linear(2, 2)
    optimizer = NSGD(layer, lr=0.1, synchronize=True)
    with pytest.raises(StateError, match=r"needs torch.distributed, which is not initialized"):
        optimizer.step()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda model: model.parameters(), "an object of type generator"),
        (lambda model: list(model.parameters()), "an object of type list"),
        (lambda model: [{"params": model.parameters()}], "an object of type list"),
        (lambda model: model.weight, "an object of type Parameter"),
        (lambda model: "model.pt", "text"),
    ],
)
def test_what_is_no_model_is_refused_with_what_to_write(make: Callable[[nn.Linear], Any], words: str) -> None:
    with pytest.raises(ConfigError, match=rf"takes the model itself, .* but it got {words}. Write NSGD\(model, lr="):
        NSGD(make(nn.Linear(2, 2)), lr=0.1)


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("kind", ["AdamW", "RMSprop", "Adagrad"])
def test_state_of_another_optimizer_is_refused(kind: str, trained: bool, draw: Draw) -> None:
    layer = nn.Linear(2, 2)
    other = getattr(torch.optim, kind)(layer.parameters(), lr=0.1)
    if trained:
        layer(draw(3, 2)).sum().backward()
        other.step()
    optimizer = NSGD(layer, lr=0.5)
    with pytest.raises(ConfigError, match=r"not the state of an NSGD or an SGD: it (has|lacks) .* Begin with a new"):
        optimizer.load_state_dict(other.state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_state_with_another_reduction_is_refused() -> None:
    layer = nn.Linear(2, 2)
    saved = NSGD(layer, lr=0.1, reduce="channel").state_dict()
    with pytest.raises(ConfigError, match=r"All groups of this NSGD have reduce 'batch', but one has 'channel'"):
        NSGD(layer, lr=0.1).load_state_dict(saved)


@pytest.mark.parametrize("reduce", ["batch", "channel", "sample"])
def test_without_eps_inputs_of_zeros_leave_the_weights(reduce: Any, draw: Draw) -> None:
    layer = nn.Linear(3, 2, bias=False)
    before = layer.weight.detach().clone()
    optimizer = NSGD(layer, lr=0.1, eps=0.0, reduce=reduce, max_norm=1.0)
    layer(torch.zeros(4, 3)).sum().backward()
    optimizer.step()
    assert torch.equal(layer.weight, before)
    x = draw(4, 3) * torch.tensor([1.0, 0.0, 1.0]) * torch.tensor([[1.0], [0.0], [1.0], [1.0]])
    optimizer.zero_grad()
    layer(x).square().sum().backward()
    optimizer.step()
    assert torch.equal(layer.weight[:, 1], before[:, 1])
    assert not torch.equal(layer.weight, before)
    assert layer.weight.isfinite().all()


def test_powers_report_the_rate_of_the_last_step_not_of_the_next() -> None:
    layer = nn.Linear(1, 1, bias=False)
    optimizer = NSGD(layer, lr=1.0, eps=0.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.1)
    layer(torch.tensor([[2.0]])).sum().backward()
    optimizer.step()
    scheduler.step()
    assert optimizer.powers()["weight"].learning_rate == (0.25, 0.25)


def test_a_linear_layer_with_another_name_for_its_input_takes_plain_steps() -> None:
    class Renamed(nn.Linear):
        def forward(self, hidden: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
            return super().forward(hidden)

    optimizer = NSGD(layer := Renamed(3, 2), lr=0.1)
    layer(hidden=torch.ones(4, 3)).sum().backward()
    with pytest.warns(UserWarning, match="not seen the input of these weights: weight"):
        optimizer.step()
