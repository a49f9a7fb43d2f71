"""Fits an encoder on the three tasks at once, in one language or in both, by transformers.Trainer and from a seed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

import torch
from torch import Tensor, nn

from modicum.core import training
from modicum.core.seeding import torch_generator
from modicum.errors import DataError
from modicum.sarcasm.configuration import EncoderSettings
from modicum.sarcasm.data.examples import CATEGORIES, LANGUAGES, Example
from modicum.sarcasm.encoder.batches import Collator, LanguageSampler, make_items
from modicum.sarcasm.encoder.model import EncoderModel, EnsembleModel, check_length, encoder_folder, open_tokenizer
from modicum.sarcasm.encoder.modeling import Head, SarcasmModel, SarcasmOutput
from modicum.sarcasm.functional import binary_loss, pairwise_loss

if TYPE_CHECKING:
    from transformers import TrainerCallback

# All values are ours.
_LAYER_DECAY = 0.9  # factor of the rate from each layer to the one below
_WEIGHT_DECAY = 0.01  # of the weights, not of biases and norms
_WARMUP = 0.1  # share of the updates; from there on the rate falls linearly
_CAP = 20.0  # largest weight of a category's positives; the smallest is 1 / cap
_LAYER = re.compile(r"\.layers?\.(\d+)\.")


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderLearner:
    """Fine-tunes a pre-trained encoder; a `Learner`."""

    encoder: str  # a hub id, a folder, or "offline" for the packaged MiniLM, which knows English only
    settings: EncoderSettings = field(default_factory=EncoderSettings)
    length: int = 96  # tokens of a text. 96, ours, is beyond the 95th percentile of the shared task's texts
    device: str = "cpu"  # "cpu" or "cuda"
    callbacks: Callable[[], Sequence[TrainerCallback]] = tuple

    def fit(self, examples: Sequence[Example], *, seed: int) -> EncoderModel:
        """Fit a new model; a warning tells how many texts were cut."""
        used = [example for example in examples if _tasks(example)]
        learnt = set[Head]().union(*map(_tasks, used))
        _check_labels(used)
        tokenizer = open_tokenizer(self.encoder)
        model = SarcasmModel.from_encoder(
            encoder_folder(self.encoder),
            seed=seed,
            pooling=self.settings.pooling,
            length=self.length,
            learnt=tuple(head for head in get_args(Head) if head in learnt),
        )
        check_length(model.encoder, tokenizer, self.length)
        groups = parameter_groups(model, self.settings.rate)
        fused = None if self.device == "cpu" else True  # one kernel a group in place of a dozen
        training.fine_tune(
            model,
            make_items(used, tokenizer, length=self.length),
            seed=seed,
            device=self.device,
            extra="text",
            collate=Collator.of(tokenizer),
            loss=partial(batch_loss, weights=Weights.of(used)),
            sampler=LanguageSampler(used, torch_generator(seed, "order")),
            callbacks=self.callbacks(),
            optimizers=(torch.optim.AdamW(groups, eps=1e-6, fused=fused), None),
            per_device_train_batch_size=self.settings.batch,
            num_train_epochs=self.settings.epochs,
            learning_rate=self.settings.rate,
            warmup_steps=_WARMUP,  # below 1 it is a share of the updates
            lr_scheduler_type="linear",
            max_grad_norm=1.0,
            remove_unused_columns=False,
        )
        return EncoderModel(model, tokenizer)

    def join(self, models: Sequence[EncoderModel]) -> EnsembleModel:
        """Join the models of the folds by the mean of their logits."""
        return EnsembleModel(tuple(models))


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """Weights of positives, counted over the training split, since those of a batch would be noise."""

    sarcastic: Tensor  # negatives per positive of each language, in the order of `LANGUAGES`
    categories: Tensor  # texts without a category by those with it, among the sarcastic, within the cap, shape (6,)

    @classmethod
    def of(cls, examples: Sequence[Example]) -> Weights:
        """Count a training split; a language with one label alone takes the weight of all."""
        labelled = [example for example in examples if example.sarcastic is not None]
        pooled = _ratio(labelled)
        each = [_ratio([it for it in labelled if it.language == language]) for language in LANGUAGES]
        return cls(
            sarcastic=torch.tensor([ratio or pooled or 1.0 for ratio in each]), categories=_category_weights(examples)
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Targets:
    """What a batch of n texts, followed by m rephrases, should give."""

    sarcastic: Tensor  # 0 or 1, or NaN where it is unknown, shape (n,)
    language: Tensor  # indices in `LANGUAGES`, shape (n,)
    categories: Tensor  # 0 or 1, NaN in a row whose categories are unknown or that is not sarcastic, shape (n, 6)
    parents: Tensor  # which of the n texts a rephrase is of, shape (m,)


def batch_loss(model: nn.Module, batch: Mapping[str, Any], *, weights: Weights) -> Tensor:
    """Run the model on a batch and give the loss."""
    return joint_loss(model(**batch["texts"]), Targets(**batch["targets"]), weights)


def joint_loss(outputs: SarcasmOutput, targets: Targets, weights: Weights) -> Tensor:
    """Give the sum of the losses of the three tasks; a task that a batch has nothing of adds nothing."""
    total = outputs.sarcastic.sum() * 0
    known = ~targets.sarcastic.isnan()
    if known.any():
        logits = outputs.sarcastic[: len(known)][known]
        ratio = weights.sarcastic.to(logits)[targets.language[known]]
        total = total + binary_loss(logits, targets.sarcastic[known], ratio)
    named = ~targets.categories.isnan().any(1)
    if named.any():
        logits = outputs.categories[: len(named)][named]
        total = total + binary_loss(logits, targets.categories[named], weights.categories)
    if len(targets.parents):
        total = total + pairwise_loss(outputs.rank[targets.parents], outputs.rank[len(targets.sarcastic) :])
    return total


def parameter_groups(model: SarcasmModel, rate: float) -> list[dict[str, Any]]:
    """Group the parameters by learning rate and weight decay."""
    top = max((_depth(name, 0) for name, weight in model.named_parameters() if weight.requires_grad), default=0) + 1
    return training.parameter_groups(
        model,
        rate=rate,
        weight_decay=_WEIGHT_DECAY,
        factor=lambda name: _LAYER_DECAY ** (top - _depth(name, top)),
    )


def _depth(name: str, top: int) -> int:
    layer = _LAYER.search(name)
    if not name.startswith("encoder."):
        return top
    if layer is not None:
        return int(layer[1]) + 1
    return 0 if "embed" in name else max(0, top - 1)


def _tasks(example: Example) -> set[Head]:
    """Name the heads that learn from an example."""
    heads: dict[Head, bool] = {
        "sarcastic": example.sarcastic is not None,
        "categories": example.sarcastic == 1 and example.categories is not None,
        "rank": example.rephrase is not None,
    }
    return {head for head, use in heads.items() if use}


def _check_labels(examples: Sequence[Example]) -> None:
    if not {example.sarcastic for example in examples} >= {0, 1}:
        raise DataError(
            f"Of {len(examples)} examples that can be learnt from, none is sarcastic, or all are.",
            hint="Give examples that are sarcastic, and some that are not.",
        )


def _ratio(labelled: Sequence[Example]) -> float | None:
    positive = sum(example.sarcastic == 1 for example in labelled)
    negative = len(labelled) - positive
    return negative / positive if positive and negative else None


def _category_weights(examples: Sequence[Example]) -> Tensor:
    rows = [example.categories for example in examples if example.sarcastic == 1 and example.categories is not None]
    if not rows:
        return torch.ones(len(CATEGORIES))
    positive = torch.tensor(rows, dtype=torch.float32).sum(0)
    return ((len(rows) - positive) / positive).clamp(1 / _CAP, _CAP)
