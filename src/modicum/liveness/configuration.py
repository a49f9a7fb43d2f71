"""What a model of FGHV is made of, and the settings of its comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

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
PRESETS: Mapping[Preset, Mapping[str, Any]] = {
    "paper": {
        "information_weight": 0.0, "rcc": "linear", "w_var": 1.0, "w_ddc": 1.0, "w_div": 0.0, "hypotheses": 20,
        "kl_latents": 20, "kl_steps": 10, "kl_step": 1.0, "kl_through": "both", "box": ["variance", "delta_kl"], "log_scale": False,
    },
    "modicum": {
        "information_weight": 2.0, "rcc": "logistic", "w_var": 10.0, "w_ddc": 0.1, "w_div": 0.1, "hypotheses": 192,
        "kl_latents": 40, "kl_steps": 1, "kl_step": 3.0, "kl_through": "real", "box": ["score", "variance"], "log_scale": True,
    },
}  # fmt: skip


class FGHVConfig(PreTrainedConfig):
    """The architecture of an `FGHVForLiveness`, its losses and its rule.

    The paper's text gives no value of any of these: they are ours.

    Args:
        preset: "modicum", or "paper", the bare losses of the figures, under which hypotheses collapse to one ray. It
            fills in what is None below.
        backbone: "minifas", "depthnet", "transformers" with a ``backbone_config``, or "vector" for inputs that are
            features already.
        input_size: numbers that the backbone gives; only "vector" needs it.
        backbone_config: of a vision model of transformers.
        train_backbone: train the backbone too; "minifas" stays as it is.
        embedding_size: of the encoder that RCC shapes.
        hidden_size: of the encoder's hidden layer.
        information_size: of the random orthogonal map of the backbone's features that is kept beside it (E1).
        information_weight: its weight in the feature; 0 leaves it out.
        latent_size: of the latent that both generators share.
        generator_size: of a generator's hidden layer.
        correlation: "cosine" or "pearson".
        rcc: "linear" or "logistic".
        rcc_temperature: of the logistic RCC.
        w_rcc: weight of RCC; 0 switches it off, as the next ones.
        w_var: weight of VAR.
        w_ddc: weight of DDC.
        w_div: weight of the diversity of hypotheses (E2).
        hypotheses: drawn in each step of training.
        bank_size: fixed latents that the closed form is made from.
        kl_latents: latents that are optimised for an image.
        kl_steps: of gradient ascent; one of size 3 orders faces as ten of size 0.3 do.
        kl_step: size of a step.
        kl_through: "both" generators, as the figure has it, or the "real" one from moment-matched latents (E3).
        box: of "score", "variance" and "delta_kl", those that must all pass.
        log_scale: take logarithms of variance and delta_kl.
        image_size: side of the crops that the backbone takes, in pixels.
        image_mean: of its input, by channel.
        image_std: of its input, by channel.
        **options: of every configuration.

    Raises:
        ConfigError: if a value is not one that it can have.
    """

    model_type = "modicum-fghv"

    def __init__(  # noqa: PLR0913 - an architecture and its losses have as many numbers as they have
        self,
        preset: Preset = "modicum",
        *,
        backbone: Literal["minifas", "depthnet", "transformers", "vector"] = "minifas",
        input_size: int | None = None,
        backbone_config: PreTrainedConfig | dict[str, Any] | None = None,
        train_backbone: bool = False,
        embedding_size: int = 64,
        hidden_size: int = 128,
        information_size: int = 64,
        information_weight: float | None = None,
        latent_size: int = 32,
        generator_size: int = 128,
        correlation: Literal["cosine", "pearson"] = "cosine",
        rcc: Literal["linear", "logistic"] | None = None,
        rcc_temperature: float = 0.1,
        w_rcc: float = 1.0,
        w_var: float | None = None,
        w_ddc: float | None = None,
        w_div: float | None = None,
        hypotheses: int | None = None,
        bank_size: int = 4096,
        kl_latents: int | None = None,
        kl_steps: int | None = None,
        kl_step: float | None = None,
        kl_through: Literal["real", "both"] | None = None,
        box: list[str] | None = None,
        log_scale: bool | None = None,
        image_size: int | None = None,
        image_mean: list[float] | None = None,
        image_std: list[float] | None = None,
        **options: Any,
    ) -> None:
        _one_of("preset", preset, get_args(Preset))
        _one_of("backbone", backbone, ("minifas", "depthnet", "transformers", "vector"))
        self.preset, self.backbone, self.train_backbone = preset, backbone, train_backbone
        if isinstance(backbone_config, dict):
            backbone_config = AutoConfig.for_model(**backbone_config)
        self.backbone_config = backbone_config
        sizes = {"minifas": 128, "depthnet": 512, "transformers": getattr(backbone_config, "hidden_size", None)}
        self.input_size: int = sizes.get(backbone) or input_size or 0
        self.embedding_size, self.hidden_size = embedding_size, hidden_size
        self.information_size = min(information_size, self.input_size)
        self.latent_size, self.generator_size = latent_size, generator_size
        self.correlation, self.rcc_temperature, self.w_rcc = correlation, rcc_temperature, w_rcc
        self.bank_size = bank_size
        given = {
            "information_weight": information_weight, "rcc": rcc, "w_var": w_var, "w_ddc": w_ddc, "w_div": w_div,
            "hypotheses": hypotheses, "kl_latents": kl_latents, "kl_steps": kl_steps, "kl_step": kl_step, "kl_through": kl_through,
            "box": box, "log_scale": log_scale,
        }  # fmt: skip
        for name, value in given.items():
            setattr(self, name, PRESETS[preset][name] if value is None else value)
        self.image_size = image_size or {"minifas": 128, "depthnet": 256}.get(backbone, 224)
        half = [0.5] * 3 if backbone == "depthnet" else None
        self.image_mean, self.image_std = image_mean or half or [0.0] * 3, image_std or half or [1.0] * 3
        super().__init__(**options)
        self._check()

    # What setattr sets above.
    information_weight: float
    rcc: Literal["linear", "logistic"]
    w_var: float
    w_ddc: float
    w_div: float
    hypotheses: int
    kl_latents: int
    kl_steps: int
    kl_step: float
    kl_through: Literal["real", "both"]
    box: list[str]
    log_scale: bool

    def _check(self) -> None:
        _one_of("correlation", self.correlation, ("cosine", "pearson"))
        _one_of("rcc", self.rcc, ("linear", "logistic"))
        _one_of("kl_through", self.kl_through, ("real", "both"))
        for name in self.box:
            _one_of("box", name, ("score", "variance", "delta_kl"))
        if self.input_size < 1:
            raise ConfigError(
                f"The backbone {self.backbone} gives {self.input_size} numbers an image.",
                hint="Give input_size for vectors, or a backbone_config of transformers that has a hidden_size.",
            )
        least = {"hypotheses": 2, "kl_latents": 2, "bank_size": 2, "kl_steps": 1, "latent_size": 1, "embedding_size": 1}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise ConfigError(
                    f"{name} must be at least {low}, got {getattr(self, name)}.", hint="Give a larger one."
                )
        for name in ("w_rcc", "w_var", "w_ddc", "w_div", "information_weight"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} is {getattr(self, name)}.", hint="Give a weight from 0 on.")
        if not (self.rcc_temperature > 0 and self.kl_step > 0 and self.box):
            raise ConfigError(
                f"rcc_temperature is {self.rcc_temperature}, kl_step {self.kl_step} and box {self.box}.",
                hint="Give numbers above 0, and at least one side of the box.",
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
