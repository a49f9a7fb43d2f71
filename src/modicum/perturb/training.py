"""Fine-tuning by transformers.Trainer, reproducible from a seed and without a trace outside of the job."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from torch import Tensor, nn

from modicum.core.seeding import seeded_globally
from modicum.core.training import silenced, training_arguments

if TYPE_CHECKING:
    from transformers import PreTrainedModel, Trainer, TrainerCallback


Loss: TypeAlias = Callable[[nn.Module, Mapping[str, Tensor]], Tensor]

LOSS_EXAMPLES = 1000  # that the final training loss is taken over at most, ours: it is a reading, not a result


@dataclass(frozen=True, slots=True)
class Problem:
    """What is to be learnt: the same for all arms."""

    model: PreTrainedModel  # with its new head
    train: Sequence[dict[str, Any]]  # the examples, as the model's forward takes them, with "labels"
    held_out: Sequence[dict[str, Any]]  # those that are scored
    collate: Callable[[list[dict[str, Any]]], Mapping[str, Tensor]] | None = None  # makes a batch of examples


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How to train: AdamW, 10 % warm-up, then linear decay."""

    epochs: int  # passes over the training examples
    batch: int  # examples an update
    rate: float  # largest learning rate


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What an arm does otherwise than vanilla fine-tuning."""

    callbacks: Sequence[TrainerCallback] = field(default_factory=tuple)  # for the Trainer
    loss: Loss | None = None  # in place of the model's own, in training only
    neftune: float | None = None  # noise level of NEFTune, for Trainer's own option
    passes: int = 1  # forward passes an update


@dataclass(frozen=True, slots=True)
class Result:
    """What a fine-tuning ended with."""

    outputs: np.ndarray  # of the model on the held-out examples, float, shape (n, classes) or (n, 1)
    training_loss: float  # the model's own loss on at most 1,000 training examples, without dropout and noise
    seconds: float  # of the training loop alone


def fine_tune(problem: Problem, recipe: Recipe, *, seed: int, device: str, change: Change | None = None) -> Result:
    """Train the model in place, and give its answers on the held-out examples."""
    # The order of the examples depends on the seed alone, whatever else is drawn, so that all arms share it.
    change = change or Change()
    with tempfile.TemporaryDirectory() as folder, seeded_globally(seed, "noise"):
        trainer = _trainer(problem, recipe, folder=folder, seed=seed, device=device, change=change)
        metrics = trainer.train().metrics
        outputs = trainer.predict(problem.held_out).predictions  # type: ignore[arg-type]
        loss = trainer.evaluate(problem.train[:LOSS_EXAMPLES])["eval_loss"]  # type: ignore[arg-type]
    return Result(outputs=np.asarray(outputs), training_loss=float(loss), seconds=metrics["train_runtime"])


def _trainer(problem: Problem, recipe: Recipe, *, folder: str, seed: int, device: str, change: Change) -> Trainer:
    from transformers import Trainer

    class _Trainer(Trainer):
        def compute_loss(self, model: nn.Module, inputs: dict[str, Tensor], *args: Any, **options: Any) -> Any:
            if change.loss is not None and model.training:
                return change.loss(model, inputs)
            return super().compute_loss(model, inputs, *args, **options)

    arguments = training_arguments(
        folder,
        seed=seed,
        device=device,
        extra="text",
        per_device_train_batch_size=recipe.batch,
        per_device_eval_batch_size=64,
        num_train_epochs=recipe.epochs,
        learning_rate=recipe.rate,
        weight_decay=0.01,
        adam_epsilon=1e-6,
        warmup_steps=0.1,  # below 1 it is a share of the updates
        lr_scheduler_type="linear",
        neftune_noise_alpha=change.neftune,
    )
    return silenced(
        _Trainer(
            model=problem.model,
            args=arguments,
            train_dataset=problem.train,  # type: ignore[arg-type]
            data_collator=problem.collate,  # type: ignore[arg-type]
            callbacks=list(change.callbacks),
        )
    )
