"""Fits an encoder on the three tasks at once, in one language or in both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from torch.optim import Optimizer

from modicum.errors import ConfigError, DataError
from modicum.sarcasm.encoder.batches import Tokenizer
from modicum.sarcasm.encoder.configuration import HEADS, CategoryHead, Head, PairHead, Pooling
from modicum.sarcasm.encoder.items import Collator, make_items
from modicum.sarcasm.encoder.losses import Objective
from modicum.sarcasm.encoder.model import EncoderModel
from modicum.sarcasm.encoder.modeling import SarcasmModel
from modicum.sarcasm.encoder.opening import check_length, encoder_folder, open_tokenizer
from modicum.sarcasm.encoder.training import Recipe, parameter_groups, train
from modicum.sarcasm.examples import Example

if TYPE_CHECKING:
    from transformers import TrainerCallback


MakeOptimizer: TypeAlias = Callable[[list[dict[str, Any]]], Optimizer]


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderLearner:
    """Fine-tunes a pre-trained encoder; a `Learner`."""

    encoder: str  # a hub id, a folder, or "offline" for the packaged MiniLM, which knows English only
    pooling: Pooling = "cls"  # what the heads see
    pair_head: PairHead = "rank"  # "rank" or "cross": see `SarcasmConfig`
    category_head: CategoryHead = "sigmoid"
    length: int = 96  # tokens of a text. 96, ours, is beyond the 95th percentile of the shared task's texts
    head_dropout: float = 0.1  # rate before each layer of a head
    objective: Objective = field(default_factory=Objective)  # the losses and their weights
    recipe: Recipe = field(default_factory=Recipe)  # how long and how fast
    device: str = "cpu"  # "cpu" or "cuda"
    callbacks: Callable[[], Sequence[TrainerCallback]] = tuple
    optimizer: MakeOptimizer | None = None  # makes one from parameter groups, in the place of AdamW

    def __post_init__(self) -> None:
        if self.category_head == "powerset" and self.objective.categories != "cross_entropy":
            raise ConfigError(
                f"The loss of the categories is {self.objective.categories!r}, but category_head 'powerset'.",
                hint="Use 'cross_entropy', or category_head 'sigmoid'.",
            )

    def fit(self, examples: Sequence[Example], *, seed: int) -> EncoderModel:
        """Fit a new model; a warning tells how many texts were cut."""
        used = [example for example in examples if _tasks(example, self.objective)]
        _check_labels(used, self.objective)
        tokenizer = open_tokenizer(self.encoder)
        model = self._new_model(used, seed)
        check_length(model, tokenizer, self.length)
        self._train(model, used, tokenizer, seed)
        return EncoderModel(model, tokenizer)

    def _new_model(self, examples: Sequence[Example], seed: int) -> SarcasmModel:
        combinations = self._combinations(examples)
        nothing = self.category_head == "powerset" and not combinations  # no example has categories
        return SarcasmModel.from_encoder(
            encoder_folder(self.encoder),
            seed=seed,
            pooling=self.pooling,
            pair_head=self.pair_head,
            category_head="sigmoid" if nothing else self.category_head,
            combinations=combinations,
            head_dropout=self.head_dropout,
            length=self.length,
            learnt=tuple(head for head in HEADS if any(head in _tasks(it, self.objective) for it in examples)),
        )

    def _combinations(self, examples: Sequence[Example]) -> list[tuple[int, ...]]:
        if self.category_head != "powerset":
            return []
        learnt = [it.categories for it in examples if "categories" in _tasks(it, self.objective)]
        return sorted({it for it in learnt if it is not None})

    def _train(self, model: SarcasmModel, examples: Sequence[Example], tokenizer: Tokenizer, seed: int) -> None:
        pairs = self.pair_head if self.objective.weights[2] else None
        train(
            model,
            make_items(examples, tokenizer, length=self.length, pairs=pairs),
            Collator.of(tokenizer),
            objective=self.objective,
            recipe=self.recipe,
            seed=seed,
            device=self.device,
            callbacks=self.callbacks(),
            optimizers=(self.optimizer(parameter_groups(model, self.recipe)) if self.optimizer else None, None),
        )


def _tasks(example: Example, objective: Objective) -> set[Head]:
    """Name the heads that learn from an example."""
    usable = (
        example.sarcastic is not None,
        example.sarcastic == 1 and example.categories is not None,
        example.rephrase is not None,
    )
    return {head for head, weight, use in zip(HEADS, objective.weights, usable, strict=True) if weight and use}


def _check_labels(examples: Sequence[Example], objective: Objective) -> None:
    labels = {example.sarcastic for example in examples}
    if not examples or (objective.weights[0] and not labels >= {0, 1}):
        raise DataError(
            f"Of {len(examples)} examples that can be learnt from, none is sarcastic, or all are.",
            hint="Give examples that are sarcastic, and some that are not.",
        )
