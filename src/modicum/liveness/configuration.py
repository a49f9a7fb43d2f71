"""What a model of FGHV is made of, and the settings of its comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, get_args

from annotated_types import Ge, Gt

from modicum.core.extras import require
from modicum.core.method import Budget
from modicum.core.settings import Help
from modicum.errors import ConfigError

if TYPE_CHECKING:
    from transformers import AutoConfig, PreTrainedConfig
else:
    _transformers = require("transformers", extra="liveness", purpose="FGHV")
    AutoConfig, PreTrainedConfig = _transformers.AutoConfig, _transformers.PreTrainedConfig

Preset = Literal["modicum", "paper"]
Task = Literal["digits", "toy", "nuaa", "mcio"]

# "paper" is what the figures show; "modicum" adds E1 to E3 of our specification, without which hypotheses collapse.
_SIZES: Mapping[str, Any] = {
    "embedding_size": 64, "hidden_size": 128, "information_size": 64, "latent_size": 32, "generator_size": 128,
    "bank_size": 4096, "w_rcc": 1.0,
}  # fmt: skip
PRESETS: Mapping[Preset, Mapping[str, Any]] = {
    "paper": {
        **_SIZES, "information_weight": 0.0, "rcc": "linear", "w_var": 1.0, "w_ddc": 1.0, "w_div": 0.0,
        "hypotheses": 20, "kl_latents": 20, "kl_steps": 10, "kl_step": 1.0, "kl_through": "both",
        "box": ["variance", "delta_kl"], "log_scale": False,
    },
    "modicum": {
        **_SIZES, "information_weight": 2.0, "rcc": "logistic", "w_var": 10.0, "w_ddc": 0.1, "w_div": 0.1,
        "hypotheses": 192, "kl_latents": 40, "kl_steps": 1, "kl_step": 3.0, "kl_through": "real",
        "box": ["score", "variance"], "log_scale": True,
    },
}  # fmt: skip


class FGHVConfig(PreTrainedConfig):
    """The architecture of an `FGHVForLiveness`, its losses and its rule.

    Args:
        preset: "modicum", or "paper", the bare losses of the figures, under which hypotheses collapse to one ray.
        backbone: "minifas", "depthnet", "transformers" with a ``backbone_config``, or "vector" for inputs that are
            features already.
        input_size: numbers that the backbone gives; only "vector" needs it.
        backbone_config: of a vision model of transformers.
        train_backbone: train the backbone too; "minifas" stays as it is.
        image_size: side of the crops that the backbone takes, in pixels.
        image_mean: of its input, by channel.
        image_std: of its input, by channel.
        **options: of every configuration, and what differs from `PRESETS`, no value of which is the paper's:
            the sizes ``embedding_size``, ``hidden_size`` (encoder), ``latent_size``, ``generator_size`` and
            ``bank_size`` (fixed latents of the closed form); the weights ``w_rcc``, ``w_var``, ``w_ddc`` and
            ``w_div``, 0 for off; ``rcc`` ("linear" or "logistic"); ``hypotheses`` that a step of training draws;
            ``information_size`` and
            ``information_weight`` of the backbone's features as they are (E1), 0 for off; ``kl_latents``, ``kl_steps``
            and ``kl_step`` of the ascent, through "both" generators or moment-matched through the "real" one
            (``kl_through``); ``box``, of "score", "variance" and "delta_kl" those that must pass; ``log_scale`` of the
            last two.

    Raises:
        ConfigError: if a value is not one that it can have.
    """

    model_type = "modicum-fghv"

    embedding_size: int
    hidden_size: int
    information_size: int
    latent_size: int
    generator_size: int
    bank_size: int
    rcc: Literal["linear", "logistic"]
    w_rcc: float
    w_var: float
    w_ddc: float
    w_div: float
    information_weight: float
    hypotheses: int
    kl_latents: int
    kl_steps: int
    kl_step: float
    kl_through: Literal["real", "both"]
    box: list[str]
    log_scale: bool

    def __init__(
        self,
        preset: Preset = "modicum",
        *,
        backbone: Literal["minifas", "depthnet", "transformers", "vector"] = "minifas",
        input_size: int | None = None,
        backbone_config: PreTrainedConfig | dict[str, Any] | None = None,
        train_backbone: bool = False,
        image_size: int | None = None,
        image_mean: list[float] | None = None,
        image_std: list[float] | None = None,
        **options: Any,
    ) -> None:
        _one_of("preset", preset, get_args(Preset))
        _one_of("backbone", backbone, ("minifas", "depthnet", "transformers", "vector"))
        self.preset, self.backbone, self.train_backbone = preset, backbone, train_backbone
        if isinstance(backbone_config, dict):
            backbone_config = cast("PreTrainedConfig", cast("Any", AutoConfig).for_model(**backbone_config))
        self.backbone_config = backbone_config
        sizes = {"minifas": 128, "depthnet": 512, "transformers": getattr(backbone_config, "hidden_size", None)}
        self.input_size: int = sizes.get(backbone) or input_size or 0
        for name, value in PRESETS[preset].items():
            setattr(self, name, options.pop(name, value))
        self.information_size = min(self.information_size, self.input_size)
        self.image_size = image_size or {"minifas": 128, "depthnet": 256}.get(backbone, 224)
        half = [0.5] * 3 if backbone == "depthnet" else None
        self.image_mean, self.image_std = image_mean or half or [0.0] * 3, image_std or half or [1.0] * 3
        super().__init__(**options)
        self._check()

    def _check(self) -> None:
        choices = {"rcc": ("linear", "logistic"), "kl_through": ("real", "both")}
        for name, allowed in choices.items():
            _one_of(name, getattr(self, name), allowed)
        for side in self.box:
            _one_of("box", side, ("score", "variance", "delta_kl"))
        if self.input_size < 1:
            raise ConfigError(
                f"The backbone {self.backbone} gives {self.input_size} numbers an image.",
                hint="Give input_size for vectors, or a backbone_config of transformers that has a hidden_size.",
            )
        least = {"hypotheses": 2, "kl_latents": 2, "bank_size": 2, "kl_steps": 1, "latent_size": 1, "embedding_size": 1}
        zero = dict.fromkeys(("w_rcc", "w_var", "w_ddc", "w_div", "information_weight"), 0)
        for name, low in {**least, **zero, "kl_step": 1e-6}.items():
            if not low <= getattr(self, name) < float("inf"):
                raise ConfigError(
                    f"{name} must be at least {low}, got {getattr(self, name)}.", hint="Give a larger one."
                )


def _one_of(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{name} is {value!r}.", hint=f"Use one of: {', '.join(choices)}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonSettings:
    """What ``modicum compare fghv`` can change, the same for all arms."""

    task: Annotated[Task, Help("digits or toy (demo); nuaa, or mcio for --data with a folder a domain (full)")]
    scale: Annotated[float, Help("side of the crop over that of the face; 1 is tight (nuaa, mcio)"), Ge(1)] = 1.5
    steps: Annotated[int, Help("updates of FGHV"), Ge(1)] = 400
    batch: Annotated[int, Help("examples an update"), Ge(2)] = 96
    rate: Annotated[float, Help("learning rate of AdamW"), Gt(0)] = 1e-3


COMPARISON: Mapping[Budget, ComparisonSettings] = {
    "demo": ComparisonSettings(task="digits"),
    "full": ComparisonSettings(task="nuaa"),
}
