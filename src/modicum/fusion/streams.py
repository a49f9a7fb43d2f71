"""Encoders of the streams: from frames of features to channels of the cube."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from modicum.errors import ConfigError
from modicum.fusion.configuration import Stream
from modicum.fusion.placing import keep_frames

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


class _Convolution(nn.Module):
    """Three frames to one; what is beyond either end is 0."""

    def __init__(self, stream: Stream, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(stream.size, channels, kernel_size=3, padding=1)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:  # noqa: ARG002 - as of the other encoders
        return self.conv(x.transpose(1, 2)).transpose(1, 2)


class _Frame(nn.Module):
    """Each frame for itself."""

    def __init__(self, stream: Stream, channels: int) -> None:
        super().__init__()
        self.dense = nn.Linear(stream.size, channels)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:  # noqa: ARG002 - as of the other encoders
        return self.dense(x)


class _Nothing(nn.Module):
    """The values as they came."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:  # noqa: ARG002 - as of the other encoders
        return x


def _encoder(stream: Stream, channels: int) -> nn.Module:
    match stream.encoder:
        case "none":
            if stream.size != channels:
                raise ConfigError(
                    f"The stream {stream.name!r} has {stream.size} values a frame, and the cube {channels} channels.",
                    hint="Give it an encoder, or the cube as many channels.",
                )
            return _Nothing()
        case "gru":
            return _Recurrent(nn.GRU, stream, channels)
        case "lstm":
            return _Recurrent(nn.LSTM, stream, channels)
        case "conv":
            return _Convolution(stream, channels)
        case "linear":
            return _Frame(stream, channels)


class FeatureEncoder(nn.Module):
    """An encoder of a stream of features, and dropout(relu(LN(.))) behind it as in the released code."""

    # Without an encoder there is only the dropout.

    def __init__(self, stream: Stream, channels: int, *, eps: float) -> None:
        super().__init__()
        self.encoder = _encoder(stream, channels)
        self.norm: Any = None if stream.encoder == "none" else nn.LayerNorm(channels, eps=eps)
        self.dropout = nn.Dropout(stream.dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Encode the frames before the end of each sample; no other is read."""
        return keep_frames(self.released(keep_frames(x, lengths), lengths), lengths)

    def released(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Encode as the released code does, which leaves what norm and ReLU make of padding in the output."""
        encoded = self.encoder(x, lengths)
        return self.dropout(encoded if self.norm is None else torch.relu(self.norm(encoded)))


class TextProjection(nn.Module):
    """A linear map of the text encoder's states, free of a bias, and dropout."""

    def __init__(self, stream: Stream, channels: int) -> None:
        super().__init__()
        self.dense = nn.Linear(stream.size, channels, bias=False)
        self.dropout = nn.Dropout(stream.dropout)

    def forward(self, states: Tensor) -> Tensor:
        """Project states of shape (batch, time, size) to (batch, time, channels)."""
        return self.dropout(self.dense(states))
