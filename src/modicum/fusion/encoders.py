"""Encoders of the streams, from frames of features to channels of the cube, and of the text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from modicum.errors import ConfigError, ModelError
from modicum.fusion.configuration import Stream
from modicum.fusion.inputs import keep_frames

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Embeddings, then a list of layers that take states and a mask and nothing else: what can be cut between two layers.
_LAYERED = ("bert", "camembert", "roberta", "xlm-roberta")
_RECURRENT: Mapping[str, type[nn.GRU] | type[nn.LSTM]] = {"gru": nn.GRU, "lstm": nn.LSTM}
_ONNX_GATES = {nn.GRU: (1, 0, 2), nn.LSTM: (0, 3, 1, 2)}  # torch has (reset, update, new) and (in, forget, cell, out)


class _Recurrent(nn.Module):
    """A bidirectional recurrence whose directions are added."""

    def __init__(self, kind: type[nn.GRU] | type[nn.LSTM], stream: Stream, channels: int) -> None:
        super().__init__()
        self.rnn = kind(stream.size, channels, stream.layers, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        if torch.onnx.is_in_onnx_export():
            return self._exported(x, lengths)
        # A sequence of no frames cannot be packed; what comes of its one zero frame is removed behind the norm.
        packed = pack_padded_sequence(x, lengths.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.rnn(packed)[0], batch_first=True, total_length=x.shape[1])
        return states.unflatten(-1, (2, -1)).sum(-2)

    def _exported(self, x: Tensor, lengths: Tensor) -> Tensor:
        # Packed sequences cannot be exported, but the operators of ONNX take lengths.
        operator = "GRU" if isinstance(self.rnn, nn.GRU) else "LSTM"
        options = {"hidden_size": self.rnn.hidden_size, "direction": "bidirectional"}
        if operator == "GRU":
            options["linear_before_reset"] = 1
        states = x = x.transpose(0, 1)
        for layer in range(self.rnn.num_layers):
            weights = [self._onnx_weight(name, layer) for name in ("weight_ih", "weight_hh")]
            biases = torch.cat([self._onnx_weight(name, layer) for name in ("bias_ih", "bias_hh")], 1)
            states = torch.onnx.ops.symbolic(
                operator,
                [x, *weights, biases, lengths.int()],
                options,
                dtype=x.dtype,
                shape=(x.shape[0], 2, x.shape[1], self.rnn.hidden_size),
            )
            x = states.transpose(1, 2).flatten(2)
        return states.sum(1).transpose(0, 1)

    def _onnx_weight(self, name: str, layer: int) -> Tensor:
        order = _ONNX_GATES[type(self.rnn)]
        both = [getattr(self.rnn, f"{name}_l{layer}{direction}") for direction in ("", "_reverse")]
        return torch.stack([weight.unflatten(0, (len(order), -1))[list(order)].flatten(0, 1) for weight in both])


class _Memoryless(nn.Module):
    """A map of three neighbouring frames, what is beyond either end being 0, of each frame alone, or none."""

    def __init__(self, stream: Stream, channels: int) -> None:
        super().__init__()
        if stream.encoder == "conv":
            self.conv = nn.Conv1d(stream.size, channels, kernel_size=3, padding=1)
        elif stream.encoder == "linear":
            self.dense = nn.Linear(stream.size, channels)
        elif stream.size != channels:
            raise ConfigError(
                f"The stream {stream.name!r} has {stream.size} values a frame, and the cube {channels} channels.",
                hint="Give it an encoder, or the cube as many channels.",
            )
        self.kind = stream.encoder

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:  # noqa: ARG002 - as of the recurrence
        if self.kind == "conv":
            return self.conv(x.transpose(1, 2)).transpose(1, 2)
        return self.dense(x) if self.kind == "linear" else x


class FeatureEncoder(nn.Module):
    """An encoder of a stream of features, and dropout(relu(LN(.))) behind it as in the released code."""

    # Without an encoder there is only the dropout.

    def __init__(self, stream: Stream, channels: int, *, eps: float) -> None:
        super().__init__()
        recurrence = _RECURRENT.get(stream.encoder)
        self.encoder = _Memoryless(stream, channels) if recurrence is None else _Recurrent(recurrence, stream, channels)
        self.norm: Any = None if stream.encoder == "none" else nn.LayerNorm(channels, eps=eps)
        self.dropout = nn.Dropout(stream.dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Encode the frames before the end of each sample; no other is read."""
        encoded = self.encoder(keep_frames(x, lengths), lengths)
        return keep_frames(self.dropout(encoded if self.norm is None else torch.relu(self.norm(encoded))), lengths)


class TextProjection(nn.Module):
    """A linear map of the text encoder's states, free of a bias, and dropout."""

    def __init__(self, stream: Stream, channels: int) -> None:
        super().__init__()
        self.dense = nn.Linear(stream.size, channels, bias=False)
        self.dropout = nn.Dropout(stream.dropout)

    def forward(self, states: Tensor) -> Tensor:
        """Project states of shape (batch, time, size) to (batch, time, channels)."""
        return self.dropout(self.dense(states))


class TextEncoder(nn.Module):
    """An encoder with some of its layers frozen."""

    # What is frozen is without dropout in training too, so that its states are the same in each epoch and can be kept.

    def __init__(self, encoder: PreTrainedModel, *, frozen_layers: int = 0, freeze_embeddings: bool = True) -> None:
        super().__init__()
        if getattr(encoder.config, "hidden_size", None) is None or encoder.config.is_encoder_decoder:
            hint = "Use one such as BERT, RoBERTa or XLM-RoBERTa."
            raise ModelError(f"{type(encoder).__name__} is not an encoder with one hidden state a token.", hint=hint)
        self.encoder: Any = encoder
        if getattr(encoder, "pooler", None) is not None:
            self.encoder.pooler = None  # the cube reads the states of the tokens
        self.frozen_layers = frozen_layers
        self.keeps_states = frozen_layers != 0 and freeze_embeddings
        self._whole = frozen_layers == -1 and freeze_embeddings
        self._frozen: list[nn.Module] = [self.encoder] if self._whole else []
        if frozen_layers and not self._whole:
            layers = self._layers()
            if not -1 <= frozen_layers <= layers:
                hint = "Freeze as many as it has, or -1 for all."
                raise ModelError(f"frozen_layers is {frozen_layers}, but the encoder has {layers} layers.", hint=hint)
            count = layers if frozen_layers == -1 else frozen_layers
            self._frozen = [self.encoder.embeddings] if freeze_embeddings else []
            self._frozen += self.encoder.encoder.layer[:count]
        self.train(self.training)

    def _layers(self) -> int:
        """Count the layers of an encoder that can be cut between them."""
        kind = self.encoder.config.model_type
        if kind not in _LAYERED:
            hint = f"Freeze all of it (-1) or nothing (0), or use one of: {', '.join(_LAYERED)}."
            raise ModelError(f"An encoder of the kind {kind!r} cannot be frozen in part.", hint=hint)
        return len(self.encoder.encoder.layer)

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
            hint = "Set frozen_layers, and freeze_embeddings with them."
            raise ModelError("No states of this text encoder stay the same in training.", hint=hint)
        ids, seen = self._seen(input_ids, attention_mask)
        if self._whole:
            return self.encoder(input_ids=ids, attention_mask=seen).last_hidden_state
        return self._through(slice(0, self.frozen_layers), self.encoder.embeddings(input_ids=ids), seen)

    def from_states(self, states: Tensor, attention_mask: Tensor) -> Tensor:
        """Run the layers that are not frozen."""
        if not self.keeps_states or states.shape[-1] != self.encoder.config.hidden_size:
            hint = "Give states that its text_states made, or input_ids."
            raise ModelError(f"States of shape {tuple(states.shape)} do not belong to this text encoder.", hint=hint)
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
