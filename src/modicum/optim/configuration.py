"""The settings of NSGD and of its comparison, and their ranges. This does without torch, which takes a second."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Annotated, Any, Literal, get_args

from annotated_types import Ge, Gt

from modicum.core.method import Budget
from modicum.core.settings import Help
from modicum.errors import ConfigError

Reduction = Literal["batch", "channel", "sample"]

_CHOICES = {"norm": ("l1", "l2"), "reduce": get_args(Reduction), "denominator": ("power", "log")}
# What each number must be, whether it is (written so that NaN is not), and what to do.
_RANGES: dict[str, tuple[str, Callable[[Any], bool], str]] = {
    "lr": ("> 0 and finite", lambda value: 0 < value < math.inf, "Try lr=0.1 first."),
    "momentum": (">= 0 and finite", lambda value: 0 <= value < math.inf, "Set momentum to 0 or more."),
    "dampening": ("finite", math.isfinite, "Set dampening to 0."),
    "weight_decay": (">= 0 and finite", lambda value: 0 <= value < math.inf, "Set weight_decay to 0 or more."),
    "beta": ("in [0, 1)", lambda value: 0 <= value < 1, "Set beta to 0, or to 0.9, say."),
    "eps": (">= 0 and finite", lambda value: 0 <= value < math.inf, "Set eps to 0 or more."),
    "max_norm": ("> 0 and finite", lambda value: 0 < value < math.inf, "Set max_norm to None for no clipping."),
}


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse settings that are out of their range or contradict each other."""
    for name, choices in _CHOICES.items():
        if settings[name] not in choices:
            raise ConfigError(
                f"{name} must be one of {', '.join(choices)}, got {settings[name]!r}.",
                hint=f"Set {name} to one of them.",
            )
    for name, (words, fits, hint) in _RANGES.items():
        value = settings[name]
        if value is None and name == "max_norm":
            continue
        if not (isinstance(value, Real) or hasattr(value, "is_floating_point")):  # a tensor
            raise ConfigError(f"{name} must be a number, got {value!r}.", hint="YAML reads 1e-3 as text: write 1.0e-3.")
        if not fits(value):
            raise ConfigError(f"{name} must be {words}, got {value}.", hint=hint)
    if settings["nesterov"] and (settings["momentum"] == 0 or settings["dampening"] != 0):
        raise ConfigError(
            f"Nesterov momentum needs momentum > 0 and dampening 0, got {settings['momentum']} and "
            f"{settings['dampening']}.",
            hint="Set both, or leave nesterov out.",
        )
    if settings["reduce"] == "sample" and settings["beta"] != 0:
        raise ConfigError(
            f'reduce="sample" has no moving average of the power, got beta {settings["beta"]}.',
            hint="Set beta to 0.",
        )
    if settings["denominator"] == "log" and settings["eps"] == 0:
        raise ConfigError(
            'denominator="log" needs eps > 0: the logarithm of a power of 1 is 0.',
            hint="Leave eps at its default, 0.01.",
        )


def check_group(group: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Refuse a parameter group whose settings are wrong, or differ where all groups must agree."""
    # A scheduler may have brought the rate of a saved group down to 0.
    check_settings({**defaults, **group, "lr": group.get("lr") or defaults["lr"]})
    # The inputs are measured before the group of a weight is known; by sample they are divided by then, too.
    shared = ("norm", "reduce", "denominator", "eps") if defaults["reduce"] == "sample" else ("norm", "reduce")
    for name in shared:
        if group.get(name, defaults[name]) != defaults[name]:
            raise ConfigError(
                f"All groups of this NSGD have {name} {defaults[name]!r}, but one has {group[name]!r}.",
                hint=f"Leave {name} out of the group, or build an NSGD with that {name}.",
            )


def check_state(state: Mapping[str, Any]) -> None:
    """Refuse the state of an optimizer that is neither NSGD nor SGD."""
    known = {"power", "lr", "step", "momentum_buffer"}
    needed = {"params", "lr", "momentum", "dampening", "nesterov"}
    foreign = {str(name) for entries in state.get("state", {}).values() for name in entries} - known
    missing = {name for group in state.get("param_groups", [{}]) for name in needed - set(group)}
    if foreign or missing:
        signs = f"it has {', '.join(sorted(foreign))}" if foreign else f"it lacks {', '.join(sorted(missing))}"
        raise ConfigError(
            f"This is not the state of an NSGD or an SGD: {signs}.",
            hint="Begin with a new NSGD(model, lr=...), or load the state_dict() of the right one.",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonSettings:
    """What ``modicum compare nsgd`` can change."""

    trials: Annotated[int, Help("learning rates that each arm tries, half a decade apart"), Ge(2)]
    scales: Annotated[tuple[Annotated[float, Gt(0)], ...], Help("factors on the inputs, the first for tuning")] = (
        1.0,
        10.0,
        100.0,
    )
    gains: Annotated[tuple[Annotated[float, Gt(0)], ...], Help("factors on the initial weights")] = (1 / 3, 1.0, 3.0)
    epochs: Annotated[int, Help("passes over the training part"), Ge(1)]
    batch: Annotated[int, Help("examples a step"), Ge(1)]
    decay: Annotated[float, Help("weight decay"), Ge(0)]
    schedule: Annotated[
        Literal["constant", "steps"], Help("steps: times 0.2 at 40, 60 and 80 % of the run, as published")
    ]
    train_size: Annotated[int, Help("training examples used; 0 for all"), Ge(0)] = 0


COMPARISON: Mapping[Budget, ComparisonSettings] = {
    "demo": ComparisonSettings(trials=9, epochs=6, batch=32, decay=0.0, schedule="constant"),
    "full": ComparisonSettings(trials=5, epochs=200, batch=128, decay=5e-4, schedule="steps"),
}
