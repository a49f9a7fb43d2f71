"""What a CubeMLP is made of, as it is saved beside its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, get_args

from annotated_types import Ge, Gt, Lt, MinLen
from torch import nn

from modicum.core.extras import require
from modicum.core.method import Budget
from modicum.core.settings import Help
from modicum.errors import ConfigError
from modicum.fusion.functional import AXES, Norm

if TYPE_CHECKING:
    from transformers import AutoConfig, PreTrainedConfig
else:
    _transformers = require("transformers", extra="fusion", purpose="CubeMLP")
    AutoConfig, PreTrainedConfig = _transformers.AutoConfig, _transformers.PreTrainedConfig


Loss: TypeAlias = Literal["mae", "mse", "ccc", "cross_entropy"]
Overflow: TypeAlias = Literal["crop", "pool"]
StreamEncoder: TypeAlias = Literal["gru", "lstm", "conv", "linear", "none"]
Sizes: TypeAlias = Sequence[int]

# The activations between the two affine maps of a mixer, by the names of the released code.
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,  # exact, by the error function
    "hardshrink": nn.Hardshrink,
    "hardtanh": nn.Hardtanh,
    "identity": nn.Identity,
    "leakyrelu": nn.LeakyReLU,
    "prelu": nn.PReLU,
    "relu": nn.ReLU,
    "rrelu": nn.RReLU,
    "tanh": nn.Tanh,
}

_CHOICES: Mapping[str, Sequence[str]] = {
    "norm": get_args(Norm),
    "activation": tuple(ACTIVATIONS),
    "loss": get_args(Loss),
    "overflow": get_args(Overflow),
    "encoder": get_args(StreamEncoder),
}
# What older releases could do otherwise; a saved configuration that asked for it is refused.
_CUT = {"compat": None, "compose_time": "mean", "compose_modality": "cat", "ln_over": "padded", "placement": "repeat"}


def _one_of(**choices: object) -> None:
    for name, value in choices.items():
        if value not in _CHOICES[name]:
            raise ConfigError(f"{name} is {value!r}.", hint=f"Use one of: {', '.join(_CHOICES[name])}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Stream:
    """One modality.

    Args:
        name: "audio", "gyroscope".
        size: values of a frame; that of the text encoder's hidden states if it is text.
        text: whether it comes from the text encoder.
        encoder: of a stream of features: "gru" and "lstm" are bidirectional and add their directions, "conv" has a
            kernel of three frames, "linear" looks at each frame alone, and "none" takes values that are the channels of
            the cube already. Text has a projection and no more.
        layers: of a recurrent encoder.
        per_word: whether a frame is a word of the text, so that it goes to each piece of its word.
        dropout: rate behind the encoder.

    Raises:
        ConfigError: if a choice or a number is not one that it can be.
    """

    name: str
    size: int
    text: bool = False
    encoder: StreamEncoder = "gru"
    layers: int = 2
    per_word: bool = False
    dropout: float = 0.1

    def __post_init__(self) -> None:
        _one_of(encoder=self.encoder)
        if self.size < 1 or self.layers < 1:
            raise ConfigError(
                f"The stream {self.name!r} has {self.size} values a frame and {self.layers} layers.",
                hint="Give at least 1 of each.",
            )
        _check_rates(**{f"dropout of {self.name}": self.dropout})


class CubeMLPConfig(PreTrainedConfig):
    """The architecture of a `CubeMLP`, and of the encoders and the head around it.

    Args:
        d_ins: sizes (time, modality, channel) of the cube.
        d_hiddens: hidden sizes of the three mixers, for each block.
        d_outs: sizes of the cube behind each block; None takes ``d_hiddens``, as the published recipes do.
        norm: where the layer norm of a mixer stands, see `functional.mix`.
        activation: of `ACTIVATIONS`.
        bias: of the affine maps.
        res_project: whether the residual is projected, for all blocks or for each. Where it is not, sizes stay.
        dropouts: rates of the mixers over (time, modality, channel).
        layer_norm_eps: of all layer norms.
        allow_degenerate: accept a layer norm over one element, which puts a constant in place of its input.
        streams: the modalities, as many as ``d_ins[1]``; empty for a `CubeMLP` that is used alone.
        text_encoder: configuration of the encoder of transformers for the stream that is text.
        frozen_layers: of the text encoder, from below; -1 freezes all.
        freeze_embeddings: whether those of the text encoder are frozen with its lowest layers.
        overflow: what happens to frames beyond ``d_ins[0]``: "crop", or "pool" them into as many means.
        head_size: of the hidden layer that the head has where it reads more values than that.
        head_dropout: rate in it.
        modality_dropout: share of samples of which a stream is taken away in training.
        outputs: of the head; classes, or targets.
        loss: "mae", "mse" and "ccc" of targets, "cross_entropy" of classes.
        **options: of every configuration.

    Raises:
        ConfigError: if sizes do not fit, or a choice is unknown.
    """

    model_type = "modicum-cubemlp"

    def __init__(  # noqa: PLR0913 - an architecture has as many numbers as it has
        self,
        d_ins: Sizes = (100, 3, 128),
        d_hiddens: Sequence[Sizes] = ((50, 3, 128), (10, 3, 32)),
        d_outs: Sequence[Sizes] | None = None,
        *,
        norm: Norm = "pre",
        activation: str = "gelu",
        bias: bool = True,
        res_project: bool | Sequence[bool] = True,
        dropouts: Sequence[float] = (0.1, 0.1, 0.1),
        layer_norm_eps: float = 1e-6,
        allow_degenerate: bool = False,
        streams: Sequence[Stream | dict[str, Any]] = (),
        text_encoder: PreTrainedConfig | dict[str, Any] | None = None,
        frozen_layers: int = 0,
        freeze_embeddings: bool = True,
        overflow: Overflow = "crop",
        head_size: int = 128,
        head_dropout: float = 0.1,
        modality_dropout: float = 0.0,
        outputs: int = 1,
        loss: Loss = "mae",
        **options: Any,
    ) -> None:
        self.d_ins = list(d_ins)
        self.d_hiddens = [list(sizes) for sizes in d_hiddens]
        self.d_outs = [list(sizes) for sizes in (d_hiddens if d_outs is None else d_outs)]
        self.norm: Norm = norm
        self.activation = activation
        self.bias = bias
        self.res_project = [res_project] * len(self.d_outs) if isinstance(res_project, bool) else list(res_project)
        self.dropouts = list(dropouts)
        self.layer_norm_eps = layer_norm_eps
        self.allow_degenerate = allow_degenerate
        self.streams = [asdict(stream) if isinstance(stream, Stream) else dict(stream) for stream in streams]
        self.text_encoder: PreTrainedConfig | None = (
            AutoConfig.for_model(**text_encoder) if isinstance(text_encoder, dict) else text_encoder  # pyright: ignore[reportUnknownMemberType]
        )
        self.frozen_layers = frozen_layers
        self.freeze_embeddings = freeze_embeddings
        self.overflow: Overflow = overflow
        self.head_size = head_size
        self.head_dropout = head_dropout
        self.modality_dropout = modality_dropout
        self.outputs = outputs
        self.loss: Loss = loss
        _one_of(norm=norm, activation=activation, loss=loss, overflow=overflow)
        for name, only in _CUT.items():
            if (asked := options.pop(name, only)) != only:
                hint = "Leave it out; a model that was trained with it needs the release that trained it."
                raise ConfigError(f"{name} is {asked!r}, but this modicum knows {only!r} alone.", hint=hint)
        self._check_sizes()
        self._check_streams()
        _check_rates(head_dropout=head_dropout, modality_dropout=modality_dropout)
        super().__init__(**options)

    @property
    def modalities(self) -> tuple[Stream, ...]:
        """The streams as they were given."""
        return tuple(Stream(**stream) for stream in self.streams)

    def shapes(self) -> list[tuple[list[int], list[int], list[int]]]:
        """Give (d_in, d_hidden, d_out) of each block."""
        return list(zip([self.d_ins, *self.d_outs[:-1]], self.d_hiddens, self.d_outs, strict=True))

    def _check_sizes(self) -> None:
        blocks = {"d_hiddens": self.d_hiddens, "d_outs": self.d_outs}
        for name, sizes in {"d_ins": [self.d_ins], **blocks}.items():
            if any(len(triple) != len(AXES) or min(triple) < 1 for triple in sizes) or not sizes:
                hint = "Give three sizes for each block, such as [[50, 3, 128], [10, 3, 32]]."
                raise ConfigError(f"{name} is {sizes}, not (time, modality, channel) of at least 1 each.", hint=hint)
        if not len(self.d_hiddens) == len(self.d_outs) == len(self.res_project):
            raise ConfigError(
                f"There are {len(self.d_hiddens)} blocks in d_hiddens, {len(self.d_outs)} in d_outs and "
                f"{len(self.res_project)} in res_project.",
                hint="Give as many of each.",
            )
        if len(self.dropouts) != len(AXES):
            raise ConfigError(f"dropouts is {self.dropouts}.", hint="Give a rate for time, modality and channel.")
        _check_rates(**dict(zip(("dropout of time", "of modality", "of channel"), self.dropouts, strict=True)))
        for block, (d_in, _, d_out) in enumerate(self.shapes()):
            self._check_block(block, d_in, d_out)

    def _check_block(self, block: int, d_in: list[int], d_out: list[int]) -> None:
        for axis, before, behind in zip(AXES, d_in, d_out, strict=True):
            if not self.res_project[block] and before != behind:
                raise ConfigError(
                    f"Block {block} takes {axis} from {before} to {behind}, but its residual is not projected.",
                    hint="Set res_project, or keep the size.",
                )
            normed = before if self.norm == "pre" else behind
            if normed == 1 and not self.allow_degenerate:
                raise ConfigError(
                    f"Block {block} has a layer norm over 1 {axis}, which replaces its input by a constant.",
                    hint="Give that axis a length of 2 or more, another norm, or set allow_degenerate.",
                )

    def _check_streams(self) -> None:
        modalities = self.modalities
        names = [stream.name for stream in modalities]
        if names and (len(names) != self.d_ins[1] or len(set(names)) != len(names)):
            raise ConfigError(
                f"d_ins has room for {self.d_ins[1]} modalities, and the streams are {', '.join(names)}.",
                hint="Give as many streams, each with a name of its own.",
            )
        texts = [stream.name for stream in modalities if stream.text]
        if len(texts) > 1:
            raise ConfigError(f"Several streams are text: {', '.join(texts)}.", hint="Give one of them its features.")


def _check_rates(**rates: float) -> None:
    for name, rate in rates.items():
        if not 0 <= rate < 1:
            raise ConfigError(f"{name} is {rate}.", hint="Give a share from 0 on and below 1.")


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonSettings:
    """What ``modicum compare cubemlp`` can change, the same for all arms."""

    task: Annotated[
        Literal["motions", "mosi", "ces"],
        Help("motions (BasicMotions), mosi (utterances, 0 or 1) or ces (arousal, valence, liking of AVEC2019)"),
    ]
    labels: Annotated[
        int,
        Help("samples to train on, and of motions as many to choose the epoch by; 0 takes all of the others"),
        Ge(0),
    ]
    encoder: Annotated[StreamEncoder, Help("of the streams; none where they are the channels already")]
    channels: Annotated[int, Help("of the cube"), Ge(2)]
    epochs: Annotated[int, Help("of training; the best on validation is kept"), Ge(1)]
    batch: Annotated[int, Help("samples an update"), Ge(2)]
    rates: Annotated[
        tuple[Annotated[float, Gt(0)], ...],
        Help("learning rates that each arm tries; the one of the lowest validation loss is kept"),
        MinLen(1),
    ]
    shifts: Annotated[
        int,
        Help("copies of each training sample, rolled in time by a drawn amount; for what may begin anywhere"),
        Ge(0),
    ]
    shuffled: Annotated[str, Help("stream of the control; the first if it is empty (accelerometer, text, egemaps)")] = (
        ""
    )
    modality_dropout: Annotated[float, Help("share of training samples that lose a stream"), Ge(0), Lt(1)] = 0.0


COMPARISON: Mapping[Budget, ComparisonSettings] = {
    # On validation of seeds 100 to 103 CubeMLP had .938 with updates of 8 samples. With updates of 4 it had .953, at
    # about one and a half times the cost, .938 in 15 epochs, .875 in 12 and .828 in 10. Concatenation had 1 in each.
    "demo": ComparisonSettings(
        task="motions", labels=16, encoder="conv", channels=16, epochs=20, batch=8, rates=(4e-3,), shifts=3
    ),
    "full": ComparisonSettings(
        task="mosi", labels=0, encoder="gru", channels=32, epochs=12, batch=32, rates=(3e-4, 1e-3, 3e-3), shifts=0
    ),
}
