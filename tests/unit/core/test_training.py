"""Trainings that every method shares: by transformers.Trainer, and by the plain loop for small networks."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ConstantLR
from transformers import TrainingArguments

from modicum.core import training
from modicum.core.training import fine_tune, parameter_groups, reporting, train_classifier
from modicum.errors import ConfigError


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Linear(1, 1)
        nn.init.ones_(self.slope.weight)
        nn.init.zeros_(self.slope.bias)
        self.seen: list[float] = []

    def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        self.seen += x.flatten().tolist()
        return {"loss": (self.slope(x) - labels).square().mean()}


ROWS: Any = [{"x": torch.tensor([float(row)]), "labels": torch.ones(1)} for row in range(8)]
SHORT: dict[str, Any] = {"device": "cpu", "extra": "text", "per_device_train_batch_size": 2}


def seen(seed: int, **settings: Any) -> list[float]:
    model = Line()
    fine_tune(model, ROWS, seed=seed, num_train_epochs=2, **SHORT, **settings)
    return model.seen


def test_a_training_is_silent_and_writes_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    model, before = Line(), torch.get_rng_state()
    _, result = fine_tune(model, ROWS, seed=3, max_steps=2, **SHORT)
    assert result.global_step == 2
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())
    assert torch.equal(torch.get_rng_state(), before)


def test_a_folder_keeps_checkpoints_from_which_a_training_goes_on(tmp_path: Path) -> None:
    whole, resumed = Line(), Line()
    fine_tune(whole, ROWS, seed=3, max_steps=4, folder=tmp_path, save_strategy="steps", save_steps=2, **SHORT)
    fine_tune(resumed, ROWS, seed=3, max_steps=4, resume=tmp_path / "checkpoint-2", **SHORT)
    assert torch.equal(whole.slope.weight, resumed.slope.weight)
    assert resumed.seen == whole.seen[4:]


def test_the_seed_decides_the_order_and_a_sampler_stands_for_it() -> None:
    assert seen(3) == seen(3) != seen(4)
    assert sorted(seen(3)[:8]) == [float(row) for row in range(8)]
    assert seen(3)[:8] != seen(3)[8:], "the epochs have one order"
    assert seen(3, sampler=range(7, -1, -1)) == [7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0] * 2


def test_a_loss_stands_for_the_models_own() -> None:
    model = Line()
    fine_tune(model, ROWS, seed=3, loss=lambda model, inputs: 0 * model(**inputs)["loss"], max_steps=2, **SHORT)
    assert [parameter.item() for parameter in model.parameters()] == [1.0, 0.0]


def test_parameters_are_grouped_by_rate_and_vectors_do_not_decay() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3), nn.Linear(3, 1))
    model[1].requires_grad_(requires_grad=False)
    groups = parameter_groups(
        model, rate=0.1, weight_decay=0.5, factor=lambda name: 0.5 if name.startswith("0.") else 1.0
    )
    found = {id(parameter): (group["lr"], group["weight_decay"]) for group in groups for parameter in group["params"]}
    assert [found.get(id(parameter)) for parameter in model.parameters()] == [
        *((0.05, 0.5), (0.05, 0.0), None, None),
        *((0.1, 0.5), (0.1, 0.0)),
    ]


@pytest.mark.parametrize(("drop_last", "steps"), [(False, [2, 2, 1]), (True, [2, 2])])
def test_a_small_network_sees_each_example_once_an_epoch(*, drop_last: bool, steps: list[int]) -> None:
    network, batches = nn.Linear(1, 2), list[int]()
    network.register_forward_hook(lambda _, args, __: batches.append(len(args[0])))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    order = torch.Generator().manual_seed(0)
    data = torch.arange(5.0)[:, None], torch.tensor([0, 1, 0, 1, 1])
    settings: dict[str, Any] = {"epochs": 2, "batch": 2, "order": order, "drop_last": drop_last}
    train_classifier(network, *data, optimizer, ConstantLR(optimizer), **settings)
    assert batches == 2 * steps


def test_a_small_network_that_diverged_is_not_trained_on() -> None:
    network, calls = nn.Linear(1, 2), list[int]()
    network.register_forward_hook(lambda *_: calls.append(1))
    optimizer = torch.optim.SGD(network.parameters(), lr=float("inf"))
    order = torch.Generator().manual_seed(0)
    data = torch.ones(2, 1), torch.tensor([0, 1])
    train_classifier(network, *data, optimizer, ConstantLR(optimizer), epochs=5, batch=1, order=order)
    assert len(calls) == 2


@pytest.mark.parametrize(("every", "words"), [(0.0, 3), (60.0, 0)])
def test_a_long_training_says_how_far_it_is(every: float, words: int) -> None:
    said: list[str] = []
    fine_tune(Line(), ROWS, seed=3, max_steps=4, callbacks=[reporting(said.append, extra="text", every=every)], **SHORT)
    assert said == [f"update {step} of 4, about 1 min left" for step in range(1, words + 1)]


def test_what_is_left_goes_by_what_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    now, said = [0.0], list[str]()

    def minute(*_: Any, **__: Any) -> float:
        now[0] += 60
        return now[0]

    callback = reporting(said.append, extra="text")
    monkeypatch.setattr(training.time, "monotonic", minute)
    callback.on_train_begin(None, None, None)  # type: ignore[arg-type]
    for step in (1, 2):
        state: Any = type("State", (), {"global_step": step, "max_steps": 1000})
        callback.on_step_end(None, state, None)  # type: ignore[arg-type]
    assert said == ["update 1 of 1,000, about 999 min left", "update 2 of 1,000, about 998 min left"]


def test_several_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrainingArguments, "n_gpu", property(lambda _: 2))
    with pytest.raises(ConfigError, match="One GPU was expected, but 2 are visible"):
        fine_tune(Line(), ROWS, seed=0, device="cuda", extra="text")
