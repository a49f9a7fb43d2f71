from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments

from modicum.errors import StateError
from modicum.perturb import HyPe, HyPeCallback, HyPeConfig

MakeBert = Callable[..., BertForSequenceClassification]
Batch = dict[str, Tensor]
CONFIG = HyPeConfig(sigma=0.05)


@pytest.fixture
def make_trainer(make_bert: MakeBert, batch: Batch, tmp_path: Path) -> Callable[..., Trainer]:
    rows = [{name: value[index] for name, value in batch.items()} for index in range(6)]

    def make(*callbacks: TrainerCallback, **settings: Any) -> Trainer:
        defaults: dict[str, Any] = {
            "max_steps": 4,
            "per_device_train_batch_size": 2,
            "learning_rate": 1e-2,
            "report_to": "none",
            "use_cpu": True,
            "disable_tqdm": True,
            "dataloader_pin_memory": False,
            "save_strategy": "no",
        }
        arguments = TrainingArguments(str(tmp_path / "runs"), **(defaults | settings))
        return Trainer(make_bert(), arguments, train_dataset=rows, callbacks=list(callbacks))  # pyright: ignore[reportArgumentType]

    return make


def bert_of(trainer: Trainer) -> BertForSequenceClassification:
    assert isinstance(trainer.model, BertForSequenceClassification)
    return trainer.model


def weights(trainer: Trainer) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in bert_of(trainer).parameters()]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(mine, yours) for mine, yours in zip(one, other, strict=True))


def hooks(trainer: Trainer) -> int:
    return sum(len(module._forward_pre_hooks) for module in bert_of(trainer).modules())


# HYPE-C9
@pytest.mark.filterwarnings("ignore:.*pin_memory")
def test_resuming_from_a_checkpoint_is_equal_to_not_stopping(make_trainer: Callable[..., Trainer]) -> None:
    whole = make_trainer(HyPeCallback(CONFIG), save_strategy="steps", save_steps=2)
    whole.train()
    resumed = make_trainer(HyPeCallback(CONFIG))
    resumed.train(resume_from_checkpoint=f"{whole.args.output_dir}/checkpoint-2")
    assert same(weights(whole), weights(resumed))
    plain = make_trainer()
    plain.train()
    assert not same(weights(whole), weights(plain))


def test_the_parts_of_an_accumulated_batch_have_their_own_places(make_trainer: Callable[..., Trainer]) -> None:
    places: list[tuple[int, int]] = []

    class Watch(HyPeCallback):
        def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
            super().on_train_begin(*args, **kwargs)
            hype = self._hype
            assert isinstance(hype, HyPe)
            kwargs["model"].register_forward_hook(lambda *_: places.append(hype.position))

    make_trainer(Watch(CONFIG), gradient_accumulation_steps=3, max_steps=2).train()
    assert places == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3)]


def test_the_model_is_what_it_was_after_training(make_trainer: Callable[..., Trainer]) -> None:
    trainer = make_trainer(HyPeCallback(CONFIG))
    trainer.train()
    assert hooks(trainer) == 0
    assert bert_of(trainer).bert.embeddings.dropout.p == 0.1


class Fail(TrainerCallback):
    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt


def test_an_error_in_training_leaves_no_hook_in_a_with_block(make_trainer: Callable[..., Trainer]) -> None:
    callback = HyPeCallback(CONFIG)
    trainer = make_trainer(callback, Fail())
    with pytest.raises(KeyboardInterrupt), callback:
        trainer.train()
    assert hooks(trainer) == 0
    assert bert_of(trainer).bert.embeddings.dropout.p == 0.1


def test_training_again_after_an_error_takes_off_what_is_left(make_trainer: Callable[..., Trainer]) -> None:
    trainer = make_trainer(HyPeCallback(CONFIG), Fail())
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert hooks(trainer) > 0
    trainer.remove_callback(Fail)
    trainer.train()
    assert hooks(trainer) == 0


def test_the_next_training_of_the_model_takes_off_what_another_callback_left(
    make_trainer: Callable[..., Trainer],
) -> None:
    interrupted = make_trainer(HyPeCallback(CONFIG), Fail())
    with pytest.raises(KeyboardInterrupt):
        interrupted.train()
    again = make_trainer(HyPeCallback(CONFIG), HyPeCallback(CONFIG))
    again.model = again.model_wrapped = interrupted.model
    with pytest.raises(StateError, match=r"attached to this model already. Call its remove\(\) first, or that of its"):
        again.train()  # two at once stay an error
    last = make_trainer(HyPeCallback(CONFIG))
    last.model = last.model_wrapped = interrupted.model
    last.train()
    assert hooks(interrupted) == 0
    assert bert_of(interrupted).bert.embeddings.dropout.p == 0.1


def test_the_package_does_not_import_transformers_until_the_callback_is_used() -> None:
    script = "import sys, modicum.perturb as p; p.HyPe, p.HyPeConfig; assert 'transformers' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
