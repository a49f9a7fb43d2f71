"""The network: encoders of the streams, the cube, and a head."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from modicum.core.extras import require
from modicum.errors import ConfigError, DataError, ModelError
from modicum.fusion.configuration import CubeMLPConfig, Loss, Stream
from modicum.fusion.encoders import FeatureEncoder, TextEncoder, TextProjection
from modicum.fusion.functional import concordance
from modicum.fusion.inputs import (
    Text,
    Track,
    absent_tokens,
    check_present,
    drop_modalities,
    fit_time,
    frames_within,
    keep_frames,
    place_words,
    present_lengths,
    stack_tracks,
)
from modicum.fusion.mixer import CubeMLP

if TYPE_CHECKING:
    from transformers import AutoModel, PreTrainedModel
    from transformers.utils.generic import ModelOutput
else:
    _transformers = require("transformers", extra="fusion", purpose="CubeMLP")
    AutoModel, PreTrainedModel = _transformers.AutoModel, _transformers.PreTrainedModel
    ModelOutput = _transformers.utils.generic.ModelOutput

_CCC_EPS = 1e-8  # ours: so that a constant batch costs 1 and not 0/0


@dataclass
class CubeMLPOutput(ModelOutput):
    """What the model gives for a batch."""

    loss: Tensor | None = None  # a number; None without labels
    logits: Tensor = None  # type: ignore[assignment] - ModelOutput allows one field without a default
    hidden: Tensor = None  # type: ignore[assignment]


class CubeMLPForPrediction(PreTrainedModel):
    """Encoders of the streams, a `CubeMLP` of their frames, and a head.

    What it says of a sample does not depend on the other samples of the batch, nor on how far they are padded, nor on
    what an absent stream contains.

    Args:
        config: of the whole model, with its streams.
        encoder: that the configuration names, with its weights; None draws them.

    Raises:
        ConfigError: if there are no streams, or a text encoder without a stream of text or the reverse.
        ModelError: if the text encoder does not fit.
    """

    config: CubeMLPConfig
    config_class = CubeMLPConfig
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = _supports_attention_backend = True

    def __init__(self, config: CubeMLPConfig, encoder: PreTrainedModel | None = None) -> None:
        super().__init__(config)
        _check_config(config)
        self.modalities = config.modalities
        channels, eps = config.d_ins[2], config.layer_norm_eps
        self.text: Any = None
        if config.text_encoder is not None:
            self.text = TextEncoder(
                encoder or AutoModel.from_config(config.text_encoder, trust_remote_code=False),
                frozen_layers=config.frozen_layers,
                freeze_embeddings=config.freeze_embeddings,
            )
        encode = lambda it: TextProjection(it, channels) if it.text else FeatureEncoder(it, channels, eps=eps)
        self.streams = nn.ModuleDict({stream.name: encode(stream) for stream in self.modalities})
        # The released code has no such tokens: it takes an absent stream for one of zeros.
        self.absent = nn.Parameter(torch.zeros(config.d_ins[1], channels))
        self.cube = CubeMLP(config)
        self.head = _head(config)
        self.post_init()

    @classmethod
    def from_pretrained(cls, *args: Any, **options: Any) -> Any:
        """Load a model as transformers does, and so that it gives the bits of the one that was saved."""
        loaded = super().from_pretrained(*args, **options)
        for weight in (loaded[0] if isinstance(loaded, tuple) else loaded).parameters():
            # A file's numbers begin anywhere in memory, and matrix products at another place round otherwise.
            weight.data = weight.data.clone()
        return loaded

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        # PreTrainedModel would draw all from one normal distribution; the released code keeps torch's own.
        if module is self:
            nn.init.zeros_(self.absent)
        elif reset := cast("Callable[[], None] | None", getattr(module, "reset_parameters", None)):
            reset()
        if isinstance(module, nn.RNNBase):
            for name, weight in module.named_parameters():
                if name.startswith("weight_hh"):
                    nn.init.orthogonal_(weight)

    def get_input_embeddings(self) -> nn.Module:
        """Give the word embeddings of the text encoder."""
        if self.text is None:
            raise ModelError("A model without text has no word embeddings.", hint="Ask one with a stream of text.")
        return self.text.encoder.get_input_embeddings()

    def forward(
        self,
        features: Mapping[str, Tensor] | None = None,
        lengths: Mapping[str, Tensor] | None = None,
        present: Tensor | None = None,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        word_ids: Tensor | None = None,
        text_states: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> CubeMLPOutput:
        """Predict.

        A stream that is not given, has no frame, or is not present is absent: a learned token stands for it at the
        frames that the sample's other streams have. Frames of words go where the pieces of their words are; where the
        text is absent, they stand one behind the other.

        Args:
            features: streams by name, each of shape (batch, frames, size).
            lengths: frames of each sample by stream, int64, shape (batch,); what is at or behind them is not read.
                Without them all frames are the sample's.
            present: bool, shape (batch, modality) in the order of ``config.modalities``.
            input_ids: of the text, shape (batch, time).
            attention_mask: 1 for a token and 0 for padding on the right, same shape; None if there is no padding.
            word_ids: the word of each piece, -1 where there is none, int64, same shape.
            text_states: in place of ``input_ids``, states of ``text.text_states``, shape (batch, time, hidden).
            labels: shape (batch,) or (batch, outputs), for the loss.

        Returns:
            The loss if there are labels, the logits, and what the head reads.

        Raises:
            ConfigError: if a stream is unknown.
            DataError: if shapes disagree, a length does not fit, a sample has no stream, or a label is not usable.
            ModelError: if ``text_states`` are not those of the text encoder.
        """
        text = Text.of(input_ids, attention_mask, word_ids, text_states)
        features = features or {}
        counts = present_lengths(self.modalities, features, lengths or {}, present, text)
        if not torch.compiler.is_compiling():
            check_present(self.modalities, counts, features, text)
        if self.training and self.config.modality_dropout:
            counts = drop_modalities(counts, self.config.modality_dropout)
        # The mean over time, and the modalities side by side.
        hidden = self.cube(self._assemble(counts, features, text)).mean(1).flatten(1)
        logits = self.head(hidden)
        loss = None if labels is None else prediction_loss(self.config.loss, logits, labels)
        return CubeMLPOutput(loss=loss, logits=logits, hidden=hidden)

    def _assemble(self, counts: Tensor, features: Mapping[str, Tensor], text: Text | None) -> Tensor:
        """Give the cube."""
        texts = [own for stream, own in zip(self.modalities, counts.unbind(1), strict=True) if stream.text]
        tokens = texts[0] if texts else torch.zeros_like(counts[:, 0])
        tracks: list[Track] = []
        for stream, own in zip(self.modalities, counts.unbind(1), strict=True):
            if stream.text:
                track = Track(self._text_frames(stream, own, text), own)
            else:
                track = self._feature_track(stream, own, features.get(stream.name), tokens, text)
            tracks.append(fit_time(track, self.config.d_ins[0], self.config.overflow))
        return absent_tokens(stack_tracks(tracks), torch.stack([track.lengths for track in tracks], 1), self.absent)

    def _text_frames(self, stream: Stream, tokens: Tensor, text: Text | None) -> Tensor:
        if text is None:
            return self._nothing(tokens)
        mask = frames_within(tokens, text.mask.shape[1])
        if text.states is None:
            states = self.text(text.input_ids, mask)
        else:
            states = self.text.from_states(keep_frames(text.states, tokens), mask)
        return self.streams[stream.name](keep_frames(states, tokens))

    def _feature_track(
        self, stream: Stream, own: Tensor, values: Tensor | None, tokens: Tensor, text: Text | None
    ) -> Track:
        if values is None or values.shape[1] == 0:  # no encoder takes a batch without a frame
            return Track(self._nothing(own), own)
        track = Track(self.streams[stream.name](values, own), own)
        if not stream.per_word or text is None:
            return track
        if text.word_ids is None:
            hint = "Give the word of each piece, -1 for pieces of none."
            raise DataError(f"The frames of {stream.name!r} belong to words, but there are no word_ids.", hint=hint)
        return place_words(track, text.word_ids, tokens)

    def _nothing(self, counts: Tensor) -> Tensor:
        return torch.zeros(counts.shape[0], 0, self.config.d_ins[2], dtype=self.dtype, device=counts.device)


def _check_config(config: CubeMLPConfig) -> None:
    modalities = config.modalities
    texts = [stream for stream in modalities if stream.text]
    if not modalities:
        raise ConfigError("The configuration has no streams.", hint="Give one for each modality, or use CubeMLP alone.")
    if bool(texts) != (config.text_encoder is not None):
        encoder = "no" if config.text_encoder is None else "a"
        hint = "Give the encoder's configuration as text_encoder, and a stream with text=True."
        raise ConfigError(f"There are {len(texts)} streams of text, and {encoder} text encoder.", hint=hint)
    width = getattr(config.text_encoder, "hidden_size", None)
    if texts and width is not None and texts[0].size != width:
        raise ModelError(
            f"The stream {texts[0].name!r} has {texts[0].size} values a frame, but its encoder gives {width}.",
            hint="Set the stream's size to that of the encoder.",
        )


def _head(config: CubeMLPConfig) -> nn.Module:
    width = config.d_outs[-1][1] * config.d_outs[-1][2]
    if width <= config.head_size:
        return nn.Linear(width, config.outputs)
    return nn.Sequential(
        nn.Linear(width, config.head_size),
        nn.ReLU(),
        nn.Dropout(config.head_dropout),
        nn.Linear(config.head_size, config.outputs),
    )


def prediction_loss(loss: Loss, logits: Tensor, labels: Tensor) -> Tensor:
    """Compute what a batch of predictions costs."""
    if loss == "cross_entropy":
        return functional.cross_entropy(logits, _classes(labels, logits))
    compute = {"mae": functional.l1_loss, "mse": functional.mse_loss, "ccc": _ccc_loss}[loss]
    return compute(logits, _targets(labels, logits))


def _ccc_loss(logits: Tensor, targets: Tensor) -> Tensor:
    if len(logits) < 2:
        hint = "Use batches of 2 samples or more, or the loss 'mae'."
        raise ConfigError(f"The loss 'ccc' compares the samples of a batch, which has {len(logits)}.", hint=hint)
    columns = zip(logits.unbind(1), targets.unbind(1), strict=True)
    return torch.stack([1 - concordance(*pair, eps=_CCC_EPS) for pair in columns]).mean()


def _targets(labels: Tensor, logits: Tensor) -> Tensor:
    wanted, found = tuple(logits.shape), tuple(labels.shape)
    if labels.numel() != logits.numel() or found[0] != wanted[0]:
        hint = "Give a number for each sample and output."
        raise DataError(f"Labels of shape {wanted} were expected, got {found}.", hint=hint)
    targets = labels.to(logits.dtype).reshape(wanted)
    if not targets.isfinite().all():
        row = int((~targets.isfinite()).any(1).nonzero()[0])
        raise DataError(f"The label of sample {row} of the batch is not finite.", hint="Leave out what has no label.")
    return targets


def _classes(labels: Tensor, logits: Tensor) -> Tensor:
    wanted, found, count = tuple(logits.shape[:1]), tuple(labels.shape), logits.shape[1]
    if found != wanted or labels.is_floating_point():
        raise DataError(
            f"Classes as integers of shape {wanted} were expected, got {labels.dtype} of shape {found}.",
            hint="Give the number of its class for each sample, or use a loss of targets.",
        )
    wrong = (labels < 0) | (labels >= count)
    if wrong.any():
        row = int(wrong.nonzero()[0])
        hint = f"Number the classes from 0 to {count - 1}, or set outputs."
        raise DataError(f"Sample {row} of the batch has the class {int(labels[row])} of {count}.", hint=hint)
    return labels.long()
