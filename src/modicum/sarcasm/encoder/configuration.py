"""What a sarcasm model is made of, as it is saved beside its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from modicum.core.extras import require
from modicum.errors import ConfigError

if TYPE_CHECKING:
    from transformers import AutoConfig, PreTrainedConfig
else:
    _transformers = require("transformers", extra="text", purpose="A sarcasm encoder")
    AutoConfig, PreTrainedConfig = _transformers.AutoConfig, _transformers.PreTrainedConfig

__all__ = ["HEADS", "Head", "PairHead", "Pooling", "SarcasmConfig"]

Pooling: TypeAlias = Literal["cls", "mean"]
PairHead: TypeAlias = Literal["rank", "cross"]
Head: TypeAlias = Literal["sarcastic", "categories", "rank"]

HEADS: tuple[Head, ...] = ("sarcastic", "categories", "rank")
_CHOICES = {"pooling": ("cls", "mean"), "pair_head": ("rank", "cross")}


class SarcasmConfig(PreTrainedConfig):
    """The architecture of a `SarcasmModel`.

    Args:
        encoder: configuration of the encoder, any that transformers has.
        pooling: "cls" gives the heads the first token, "mean" the mean of all tokens that are no padding.
        pair_head: how two texts are compared: "rank" scores each alone, "cross" reads both together.
        head_dropout: rate before each layer of a head.
        length: tokens of a text, or of two that are read together; what is longer is cut.
        learnt: the heads that were trained; the others are as they were drawn.
        **options: of every configuration.

    Raises:
        ConfigError: if a choice is unknown.
    """

    model_type = "modicum-sarcasm"

    def __init__(
        self,
        encoder: PreTrainedConfig | dict[str, Any] | None = None,
        *,
        pooling: Pooling = "cls",
        pair_head: PairHead = "rank",
        head_dropout: float = 0.1,
        length: int = 96,
        learnt: tuple[Head, ...] = (),
        **options: Any,
    ) -> None:
        for name, value in (("pooling", pooling), ("pair_head", pair_head)):
            if value not in _CHOICES[name]:
                raise ConfigError(f"{name} is {value!r}.", mend=f"Use one of: {', '.join(_CHOICES[name])}.")
        self.encoder = AutoConfig.for_model(**encoder) if isinstance(encoder, dict) else encoder
        self.pooling: Pooling = pooling
        self.pair_head: PairHead = pair_head
        self.head_dropout = head_dropout
        self.length = length
        self.learnt = list(learnt)  # as JSON gives it back
        super().__init__(**options)
