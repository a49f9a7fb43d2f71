"""The text encoder: one of transformers, of which the lower part may be frozen and its states kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from modicum.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


# Embeddings, then a list of layers that take states and a mask and nothing else: what can be cut between two layers.
_LAYERED = ("bert", "camembert", "roberta", "xlm-roberta")


class TextEncoder(nn.Module):
    """An encoder with some of its layers frozen."""

    # What is frozen is without dropout in training too, so that its states are the same in each epoch and can be kept.

    def __init__(self, encoder: PreTrainedModel, *, frozen_layers: int = 0, freeze_embeddings: bool = True) -> None:
        super().__init__()
        if getattr(encoder.config, "hidden_size", None) is None or encoder.config.is_encoder_decoder:
            raise ModelError(
                f"{type(encoder).__name__} is not an encoder with one hidden state a token.",
                hint="Use one such as BERT, RoBERTa or XLM-RoBERTa.",
            )
        self.encoder: Any = encoder
        if getattr(encoder, "pooler", None) is not None:
            self.encoder.pooler = None  # the cube reads the states of the tokens
        self.frozen_layers = frozen_layers
        self.keeps_states = frozen_layers != 0 and freeze_embeddings
        self._whole = frozen_layers == -1 and freeze_embeddings
        if frozen_layers and not self._whole:
            self._check_layers()
        self._frozen = self._frozen_parts(embeddings=freeze_embeddings)
        self.train(self.training)

    def _check_layers(self) -> None:
        kind = self.encoder.config.model_type
        if kind not in _LAYERED:
            raise ModelError(
                f"An encoder of the kind {kind!r} cannot be frozen in part.",
                hint=f"Freeze all of it (-1) or nothing (0), or use one of: {', '.join(_LAYERED)}.",
            )
        if not -1 <= self.frozen_layers <= len(self.encoder.encoder.layer):
            raise ModelError(
                f"frozen_layers is {self.frozen_layers}, but the encoder has {len(self.encoder.encoder.layer)} layers.",
                hint="Freeze as many as it has, or -1 for all.",
            )

    def _frozen_parts(self, *, embeddings: bool) -> list[nn.Module]:
        if not self.frozen_layers:
            return []
        if self._whole:
            return [self.encoder]
        layers = self.encoder.encoder.layer
        count = len(layers) if self.frozen_layers == -1 else self.frozen_layers
        return [*([self.encoder.embeddings] if embeddings else []), *layers[:count]]

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 - the signature of torch
        """Switch dropout on or off, but never on in what is frozen and whose states are kept."""
        super().train(mode)
        for part in self._frozen:
            part.requires_grad_(requires_grad=False)  # again: from_pretrained, which ends here, makes new parameters
            if self.keeps_states:
                part.eval()
        return self

    @torch.no_grad()
    def text_states(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Give the states behind the frozen layers, which can be kept and given to `from_states` in each epoch."""
        if not self.keeps_states:
            raise ModelError(
                "No states of this text encoder stay the same in training.",
                hint="Set frozen_layers, and freeze_embeddings with them.",
            )
        ids, seen = self._seen(input_ids, attention_mask)
        if self._whole:
            return self.encoder(input_ids=ids, attention_mask=seen).last_hidden_state
        return self._through(slice(0, self.frozen_layers), self.encoder.embeddings(input_ids=ids), seen)

    def from_states(self, states: Tensor, attention_mask: Tensor) -> Tensor:
        """Run the layers that are not frozen."""
        if not self.keeps_states or states.shape[-1] != self.encoder.config.hidden_size:
            raise ModelError(
                f"States of shape {tuple(states.shape)} do not belong to this text encoder.",
                hint="Give states that its text_states made, or input_ids.",
            )
        if self._whole:
            return states
        return self._through(slice(self.frozen_layers, None), states, _visible(attention_mask))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Give the last hidden states, shape (batch, time, hidden); what stands at padding means nothing."""
        if self.keeps_states:
            return self.from_states(self.text_states(input_ids, attention_mask), attention_mask)
        ids, seen = self._seen(input_ids, attention_mask)
        return self.encoder(input_ids=ids, attention_mask=seen).last_hidden_state

    def _seen(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        # RoBERTa counts positions by ids that are not padding, so that what stands at padding must be padding.
        padding = self.encoder.config.pad_token_id or 0
        return torch.where(attention_mask.bool(), input_ids, padding), _visible(attention_mask)

    def _through(self, part: slice, states: Tensor, attention_mask: Tensor) -> Tensor:
        from transformers.masking_utils import create_bidirectional_mask

        mask = create_bidirectional_mask(self.encoder.config, states, attention_mask)
        for layer in self.encoder.encoder.layer[part]:
            states = layer(states, mask)
        return states


def _visible(attention_mask: Tensor) -> Tensor:
    """Let a sample without any token see all of its padding: a softmax over nothing is NaN."""
    mask = attention_mask.bool()
    return (mask | ~mask.any(1, keepdim=True)).long()
