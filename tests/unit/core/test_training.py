"""The arguments that every training by transformers.Trainer shares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import Trainer, TrainingArguments

from modicum.core import training
from modicum.core.training import silenced, telling, training_arguments
from modicum.errors import ConfigError


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Linear(1, 1)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": (self.slope(x) - labels).square().mean()}


def test_a_training_is_silent_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows: Any = [{"x": torch.ones(1), "labels": torch.ones(1)} for _ in range(8)]
    folder = tmp_path / "out"
    arguments = training_arguments(str(folder), seed=3, device="cpu", extra="text", max_steps=2)
    silenced(Trainer(model=Line(), args=arguments, train_dataset=rows)).train()
    assert capsys.readouterr().out == ""
    assert not folder.exists() or not list(folder.iterdir())


@pytest.mark.parametrize(("every", "words"), [(0.0, 3), (60.0, 0)])
def test_a_long_training_says_how_far_it_is(tmp_path: Path, every: float, words: int) -> None:
    rows: Any = [{"x": torch.ones(1), "labels": torch.ones(1)} for _ in range(8)]
    arguments = training_arguments(str(tmp_path), seed=3, device="cpu", extra="text", max_steps=4)
    said: list[str] = []
    callback = telling(said.append, extra="text", every=every)
    silenced(Trainer(model=Line(), args=arguments, train_dataset=rows, callbacks=[callback])).train()
    assert said == [f"update {step} of 4, about 1 min left" for step in range(1, words + 1)]


def test_what_is_left_goes_by_what_it_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: Any = [{"x": torch.ones(1), "labels": torch.ones(1)} for _ in range(8)]
    arguments = training_arguments(str(tmp_path), seed=3, device="cpu", extra="text", max_steps=1000)
    now, said = [0.0], list[str]()

    def minute(*_: Any, **__: Any) -> float:
        now[0] += 60
        return now[0]

    trainer = Trainer(model=Line(), args=arguments, train_dataset=rows)
    callback = telling(said.append, extra="text")
    monkeypatch.setattr(training.time, "monotonic", minute)
    callback.on_train_begin(arguments, trainer.state, trainer.control)
    trainer.state.max_steps = 1000
    for step in (1, 2):
        trainer.state.global_step = step
        callback.on_step_end(arguments, trainer.state, trainer.control)
    assert said == ["update 1 of 1,000, about 999 min left", "update 2 of 1,000, about 998 min left"]


def test_noise_and_order_have_streams_of_their_own() -> None:
    first, again, other = (training_arguments("out", seed=seed, device="cpu", extra="text") for seed in (3, 3, 4))
    assert (first.seed, first.data_seed) == (again.seed, again.data_seed)
    assert len({first.seed, first.data_seed, other.seed, other.data_seed}) == 4


def test_several_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrainingArguments, "n_gpu", property(lambda _: 2))
    with pytest.raises(ConfigError, match="One GPU was expected, but 2 are visible"):
        training_arguments("out", seed=0, device="cuda", extra="text")
