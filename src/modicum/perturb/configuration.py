"""What HyPe does to a model, as one frozen value; and the settings of its comparison."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Literal, get_args

from annotated_types import Ge, Gt, MinLen

from modicum.core.method import Budget, Job
from modicum.core.settings import Help
from modicum.errors import ConfigError

Noise = Literal["normal", "uniform", "uniform_positive"]
SigmaMode = Literal["absolute", "relative"]
Backend = Literal["hash", "torch"]


@dataclass(frozen=True, kw_only=True, slots=True)
class HyPeConfig:
    """Say which noise enters which layers.

    Args:
        noise: "normal" is HyPe-N, N(0, sigma^2); "uniform" is HyPe-U, U(-sigma, sigma); "uniform_positive" is what the
            authors' code draws for HyPe-U, U[0, sigma), whose mean is not 0.
        sigma: size of the noise, >= 0; 0 leaves the layers as they are. The paper takes 1e-5 to 1e-2.
        layers: "all", "top:k" or "low:k" (the last or first k of each stack), or integers in the order of `HyPe.sites`.
        sigma_mode: "absolute", or "relative" to the root mean square of each token's hidden state.
        disable_dropout: set every dropout rate of the model to 0 meanwhile, as the paper recommends.
        seed: of the noise, in [0, 2**63).
        backend: "hash" computes the noise from (seed, step, layer, sample, element) and leaves torch's generators
            alone; "torch" draws from the global generator.

    Raises:
        ConfigError: if a value is not one of these.

    Source:
        Yuan et al. 2023 (arXiv:2212.08853). Departures: "relative", the choice of layers for every model and the
        stateless noise are ours; the released code takes "top" and "low" for BERT only.
    """

    noise: Noise = "normal"
    sigma: float = 1e-5
    layers: str | list[int] | tuple[int, ...] = "all"
    sigma_mode: SigmaMode = "absolute"
    disable_dropout: bool = True
    seed: int = 0
    backend: Backend = "hash"

    def __post_init__(self) -> None:
        _check_choice("noise", self.noise, get_args(Noise))
        _check_choice("sigma_mode", self.sigma_mode, get_args(SigmaMode))
        _check_choice("backend", self.backend, get_args(Backend))
        for name, kind in (("sigma", (int, float)), ("seed", int), ("disable_dropout", bool)):
            value = getattr(self, name)
            if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
                what = {"sigma": "a number", "seed": "an integer", "disable_dropout": "True or False"}[name]
                raise ConfigError(
                    f"{name} must be {what}, but it is {value!r}.",
                    hint="YAML reads 1e-5 as text: write 1.0e-5." if name == "sigma" else f"Give {what}.",
                )
        if not (math.isfinite(self.sigma) and self.sigma >= 0):
            raise ConfigError(
                f"sigma must be a finite number >= 0, but it is {self.sigma}.",
                hint="Begin with 1e-5, or with 0 for no noise.",
            )
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed must be in [0, 2**63), but it is {self.seed}.", hint="Use a small number like 0.")
        if isinstance(self.layers, str):
            if self.layers != "all" and not re.fullmatch(r"(top|low):[1-9][0-9]*", self.layers):
                raise ConfigError(
                    f"layers must be 'all', 'top:k', 'low:k' or a list of integers, but it is {self.layers!r}.",
                    hint="Use 'top:4' for the last four layers, for example.",
                )
        elif not (
            isinstance(self.layers, Iterable)  # pyright: ignore[reportUnnecessaryIsInstance]
            and self.layers
            and all(map(_is_integer, self.layers))
            and len(set(self.layers)) == len(self.layers)
        ):
            raise ConfigError(
                f"layers must list different integers >= 0, at least one, but it is {self.layers!r}.",
                hint="Count the layers from 0, or use layers='all'.",
            )


def checked(config: HyPeConfig | None) -> HyPeConfig:
    """Give the default for None, and refuse what is no configuration."""
    if not isinstance(config, HyPeConfig | None):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(f"config must be a HyPeConfig, but it is {config!r}.", hint="Write HyPeConfig(sigma=...).")
    return config or HyPeConfig()


def _is_integer(layer: object) -> bool:
    return isinstance(layer, int) and layer >= 0


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        near = get_close_matches(str(value), choices, n=1)
        raise ConfigError(
            f"{name} must be one of {', '.join(choices)}, but it is {value!r}.",
            hint=f"Did you mean {near[0]!r}?" if near else f"Use {choices[0]!r}, the default.",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonSettings:
    """What ``modicum compare hype`` can change, the same for all arms."""

    task: Annotated[str, Help("rte, cola, mrpc, stsb or sst2 (full)")]
    model: Annotated[str, Help("hub id or local folder of an encoder, or offline for the packaged MiniLM (full)")]
    train_size: Annotated[
        int, Help("labelled examples, drawn by the seed; 0 for all (full), or for half of them (demo)"), Ge(0)
    ]
    epochs: Annotated[int, Help("passes over the training examples"), Ge(1)]
    batch: Annotated[int, Help("examples an update"), Ge(1)] = 16
    rates: Annotated[
        tuple[Annotated[float, Gt(0)], ...],
        Help("largest learning rates of AdamW; each arm takes the best on a fifth of its training examples"),
        MinLen(1),
    ]
    max_length: Annotated[int, Help("tokens that an example keeps, at least 8 (full)"), Ge(0)]
    sigmas: Annotated[
        tuple[Annotated[float, Ge(0)], ...],
        Help("noise of HyPe, chosen likewise: std, or bound of the uniform one; the paper's best is 1e-5"),
        MinLen(1),
    ] = (1e-5,)
    sigma_mode: Annotated[SigmaMode, Help("what sigma is: absolute, or relative to the hidden state")] = "absolute"


COMPARISON: Mapping[Budget, ComparisonSettings] = {
    "demo": ComparisonSettings(task="digits", model="tiny-vit", train_size=50, epochs=30, rates=(2e-3,), max_length=0),
    "full": ComparisonSettings(
        task="sst2",
        model="offline",
        train_size=1000,
        epochs=5,
        rates=(3e-5, 1e-4, 3e-4),
        max_length=128,
        sigmas=(1e-5, 1e-3, 1e-2, 1e-1),
        sigma_mode="relative",
    ),
}


def comparison_settings(job: Job) -> ComparisonSettings:
    """Give the settings of a job, where they go with its budget."""
    settings, demo = job.settings, COMPARISON["demo"]
    only = (demo.task, demo.model, demo.max_length)
    if job.budget == "demo" and ((settings.task, settings.model, settings.max_length) != only or job.data):
        raise ConfigError(
            f"The demo has one task ({demo.task}), one model ({demo.model}) and no text.",
            hint="Add --budget full for another task or model, for max_length or for data of your own.",
        )
    if job.budget == "full" and settings.max_length < 8:
        raise ConfigError(
            f"max_length must be at least 8 tokens, got {settings.max_length}.", hint="Try --option max_length=128."
        )
    return settings
