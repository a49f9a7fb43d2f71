"""What a sarcasm model is made of, as it is saved beside its weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from modicum.core.extras import require
from modicum.errors import ConfigError
from modicum.sarcasm.configuration import Pooling
from modicum.sarcasm.examples import CATEGORIES

if TYPE_CHECKING:
    from transformers import AutoConfig, PreTrainedConfig
else:
    _transformers = require("transformers", extra="text", purpose="A sarcasm encoder")
    AutoConfig, PreTrainedConfig = _transformers.AutoConfig, _transformers.PreTrainedConfig


PairHead: TypeAlias = Literal["rank", "cross"]
CategoryHead: TypeAlias = Literal["sigmoid", "powerset"]
Head: TypeAlias = Literal["sarcastic", "categories", "rank"]

HEADS: tuple[Head, ...] = ("sarcastic", "categories", "rank")
_CHOICES = {"pooling": ("cls", "mean"), "pair_head": ("rank", "cross"), "category_head": ("sigmoid", "powerset")}


class SarcasmConfig(PreTrainedConfig):
    """The architecture of a `SarcasmModel`."""

    model_type = "modicum-sarcasm"

    def __init__(
        self,
        encoder: PreTrainedConfig | dict[str, Any] | None = None,
        *,
        pooling: Pooling = "cls",
        pair_head: PairHead = "rank",
        category_head: CategoryHead = "sigmoid",
        combinations: Sequence[Sequence[int]] = (),
        head_dropout: float = 0.1,
        length: int = 96,
        learnt: tuple[Head, ...] = (),
        **options: Any,
    ) -> None:
        chosen = {"pooling": pooling, "pair_head": pair_head, "category_head": category_head}
        for name, value in chosen.items():
            if value not in _CHOICES[name]:
                raise ConfigError(f"{name} is {value!r}.", hint=f"Use one of: {', '.join(_CHOICES[name])}.")
        _check_combinations(category_head, combinations)
        self.encoder = AutoConfig.for_model(**encoder) if isinstance(encoder, dict) else encoder
        self.pooling: Pooling = pooling
        self.pair_head: PairHead = pair_head
        self.category_head: CategoryHead = category_head
        self.combinations = [list(it) for it in combinations]
        self.head_dropout = head_dropout
        self.length = length
        self.learnt = list(learnt)  # as JSON gives it back
        super().__init__(**options)


def _check_combinations(head: CategoryHead, combinations: Sequence[Sequence[int]]) -> None:
    different = {tuple(it) for it in combinations}
    fit = all(len(it) == len(CATEGORIES) and set(it) <= {0, 1} for it in different)
    if bool(different) != (head == "powerset") or len(different) != len(combinations) or not fit:
        raise ConfigError(
            f"category_head is {head!r}, and combinations {combinations!r}.",
            hint=f"Give 'powerset' different ones, 0 or 1 for each of {', '.join(CATEGORIES)}, and 'sigmoid' none.",
        )
