"""What quantization does to a network, as one frozen value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from annotated_types import Ge, Le

from modicum.core.method import Budget
from modicum.core.settings import Help
from modicum.errors import ConfigError

if TYPE_CHECKING:  # it imports torch, and the command line checks its options before that
    from modicum.quantize.functional import Rounding


Granularity = Literal["channel", "tensor"]
Scales = Literal["power_of_two", "float"]
Quantizer = Literal["paper", "hessian"]

LEAST_BITS, MOST_BITS = 2, 8


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerBits:
    """Bits of one layer that differ from those of the others.

    Args:
        weight_bits: of its weights, 2 to 8; None leaves the network's.
        activation_bits: of its input, 2 to 8; None leaves the network's.

    Raises:
        ConfigError: if a number is not one of these.
    """

    weight_bits: int | None = None
    activation_bits: int | None = None

    def __post_init__(self) -> None:
        for name in self.__slots__:
            _check_bits(name, getattr(self, name), optional=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class RAPQConfig:
    """Say how a network is quantized.

    Args:
        weight_bits: n of the weights, 2 to 8: 2^n levels a channel.
        activation_bits: n of what goes into a layer, 2 to 8; None leaves activations in float, and the result then
            has no integer engine.
        first_last_bits: of the weights of the first and the last layer, of the output of the first and the input of
            the last, and of the network's input.
        granularity: one exponent a "channel" of the output, or one a "tensor", for weights. Activations have one.
        scales: "power_of_two", or "float" as the control that shows what powers of two cost; nothing of the latter
            can be stored, certified or run on integers.
        method: "hessian" solves each layer by its second moments, without gradients; "paper" goes on from there with
            unit-wise reconstruction by gradient descent.
        p_slope: a of the exponent of the reconstruction loss, p = round(1 + a s((sum gamma - 1) / C), 1); None: 2.
        iterations: steps of gradient descent a unit, for weights ("paper").
        activation_iterations: likewise for the exponents of activations.
        initial: where "paper" starts: "hessian", or "mse" as the released code.
        absorb_mantissa: let rectified channels between two layers take the mantissa of their scale.
        polish: try the neighbours of every activation exponent at the end, and keep what brings the outputs closer.
        rounding: what requantization does to a tie.
        per_layer: bits of single layers, by the name that ``QuantizedModel.report`` gives them.
        seed: of the batches that "paper" draws.

    Raises:
        ConfigError: if a value is not one of these.

    Source:
        Yao et al. 2022 (arXiv:2204.12322). Departures: exponents are integers from the start of the last pass, zero
        points are integers, activation exponents are learned, "hessian", absorption and polish are ours.
    """

    weight_bits: int = 4
    activation_bits: int | None = 4
    first_last_bits: int = 8
    granularity: Granularity = "channel"
    scales: Scales = "power_of_two"
    method: Quantizer = "hessian"
    p_slope: float | None = 0.9
    iterations: int = 2000
    activation_iterations: int = 1000
    initial: Literal["hessian", "mse"] = "hessian"
    absorb_mantissa: bool = True
    polish: bool = True
    rounding: Rounding = "half_even"
    per_layer: Mapping[str, LayerBits] = field(default_factory=dict[str, LayerBits])
    seed: int = 0

    def __post_init__(self) -> None:
        _check_bits("weight_bits", self.weight_bits)
        _check_bits("activation_bits", self.activation_bits, optional=True)
        _check_bits("first_last_bits", self.first_last_bits)
        for name, choices in {
            "granularity": get_args(Granularity),
            "scales": get_args(Scales),
            "method": get_args(Quantizer),
            "initial": ("hessian", "mse"),
            "rounding": ("half_even", "half_up"),
        }.items():
            if getattr(self, name) not in choices:
                raise ConfigError(
                    f"{name} must be one of {', '.join(choices)}, but it is {getattr(self, name)!r}.",
                    hint=f"Use {choices[0]!r}.",
                )
        if self.p_slope is not None and not (math.isfinite(self.p_slope) and 0 <= self.p_slope <= 1):
            raise ConfigError(f"p_slope must be in [0, 1] or None, but it is {self.p_slope}.", hint="Use 0.9.")
        for name, own in self.per_layer.items():
            if not isinstance(own, LayerBits):  # pyright: ignore[reportUnnecessaryIsInstance] - callers are not typed
                raise ConfigError(
                    f"per_layer must give LayerBits for {name!r}, but it gives {type(own).__name__}.",
                    hint=f"Use per_layer={{{name!r}: LayerBits(weight_bits=4)}}.",
                )
        for name in ("iterations", "activation_iterations"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must be >= 0, but it is {getattr(self, name)}.", hint="Use 2000.")


def _check_bits(name: str, bits: int | None, *, optional: bool = False) -> None:
    if bits is None and optional:
        return
    if not isinstance(bits, int) or not LEAST_BITS <= bits <= MOST_BITS:
        raise ConfigError(
            f"{name} must be an integer from {LEAST_BITS} to {MOST_BITS}, but it is {bits!r}.",
            hint="Use 8, 4 or 2." if not optional else "Use 8, 4 or 2, or None.",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonSettings:
    """What ``modicum compare rapq`` can change."""

    network: Annotated[
        str,
        Help(
            "in full, resnet20, efficientnet-lite0 (ImageNet's classes) or a folder of a transformers classifier of "
            "CIFAR-10 (see examples/rapq_train.py)"
        ),
    ]
    weight_bits: Annotated[int, Help("of the layers between first and last"), Ge(LEAST_BITS), Le(MOST_BITS)] = 2
    activation_bits: Annotated[int | None, Help("likewise; none for weights only"), Ge(LEAST_BITS), Le(MOST_BITS)] = 4
    calibration: Annotated[int, Help("training images, without labels"), Ge(2)] = 256
    iterations: Annotated[int, Help("gradient steps of RAPQ paper for each unit"), Ge(0)]
    p_slope: Annotated[float | None, Help("of RAPQ paper's loss; none for p = 2"), Ge(0), Le(1)] = 0.9


COMPARISON: Mapping[Budget, ComparisonSettings] = {
    "demo": ComparisonSettings(network="digits", iterations=200),
    "full": ComparisonSettings(network="resnet20", iterations=300),
}
