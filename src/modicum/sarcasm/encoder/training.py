"""Training by transformers.Trainer, reproducible from a seed and without a trace outside of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from modicum.core import training
from modicum.core.seeding import torch_generator
from modicum.errors import ConfigError
from modicum.sarcasm.encoder.items import Collator, Item, LanguageSampler
from modicum.sarcasm.encoder.losses import Counts, Objective, Targets, divergence, joint_loss
from modicum.sarcasm.encoder.modeling import SarcasmModel, SarcasmOutput
from modicum.sarcasm.functional import adversarial_move

if TYPE_CHECKING:
    from transformers import TrainerCallback


Optimizers: TypeAlias = tuple[Optimizer | None, Any]
Change: TypeAlias = Callable[[Tensor], Tensor]
_LAYER = re.compile(r"\.layers?\.(\d+)\.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How long and how fast to train: AdamW with linear warm-up and decay. All values are ours."""

    epochs: int = 5  # passes over the training split
    batch: int = 32  # texts an update; their rephrases come on top
    rate: float = 2e-5  # largest learning rate, that of the heads; 2e-5 suits a base-sized encoder, 1e-5 a large one
    layer_decay: float = 0.9  # factor of the rate from each layer to the one below; 1 trains all alike
    weight_decay: float = 0.01  # of the weights, not of biases and norms
    warmup: float = 0.1  # share of the updates
    language_exponent: float = 1.0  # alpha of `LanguageSampler`
    bf16: bool = False  # whether to compute in bfloat16; float16 is not offered, as DeBERTa-v3 fails in it

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch) < 1 or self.rate <= 0 or self.weight_decay < 0:
            raise ConfigError(
                f"epochs is {self.epochs}, batch {self.batch}, rate {self.rate}, weight_decay {self.weight_decay}.",
                hint="Give at least 1 epoch and 1 text a batch, a rate above 0 and a decay that is not below 0.",
            )
        if not 0 < self.layer_decay <= 1 or not 0 <= self.warmup < 1:
            raise ConfigError(
                f"layer_decay is {self.layer_decay}, warmup {self.warmup}.",
                hint="Give a layer_decay above 0 and up to 1, and a warmup from 0 to below 1.",
            )


@dataclass(frozen=True, slots=True)
class Training:
    """What a training took and ended with."""

    loss: float  # mean training loss over all updates
    updates: int  # steps of the optimizer
    seconds: float  # of the training loop


def train(
    model: SarcasmModel,
    items: Sequence[Item],
    collator: Collator,
    *,
    objective: Objective,
    recipe: Recipe,
    seed: int,
    device: str = "cpu",
    callbacks: Sequence[TrainerCallback] = (),
    optimizers: Optimizers = (None, None),
) -> Training:
    """Train a model in place, and leave it in evaluation mode."""
    examples = [item.example for item in items]
    counts = Counts.of(examples, objective, combinations=model.config.combinations)
    loss = partial(batch_loss, counts=counts, objective=objective)
    sampler = LanguageSampler(examples, recipe.language_exponent, torch_generator(seed, "order"))
    optimizer, scheduler = optimizers
    fused = None if device == "cpu" else True  # one kernel a group in place of a dozen
    optimizer = optimizer or torch.optim.AdamW(parameter_groups(model, recipe), eps=1e-6, fused=fused)
    _, result = training.fine_tune(
        model,
        items,
        seed=seed,
        device=device,
        extra="text",
        collate=collator,
        loss=loss,
        sampler=sampler,
        callbacks=callbacks,
        optimizers=(optimizer, scheduler),
        per_device_train_batch_size=recipe.batch,
        num_train_epochs=recipe.epochs,
        learning_rate=recipe.rate,
        warmup_steps=recipe.warmup,  # below 1 it is a share of the updates
        lr_scheduler_type="linear",
        max_grad_norm=float("max_norm" not in optimizer.defaults),
        bf16=recipe.bf16,
        remove_unused_columns=False,
    )
    model.eval()
    return Training(result.training_loss, result.global_step, result.metrics["train_runtime"])


def batch_loss(model: nn.Module, batch: Mapping[str, Any], *, counts: Counts, objective: Objective) -> Tensor:
    """Run the model on a batch, once more for R-Drop and once more for FGM, and give the loss."""
    targets = Targets(**batch["targets"])

    def one_pass(change: Change | None = None) -> tuple[SarcasmOutput, Tensor]:
        with _embedding(model, change):
            outputs = _in_single(model(**batch["texts"]))
            pairs = _in_single(model(**batch["pairs"])).rank if "pairs" in batch else None
        return outputs, joint_loss(outputs, targets, counts, objective, pairs=pairs)

    embedded: list[Tensor] = []
    outputs, loss = one_pass(partial(_kept, embedded) if objective.fgm else None)
    total = loss
    if objective.r_drop:
        again, other = one_pass()
        total = loss + other + objective.r_drop * divergence(outputs, again, targets)
    if objective.fgm:
        gradients = torch.autograd.grad(loss, embedded, retain_graph=True, materialize_grads=True)
        moves = iter([adversarial_move(gradient, objective.fgm) for gradient in gradients])
        total = total + one_pass(lambda tokens: tokens + next(moves))[1]
    return total


def parameter_groups(model: SarcasmModel, recipe: Recipe) -> list[dict[str, Any]]:
    """Group the parameters by learning rate and weight decay."""
    top = max((_depth(name, 0) for name, weight in model.named_parameters() if weight.requires_grad), default=0) + 1
    return training.parameter_groups(
        model,
        rate=recipe.rate,
        weight_decay=recipe.weight_decay,
        factor=lambda name: recipe.layer_decay ** (top - _depth(name, top)),
    )


@contextmanager
def _embedding(model: nn.Module, change: Change | None) -> Generator[None]:
    """Change what the word embeddings give, within the block and nowhere else."""
    if change is None:
        yield
        return
    inner = next(module for module in model.modules() if isinstance(module, SarcasmModel))

    def hook(_module: nn.Module, _ids: Any, tokens: Tensor) -> Tensor:
        return change(tokens)

    handle = inner.get_input_embeddings().register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _kept(embedded: list[Tensor], tokens: Tensor) -> Tensor:
    embedded.append(tokens.requires_grad_())  # that of frozen word embeddings has no gradient else
    return tokens


def _in_single(outputs: SarcasmOutput) -> SarcasmOutput:
    # Under bfloat16 the logits have 8 bits, too few for a loss.
    return SarcasmOutput(**{name: logits.float() for name, logits in outputs.items()})


def _depth(name: str, top: int) -> int:
    layer = _LAYER.search(name)
    if not name.startswith("encoder."):
        return top
    if layer is not None:
        return int(layer[1]) + 1
    return 0 if "embed" in name else max(0, top - 1)
