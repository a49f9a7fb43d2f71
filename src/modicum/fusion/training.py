"""Training by transformers.Trainer, reproducible from a seed, which keeps one epoch chosen by the validation split."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from modicum.core import training
from modicum.core.extras import require
from modicum.errors import ConfigError, DataError, RunError
from modicum.fusion.batches import Collator, Items, batches_of_like_length, moved
from modicum.fusion.modeling import CubeMLPForPrediction, prediction_loss

if TYPE_CHECKING:
    from transformers import TrainerCallback
else:
    TrainerCallback = require("transformers", extra="fusion", purpose="Training").TrainerCallback


_DECAY = 0.1  # of the rate at a step, as in the released code


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How long and how fast to train with AdamW; the values are those that the released code gives for CMU-MOSI.

    Args:
        epochs: passes over the training split.
        batch: samples an update.
        rate: learning rate of all but the text encoder.
        text_rate: share of it that the text encoder has.
        weight_decay: of weights, not of biases and norms; 0 makes AdamW the Adam of the released code.
        clip: largest absolute value of each entry of a gradient, by `torch.nn.utils.clip_grad_value_` before each
            update, in place of Trainer's clipping by norm; 0 leaves gradients as they are.
        schedule: of the rates: "step" multiplies them by 0.1 each ``step`` epochs, "linear" takes them to 0, "none"
            leaves them.
        step: epochs between two steps.
        patience: epochs without a lower validation loss after which training ends; None trains to the end.

    Raises:
        ConfigError: if a number is out of range.
    """

    epochs: int = 70
    batch: int = 128
    rate: float = 4e-3
    text_rate: float = 0.01
    weight_decay: float = 0.0
    clip: float = 1.0
    schedule: Literal["step", "linear", "none"] = "step"
    step: int = 60
    patience: int | None = None

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch, self.step) < 1 or (self.patience is not None and self.patience < 1):
            raise ConfigError(
                f"epochs is {self.epochs}, batch {self.batch}, step {self.step}, patience {self.patience}.",
                hint="Give at least 1 of each.",
            )
        if not self.rate > 0 or not min(self.text_rate, self.weight_decay, self.clip) >= 0:
            raise ConfigError(
                f"rate is {self.rate}, text_rate {self.text_rate}, weight_decay {self.weight_decay}, clip {self.clip}.",
                hint="Give a rate above 0, and nothing below 0.",
            )
        if self.schedule not in {"step", "linear", "none"}:
            raise ConfigError(f"schedule is {self.schedule!r}.", hint="Use one of: step, linear, none.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """What a training took and ended with."""

    losses: tuple[float, ...]  # on the validation split behind each epoch
    epoch: int  # whose weights are kept, from 1; the first of the lowest loss, or the last without a validation split
    updates: int  # steps of the optimizer
    seconds: float  # of the training loop, the validation in it


def train(
    model: CubeMLPForPrediction,
    items: Items,
    valid: Items | None,
    *,
    recipe: Recipe,
    seed: int,
    collator: Collator | None = None,
    device: str = "cpu",
    cache_text: bool = True,
) -> Training:
    """Train a model in place, and leave it in evaluation mode with the weights of its best epoch."""
    # That epoch is chosen by the validation loss and serves all metrics; weights wait for it in memory.
    collator = collator or Collator()
    drop_last = _check(model, items, valid, recipe)
    if cache_text:
        items = with_text_states(model, items, collator, device=device)
        valid = None if valid is None else with_text_states(model, valid, collator, device=device)
    keeper = _BestEpoch(model, valid, collator, recipe)
    optimizer = torch.optim.AdamW(parameter_groups(model, recipe))
    updates = (math.floor if drop_last else math.ceil)(len(items) / recipe.batch)
    _, result = training.fine_tune(
        model,
        items,
        seed=seed,
        device=device,
        extra="fusion",
        collate=collator,
        callbacks=[keeper],
        optimizers=(optimizer, LambdaLR(optimizer, _factor(recipe, updates))),
        per_device_train_batch_size=recipe.batch,
        num_train_epochs=recipe.epochs,
        learning_rate=recipe.rate,
        max_grad_norm=0.0,  # gradients are clipped by value
        dataloader_drop_last=drop_last,
        remove_unused_columns=False,
    )
    epoch = keeper.restore() or recipe.epochs
    model.eval()
    took = {"updates": result.global_step, "seconds": result.metrics["train_runtime"]}
    return Training(losses=tuple(keeper.losses), epoch=epoch, **took)


def _check(model: CubeMLPForPrediction, items: Items, valid: Items | None, recipe: Recipe) -> bool:
    """Refuse splits that cannot be trained on, and tell whether the last batch is left out."""
    ccc = model.config.loss == "ccc"
    for split in (items, valid):
        if split is not None and split.labels is None:
            raise DataError("The samples to train or to choose by have no labels.", hint="Give one for each.")
        if split is not None and len(split) < (2 if ccc else 1):
            hint = "Give at least 1, and 2 for 'ccc', which compares samples."
            raise DataError(f"There are {len(split)} samples for the loss {model.config.loss!r}.", hint=hint)
    if ccc and recipe.batch == 1:
        raise ConfigError("batch is 1, but the loss 'ccc' compares the samples of a batch.", hint="Give 2 or more.")
    return ccc and len(items) % recipe.batch == 1  # a last batch of one sample has no concordance


@torch.inference_mode()
def compute_logits(model: CubeMLPForPrediction, items: Items, collator: Collator, *, batch: int = 64) -> Tensor:
    """Run a model on samples, in evaluation mode and on the device where it is."""
    logits = torch.empty(len(items), model.config.outputs)
    mode = model.training
    model.eval()
    for samples, tensors in batches_of_like_length(items, collator, batch):
        tensors.pop("labels", None)
        logits[torch.from_numpy(samples)] = model(**moved(tensors, model.device)).logits.float().cpu()
    model.train(mode)
    return logits


def with_text_states(
    model: CubeMLPForPrediction, items: Items, collator: Collator, *, device: str = "cpu", batch: int = 64
) -> Items:
    """Run the frozen layers of the text encoder once."""
    if model.text is None or not model.text.keeps_states or items.pieces is None:
        return items
    mode = model.text.training
    model.text.to(device).eval()
    states: dict[int, Tensor] = {}
    for samples, tensors in batches_of_like_length(items, collator, batch):
        mask = tensors["attention_mask"]
        found = model.text.text_states(tensors["input_ids"].to(device), mask.to(device)).cpu()
        for sample, row, length in zip(samples.tolist(), found, mask.sum(1).tolist(), strict=True):
            states[sample] = row[:length].clone()
    model.text.train(mode)
    known = copy.copy(items)
    known.states = [states[sample] for sample in range(len(items))]
    return known


def parameter_groups(model: CubeMLPForPrediction, recipe: Recipe) -> list[dict[str, Any]]:
    """Group the parameters that are trained by learning rate and weight decay."""
    factor = lambda name: recipe.text_rate if name.startswith("text.") else 1.0
    return training.parameter_groups(model, rate=recipe.rate, weight_decay=recipe.weight_decay, factor=factor)


class _BestEpoch(TrainerCallback):
    """Clips gradients, and keeps the weights of the epoch of the lowest validation loss; frozen ones need no copy."""

    def __init__(self, model: CubeMLPForPrediction, valid: Items | None, collator: Collator, recipe: Recipe) -> None:
        self.model, self.valid, self.collator, self.recipe = model, valid, collator, recipe
        self.losses: list[float] = []
        self.epoch = 0
        self.weights: dict[str, Tensor] = {}

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        if self.recipe.clip:
            torch.nn.utils.clip_grad_value_(self.model.parameters(), self.recipe.clip)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002 - Trainer's names
        if self.valid is None:
            return
        logits = compute_logits(self.model, self.valid, self.collator, batch=self.recipe.batch)
        loss = prediction_loss(self.model.config.loss, logits, torch.from_numpy(self.valid.labels))
        self.losses.append(float(loss))
        if self.losses[-1] < min([math.inf, *self.losses[:-1]]):
            self.epoch = len(self.losses)
            trained = {name: it for name, it in self.model.named_parameters() if it.requires_grad}
            self.weights = {name: it.detach().clone() for name, it in trained.items()}
        if self.recipe.patience is not None and len(self.losses) - self.epoch >= self.recipe.patience:
            control.should_training_stop = True

    def restore(self) -> int | None:
        if self.valid is None:
            return None
        if not self.epoch:
            hint = "Lower the learning rate."
            raise RunError(f"The validation loss was finite in none of {len(self.losses)} epochs.", hint=hint)
        self.model.load_state_dict(self.weights, strict=False)
        return self.epoch


def _factor(recipe: Recipe, updates: int) -> Any:
    """Give the factor of the rates at an update, of so many in an epoch."""
    match recipe.schedule:
        case "step":
            return lambda update: _DECAY ** (update // (updates * recipe.step))
        case "linear":
            return lambda update: 1 - update / (updates * recipe.epochs)
        case "none":
            return lambda _: 1.0
