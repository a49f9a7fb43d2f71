"""The settings of a network and of its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen

from modicum.core.extras import require
from modicum.core.method import Budget
from modicum.core.settings import Help
from modicum.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig
else:
    PreTrainedConfig = require("transformers", extra="text", purpose="SeqDiffuSeq").PreTrainedConfig


class SeqDiffuSeqConfig(PreTrainedConfig):
    """The architecture of a `SeqDiffuSeqForConditionalGeneration`; the defaults are the paper's for translation.

    Args:
        vocab_size: tokens, for source and target.
        embedding_dim: of the embeddings that are diffused.
        d_model: width of the Transformer.
        attention_heads: of each attention.
        ffn_dim: width of the feed-forward layers.
        encoder_layers: of the encoder.
        decoder_layers: of the decoder.
        dropout: behind each part of a layer; the released scripts name a rate and apply none.
        attention_dropout: of attention weights.
        activation_dropout: in the feed-forward layers.
        init_std: of the weights of the Transformer and of embeddings at first; 0.02 suits wide networks, and narrow
            ones read their source sooner with about ``d_model ** -0.5``.
        max_position_embeddings: longest source or target that has positions.
        source_length: tokens that a source may have.
        target_length: positions of the canvas.
        num_steps: times of the diffusion.
        bins: of time, for the adaptive schedule.
        self_conditioning: sampling gives the network its prediction of the step before; `train` sets it.
        tokenizer_hash: of the tokenizer that the weights belong to, set by `configure`.
        pad_token_id: fills the canvas.
        bos_token_id: begins each text.
        eos_token_id: ends each text.
        **options: of every configuration.

    Raises:
        ConfigError: if a number is not one that it can be.
    """

    model_type = "modicum-seqdiffuseq"

    def __init__(  # noqa: PLR0913 - an architecture has as many numbers as it has
        self,
        vocab_size: int = 10005,
        *,
        embedding_dim: int = 128,
        d_model: int = 512,
        attention_heads: int = 8,
        ffn_dim: int = 2048,
        encoder_layers: int = 6,
        decoder_layers: int = 6,
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
        activation_dropout: float = 0.1,
        init_std: float = 0.02,
        max_position_embeddings: int = 1024,
        source_length: int = 128,
        target_length: int = 64,
        num_steps: int = 2000,
        bins: int = 100,
        self_conditioning: bool = True,
        tokenizer_hash: str | None = None,
        pad_token_id: int = 1,
        bos_token_id: int = 0,
        eos_token_id: int = 2,
        **options: Any,
    ) -> None:
        self.vocab_size, self.embedding_dim = vocab_size, embedding_dim
        self.d_model, self.attention_heads, self.ffn_dim = d_model, attention_heads, ffn_dim
        self.encoder_layers, self.decoder_layers = encoder_layers, decoder_layers
        self.dropout, self.attention_dropout = dropout, attention_dropout
        self.activation_dropout = activation_dropout
        self.init_std = init_std
        self.max_position_embeddings = max_position_embeddings
        self.source_length, self.target_length = source_length, target_length
        self.num_steps, self.bins = num_steps, bins
        self.self_conditioning = self_conditioning
        self.tokenizer_hash = tokenizer_hash
        self.pad_token_id, self.bos_token_id, self.eos_token_id = pad_token_id, bos_token_id, eos_token_id
        options.setdefault("tie_word_embeddings", True)
        super().__init__(**options)
        self._check(pad_token_id, bos_token_id, eos_token_id)

    def _check(self, *special: int) -> None:
        for name in ("vocab_size", "embedding_dim", "attention_heads", "ffn_dim", "encoder_layers", "decoder_layers"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}.", hint="Give a larger one.")
        if self.d_model < 1 or self.d_model % self.attention_heads or self.d_model % 2:
            raise ConfigError(
                f"d_model must be even and a multiple of {self.attention_heads} attention_heads, got {self.d_model}.",
                hint="Use d_model=512 with 8 heads, for example.",
            )
        shortest, longest = sorted((self.source_length, self.target_length))
        if not 1 <= shortest <= longest <= self.max_position_embeddings:
            raise ConfigError(
                f"There are {self.max_position_embeddings} positions, but sources have up to {self.source_length} "
                f"tokens and targets {self.target_length}.",
                hint="Give lengths from 1 on, and raise max_position_embeddings.",
            )
        for name in ("dropout", "attention_dropout", "activation_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}.", hint="Give a share from 0 on and below 1.")
        if len(set(special)) < len(special) or not all(0 <= token < self.vocab_size for token in special):
            raise ConfigError(
                f"pad, bos and eos must be three of {self.vocab_size} tokens, got {special}.",
                hint="Take the ids of the tokenizer.",
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSettings:
    """How a network is trained; `PRESETS` has those of the paper, and faster ones for small networks.

    The rate of AdamW rises linearly for ``warmup`` steps and then falls to 0. The noise schedule is first updated after
    three times ``schedule_every`` steps. A training leaves the average of the weights whose decay is ``ema``.
    """

    steps: Annotated[int, Help("of the optimizer"), Ge(1)]
    batch: Annotated[int, Help("pairs a step"), Ge(1)]
    accumulation: Annotated[int, Help("passes that make up a step"), Ge(1)] = 1
    rate: Annotated[float, Help("highest learning rate of AdamW"), Gt(0)]
    warmup: Annotated[int, Help("steps in which the rate rises"), Ge(0)]
    clip: Annotated[float, Help("largest norm of the gradient; 0 for none"), Ge(0)] = 0.0
    ema: Annotated[float, Help("decay of the average of the weights"), Ge(0), Lt(1)]
    schedule_every: Annotated[int, Help("steps between updates of the noise schedule; 0 for none"), Ge(0)]
    schedule_shared: Annotated[bool, Help("learn one noise schedule for all positions")] = False
    self_conditioning: Annotated[float, Help("share of batches with self-conditioning"), Ge(0), Le(1)] = 0.5
    prediction_loss: Annotated[bool, Help("add the cross-entropy of the prediction")] = False
    canvas: Annotated[Literal["fixed", "random"], Help("of a batch: all positions, or a random part")] = "fixed"
    precision: Annotated[Literal["fp32", "bf16"], Help("of the passes")] = "fp32"
    compile: Annotated[bool, Help("by torch.compile")] = False


PRESETS: Mapping[Literal["paper", "fast"], TrainingSettings] = {
    "paper": TrainingSettings(steps=1_000_000, batch=128, rate=1e-4, warmup=10_000, ema=0.9999, schedule_every=20_000),
    "fast": TrainingSettings(
        steps=4000,
        batch=96,
        rate=2e-3,
        warmup=100,
        clip=1.0,
        ema=0.995,
        schedule_every=400,
        prediction_loss=True,
        canvas="random",
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonSettings:
    """What ``modicum compare seqdiffuseq`` can change, the same for all arms."""

    task: Annotated[
        Literal["past", "cmudict", "multi30k"], Help("past tenses, pronunciations or translations, without --data")
    ]
    tokens: Annotated[Literal["words", "bytes"], Help("what stands between spaces, or byte-level BPE")] = "words"
    vocabulary: Annotated[int, Help("tokens at most"), Ge(6)] = 10_005
    longest: Annotated[int, Help("tokens of a source or a target at most"), Ge(4), Le(1024)] = 64
    steps: Annotated[int, Help("of the optimizer, of each arm"), Ge(1)]
    batch: Annotated[int, Help("pairs a step"), Ge(1)]
    rates: Annotated[
        tuple[Annotated[float, Gt(0)], ...],
        Help("highest learning rates of AdamW that each arm tries; the one of the lowest validation error is kept"),
        MinLen(1),
    ]
    schedule_every: Annotated[int, Help("steps between updates of the noise schedule"), Ge(1)]
    bins: Annotated[int, Help("of time in the learned schedule; a divisor of 2,000"), Ge(2)]
    embedding_dim: Annotated[int, Help("of the embeddings that are diffused"), Ge(1)] = 32
    width: Annotated[int, Help("of the Transformer"), Ge(2)]
    heads: Annotated[int, Help("of each attention"), Ge(1)] = 4
    layers: Annotated[int, Help("of encoder and decoder each"), Ge(1)]
    init_std: Annotated[float, Help("of the first weights; with 0.02 narrow networks ignore the source"), Gt(0)] = 0.1
    precision: Annotated[Literal["fp32", "bf16"], Help("of the passes of the training")] = "fp32"
    calls: Annotated[
        tuple[Annotated[int, Ge(1), Le(2000)], ...], Help("network calls from which validation chooses"), MinLen(1)
    ] = (2, 5, 10, 20)
    many: Annotated[int, Help("network calls that are tried beside the chosen ones"), Ge(1), Le(2000)] = 100
    candidates: Annotated[int, Help("from which MBR chooses"), Ge(1)] = 10
    validation: Annotated[int, Help("sources at most"), Ge(1)]
    test: Annotated[int, Help("sources at most"), Ge(1)]


COMPARISON: Mapping[Budget, ComparisonSettings] = {
    "demo": ComparisonSettings(
        task="past",
        steps=250,
        batch=64,
        rates=(5e-3,),
        schedule_every=25,
        bins=10,  # with 100 a bin has 16 losses between updates, and the schedule is noise
        width=32,
        heads=2,
        layers=1,
        calls=(2, 5, 20),
        many=50,
        candidates=5,
        validation=50,
        test=100,
    ),
    "full": ComparisonSettings(
        task="cmudict",
        steps=4000,
        batch=96,
        rates=(1e-3, 2e-3),  # at the second masked diffusion does not learn
        schedule_every=400,
        bins=100,
        width=96,
        layers=2,
        validation=500,
        test=1000,
    ),
}
