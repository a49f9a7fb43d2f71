"""The network: an encoder of transformers, and a head of its own for each of the three tasks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from modicum.core.extras import require
from modicum.core.pretrained import open_text_encoder
from modicum.core.seeding import seeded_globally
from modicum.errors import ConfigError, ModelError
from modicum.sarcasm.configuration import Pooling
from modicum.sarcasm.data.examples import CATEGORIES
from modicum.sarcasm.erniem import read_pooler

if TYPE_CHECKING:
    from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
    from transformers.utils.generic import ModelOutput
else:
    _transformers = require("transformers", extra="text", purpose="A sarcasm encoder")
    AutoConfig, PreTrainedConfig = _transformers.AutoConfig, _transformers.PreTrainedConfig
    AutoModel, PreTrainedModel = _transformers.AutoModel, _transformers.PreTrainedModel
    ModelOutput = _transformers.utils.generic.ModelOutput

Head: TypeAlias = Literal["sarcastic", "categories", "rank"]

# What an earlier modicum wrote into config.json, with the values that are still read.
_FORMER = {"pair_head": "rank", "category_head": "sigmoid", "combinations": []}


class SarcasmConfig(PreTrainedConfig):
    """The architecture of a `SarcasmModel`."""

    model_type = "modicum-sarcasm"

    def __init__(
        self,
        encoder: PreTrainedConfig | dict[str, Any] | None = None,
        *,
        pooling: Pooling = "cls",
        head_dropout: float = 0.1,
        length: int = 96,
        learnt: tuple[Head, ...] = (),
        **options: Any,
    ) -> None:
        if pooling not in get_args(Pooling):
            raise ConfigError(f"pooling is {pooling!r}.", hint=f"Use one of: {', '.join(get_args(Pooling))}.")
        for name, value in _FORMER.items():
            if (found := options.pop(name, value)) != value:
                raise ConfigError(
                    f"The model has {name} {found!r}, which this modicum no longer reads.",
                    hint="Train it again, or use the modicum that wrote it.",
                )
        self.encoder = AutoConfig.for_model(**encoder) if isinstance(encoder, dict) else encoder
        self.pooling: Pooling = pooling
        self.head_dropout = head_dropout
        self.length = length
        self.learnt = list(learnt)  # as JSON gives it back
        super().__init__(**options)


@dataclass
class SarcasmOutput(ModelOutput):
    """What the heads give for n texts."""

    sarcastic: Tensor  # logit of "sarcastic", shape (n,)
    categories: Tensor = None  # type: ignore[assignment] - ModelOutput allows one field without a default
    rank: Tensor = None  # type: ignore[assignment]


class _Head(nn.Module):
    def __init__(self, width: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, outputs)

    def forward(self, pooled: Tensor) -> Tensor:
        return self.out_proj(self.dropout(torch.tanh(self.dense(self.dropout(pooled)))))


class SarcasmModel(PreTrainedModel):
    """An encoder with three heads; each is dropout, dense, tanh, dropout, linear."""

    # The head that ranks two texts shares the encoder with the first one and no more: one common logit costs the first
    # task much of its accuracy.

    config_class = SarcasmConfig
    base_model_prefix = "encoder"
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = _supports_attention_backend = True
    supports_gradient_checkpointing = True

    def __init__(self, config: SarcasmConfig, encoder: PreTrainedModel | None = None) -> None:
        super().__init__(config)
        self.encoder: Any = encoder or AutoModel.from_config(config.encoder, trust_remote_code=False)
        width = getattr(config.encoder, "hidden_size", None)
        if width is None or self.encoder.config.is_encoder_decoder:
            raise ModelError(
                f"{type(self.encoder).__name__} is not an encoder with one hidden state a token.",
                hint="Use one such as BERT, XLM-RoBERTa, DeBERTa or ModernBERT.",
            )
        if getattr(self.encoder, "pooler", None) is not None:
            self.encoder.pooler = None  # the heads have their own dense layer
        self.sarcastic = _Head(width, 1, config.head_dropout)
        self.categories = _Head(width, len(CATEGORIES), config.head_dropout)
        self.rank = _Head(width, 1, config.head_dropout)
        self.post_init()

    @classmethod
    def from_encoder(cls, place: str, *, seed: int = 0, **settings: Any) -> SarcasmModel:
        """Put new heads on a pre-trained encoder."""
        # Where that is an ERNIE-M and its first token is pooled, the dense layer of each head starts from its pooler.
        with seeded_globally(seed, "initialisation"):
            encoder = open_text_encoder(place)
            model = cls(SarcasmConfig(encoder=encoder.config, **settings), encoder)
        if model.config.pooling == "cls" and _is_blind(encoder):
            raise ModelError(
                f"{type(encoder).__name__} reads from left to right: its first token, which is pooled, sees no other.",
                hint="Write --set pooling=mean, or from Python pooling='mean'.",
            )
        pooler = read_pooler(Path(place)) if model.config.pooling == "cls" else None
        if pooler is not None:
            for head in (model.sarcastic, model.categories, model.rank):
                head.dense.load_state_dict(pooler)
        return model

    def get_input_embeddings(self) -> nn.Module:
        """Give the word embeddings."""
        return self.encoder.get_input_embeddings()

    def forward(
        self, input_ids: Tensor | None = None, attention_mask: Tensor | None = None, **inputs: Any
    ) -> SarcasmOutput:
        """Give the outputs of the three heads."""
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **inputs).last_hidden_state
        pooled = _pool(hidden, attention_mask, mean=self.config.pooling == "mean")
        return SarcasmOutput(
            sarcastic=self.sarcastic(pooled).squeeze(-1),
            categories=self.categories(pooled),
            rank=self.rank(pooled).squeeze(-1),
        )


@torch.no_grad()
def _is_blind(encoder: PreTrainedModel) -> bool:
    """Tell whether the first token is the same whatever the last one is."""
    ids = torch.tensor([[0, 1, 2, 3], [0, 1, 2, 4]])
    first = encoder(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[:, 0]
    return torch.allclose(first[0], first[1], rtol=0, atol=1e-6)


def _pool(hidden: Tensor, mask: Tensor | None, *, mean: bool) -> Tensor:
    if mask is None:
        return hidden.mean(1) if mean else hidden[:, 0]
    if mean:
        weights = mask[..., None].to(hidden.dtype)
        return (hidden * weights).sum(1) / weights.sum(1)
    first = mask.argmax(1)  # 0, unless padding is on the left
    return hidden.gather(1, first[:, None, None].expand(-1, 1, hidden.shape[-1])).squeeze(1)
