"""The joint loss of the three tasks, weighted by counts of the whole training split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from modicum.errors import ConfigError, DataError
from modicum.sarcasm.encoder.modeling import SarcasmOutput
from modicum.sarcasm.examples import CATEGORIES, LANGUAGES, Example
from modicum.sarcasm.functional import (
    asymmetric_loss,
    binary_loss,
    effective_number,
    focal_loss,
    pairwise_loss,
    powerset_loss,
    symmetric_divergence,
)

SarcasticLoss: TypeAlias = Literal["cross_entropy", "focal", "logit_adjusted", "class_balanced", "asymmetric"]
CategoryLoss: TypeAlias = Literal["cross_entropy", "asymmetric"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Objective:
    """What is minimised. All values are ours."""

    sarcastic: SarcasticLoss = "cross_entropy"  # loss of the first task
    categories: CategoryLoss = "cross_entropy"  # loss of the six categories, on the sarcastic texts
    by_language: bool = True  # whether the weights are those of each language, or of both together
    balance: float = 0.999  # beta of "class_balanced": 0 weighs both labels alike, towards 1 as "cross_entropy" does
    category_cap: float = 20.0  # largest weight of a category's positives; the smallest is 1 / cap
    weights: tuple[float, float, float] = (1.0, 1.0, 1.0)  # of the losses of the three tasks
    r_drop: float = 0.0  # weight of R-Drop's divergence between two passes (Liang et al. 2021); 0 makes one pass
    fgm: float = 0.0

    def __post_init__(self) -> None:
        for loss, known in ((self.sarcastic, get_args(SarcasticLoss)), (self.categories, get_args(CategoryLoss))):
            if loss not in known:
                raise ConfigError(f"There is no loss {loss!r}.", hint=f"Use one of: {', '.join(known)}.")
        if min(*self.weights, self.r_drop, self.fgm) < 0 or not sum(self.weights) or self.category_cap < 1:
            raise ConfigError(
                f"The weights of the losses are {self.weights}, of R-Drop {self.r_drop}, the cap {self.category_cap}, "
                f"FGM's move {self.fgm}.",
                hint="Give none below 0, a cap of at least 1, and at least one task with a weight.",
            )
        if not 0 <= self.balance < 1:
            raise ConfigError(f"balance is {self.balance}.", hint="Give a number from 0 to below 1.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """What is fixed before training: what the weights are made of, since those of a batch would be noise."""

    negatives_per_positive: Tensor
    pooled: float  # of all languages together
    categories: Tensor  # texts without a category by those with it, among the sarcastic, within the cap, shape (6,)
    combinations: Tensor | None = None  # of the model, shape (c, 6); None where it decides on each category by itself

    @classmethod
    def of(
        cls, examples: Sequence[Example], objective: Objective, *, combinations: Sequence[Sequence[int]] = ()
    ) -> Counts:
        """Count a training split."""
        labelled = [example for example in examples if example.sarcastic is not None]
        beta = objective.balance if objective.sarcastic == "class_balanced" else None
        pooled = _ratio(labelled, beta) if objective.weights[0] else 1.0
        if pooled is None:
            raise DataError(
                f"Of {len(labelled)} labelled examples all have the same label.",
                hint="Give sarcastic and other examples.",
            )
        each = [_ratio([it for it in labelled if it.language == language], beta) for language in LANGUAGES]
        return cls(
            negatives_per_positive=torch.tensor([(objective.by_language and ratio) or pooled for ratio in each]),
            pooled=pooled,
            categories=_category_weights(examples, objective.category_cap),
            combinations=torch.tensor(combinations) if combinations else None,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Targets:
    """What a batch of n texts, followed by m rephrases, should give."""

    sarcastic: Tensor  # 0 or 1, or NaN where it is unknown, shape (n,)
    language: Tensor  # places in `LANGUAGES`, shape (n,)
    categories: Tensor  # 0 or 1, NaN in a row whose categories are unknown or that is not sarcastic, shape (n, 6)
    parents: Tensor  # which of the n texts a rephrase is of, shape (m,)


def joint_loss(
    outputs: SarcasmOutput, targets: Targets, counts: Counts, objective: Objective, *, pairs: Tensor | None = None
) -> Tensor:
    """Give the weighted sum of the losses; a task that a batch has nothing of adds nothing."""
    first, second, third = objective.weights
    total = outputs.sarcastic.sum() * 0
    known = ~targets.sarcastic.isnan()
    if first and known.any():
        logits = outputs.sarcastic[: len(known)][known]
        ratio = counts.negatives_per_positive.to(logits)[targets.language[known]]
        total = total + first * _sarcastic(logits, targets.sarcastic[known], ratio, counts, objective)
    named = ~targets.categories.isnan().any(1)
    if second and named.any():
        total = total + second * _categories(outputs, targets, named, counts, objective)
    if third and len(targets.parents):
        total = total + third * _pairs(outputs, targets, pairs)
    return total


def divergence(one: SarcasmOutput, other: SarcasmOutput, targets: Targets) -> Tensor:
    """Give R-Drop's divergence of two passes over one batch, of the first task's texts."""
    count = len(targets.sarcastic)
    return symmetric_divergence(one.sarcastic[:count], other.sarcastic[:count])


def _sarcastic(logits: Tensor, labels: Tensor, ratio: Tensor, counts: Counts, objective: Objective) -> Tensor:
    if objective.sarcastic == "focal":
        return focal_loss(logits, labels, alpha=counts.pooled / (1 + counts.pooled))
    if objective.sarcastic == "asymmetric":
        return asymmetric_loss(logits, labels)
    if objective.sarcastic == "logit_adjusted":
        return binary_loss(logits - ratio.log(), labels)
    return binary_loss(logits, labels, ratio)


def _categories(
    outputs: SarcasmOutput, targets: Targets, named: Tensor, counts: Counts, objective: Objective
) -> Tensor:
    labels = targets.categories[named]
    if counts.combinations is not None:
        logits = outputs.combinations[: len(named)][named]
        return powerset_loss(logits, labels, counts.combinations.to(labels))
    logits = outputs.categories[: len(named)][named]
    if objective.categories == "asymmetric":
        return asymmetric_loss(logits, labels)
    return binary_loss(logits, labels, counts.categories)


def _pairs(outputs: SarcasmOutput, targets: Targets, pairs: Tensor | None) -> Tensor:
    if pairs is None:
        return pairwise_loss(outputs.rank[targets.parents], outputs.rank[len(targets.sarcastic) :])
    second = torch.arange(len(pairs), device=pairs.device) >= len(targets.parents)
    return binary_cross_entropy_with_logits(pairs, second.to(pairs))


def _ratio(labelled: Sequence[Example], beta: float | None) -> float | None:
    positive = sum(example.sarcastic == 1 for example in labelled)
    negative = len(labelled) - positive
    if not positive or not negative:
        return None
    if beta is None:
        return negative / positive
    negative, positive = effective_number(torch.tensor([negative, positive]), beta).tolist()
    return negative / positive


def _category_weights(examples: Sequence[Example], cap: float) -> Tensor:
    rows = [example.categories for example in examples if example.sarcastic == 1 and example.categories is not None]
    if not rows:
        return torch.ones(len(CATEGORIES))
    positive = torch.tensor(rows, dtype=torch.float32).sum(0)
    return ((len(rows) - positive) / positive).clamp(1 / cap, cap)
