# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""Training: a pre-trained model by transformers.Trainer, or a small network by a plain loop, both from a seed."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from modicum.core.extras import quiet_transformers, require
from modicum.core.seeding import legacy_seed, seeded_globally
from modicum.errors import ConfigError

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from transformers import Trainer, TrainerCallback, TrainerState
    from transformers.trainer_utils import TrainOutput

Loss: TypeAlias = Callable[[nn.Module, Mapping[str, Any]], Tensor]


def fine_tune(
    model: nn.Module,
    data: Sequence[Any],
    *,
    seed: int,
    device: str,
    extra: str,
    collate: Callable[[list[Any]], Mapping[str, Any]] | None = None,
    loss: Loss | None = None,
    sampler: Any = None,
    callbacks: Sequence[TrainerCallback] = (),
    optimizers: tuple[Optimizer | None, Any] = (None, None),
    folder: Path | None = None,
    resume: Path | None = None,
    **arguments: Any,
) -> tuple[Trainer, TrainOutput]:
    """Train a model in place, silently and without a trace on disk; ``arguments`` are those of TrainingArguments."""
    # A folder keeps the checkpoints that the arguments ask for, and training goes on from the one to resume.
    # ``loss`` stands for the model's own in training alone, ``sampler`` for Trainer's; None leaves either. The order of
    # the examples depends on the seed alone, whatever else is drawn, so that arms share it.
    transformers = require("transformers", extra=extra, purpose="Training by transformers.Trainer")

    class _Trainer(transformers.Trainer):
        def compute_loss(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **options: Any) -> Any:
            if loss is not None and model.training:
                return loss(model, inputs)
            return super().compute_loss(model, inputs, *args, **options)

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return super()._get_train_sampler(train_dataset) if sampler is None else sampler

    quiet: dict[str, Any] = {
        "seed": legacy_seed(seed, "noise"),
        "data_seed": legacy_seed(seed, "order"),
        "use_cpu": device == "cpu",
        "dataloader_pin_memory": device != "cpu",
        "save_strategy": "no",
        "logging_strategy": "no",
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
    }
    with tempfile.TemporaryDirectory() as nowhere, seeded_globally(seed, "noise"), quiet_transformers():
        given = transformers.TrainingArguments(output_dir=folder or nowhere, **{**quiet, **arguments})
        if given.n_gpu > 1:
            raise ConfigError(
                f"One GPU was expected, but {given.n_gpu} are visible, and each batch would grow with them.",
                hint="Show one to the command: CUDA_VISIBLE_DEVICES=0 modicum ...",
            )
        trainer = _Trainer(
            model=model,
            args=given,
            train_dataset=data,
            data_collator=collate,
            callbacks=list(callbacks),
            optimizers=optimizers,
        )
        trainer.remove_callback(transformers.PrinterCallback)  # stdout belongs to the command
        return trainer, trainer.train(resume_from_checkpoint=None if resume is None else str(resume))


def parameter_groups(
    model: nn.Module, *, rate: float, weight_decay: float, factor: Callable[[str], float]
) -> list[dict[str, Any]]:
    """Group the parameters that are trained by learning rate and weight decay, which biases and norms do not have."""
    groups: dict[tuple[float, bool], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((factor(name), parameter.ndim > 1), []).append(parameter)
    return [
        {"params": parameters, "lr": rate * share, "weight_decay": weight_decay if decays else 0.0}
        for (share, decays), parameters in groups.items()
    ]


def train_classifier(
    network: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    optimizer: Optimizer,
    schedule: Any,
    *,
    epochs: int,
    batch: int,
    order: torch.Generator,
    drop_last: bool = False,
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
) -> None:
    """Train a small network in place by cross-entropy, one step of the schedule a batch."""
    network.train()
    for _ in range(epochs):
        rows = torch.randperm(len(inputs), generator=order).to(inputs.device).split(batch)
        for index in rows[: max(1, len(inputs) // batch)] if drop_last else rows:
            chosen = inputs[index] if augment is None else augment(inputs[index], order)
            optimizer.zero_grad()
            cross_entropy(network(chosen), labels[index]).backward()
            optimizer.step()
            schedule.step()
        if not all(parameter.isfinite().all() for parameter in network.parameters()):
            return  # diverged: what follows would change nothing


def reporting(report: Callable[[str], None], *, extra: str, every: float = 30.0) -> TrainerCallback:
    """Make a callback for Trainer that says how far a training is and how long it will take."""
    transformers = require("transformers", extra=extra, purpose="Training by transformers.Trainer")
    began = last = time.monotonic()

    class Reporting(transformers.TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            nonlocal began, last
            began = last = time.monotonic()

        def on_step_end(self, _: Any, state: TrainerState, *__: Any, **___: Any) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last < every or state.global_step == state.max_steps:
                return
            last = now
            left = (now - began) / state.global_step * (state.max_steps - state.global_step)
            report(f"update {state.global_step:,} of {state.max_steps:,}, about {max(1, round(left / 60)):,} min left")

    return Reporting()
