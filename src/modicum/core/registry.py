"""One row a method, readable without importing the method."""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass

from modicum.core.method import Method
from modicum.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Row:
    """What can be said of a method before it is imported."""

    name: str  # as in ``modicum compare NAME``
    package: str  # of its code
    title: str  # the method's full name
    saves: str  # what one needs less of
    module: str = "comparison"  # of the package, that holds its METHOD


_ROWS = (
    Row("nsgd", "modicum.optim", "NSGD: SGD normalised by the power of each layer's input", "learning-rate tuning"),
    Row(
        "hype",
        "modicum.perturb",
        "HyPe: noise on the hidden representations while fine-tuning",
        "fine-tuning data",
    ),
    Row(
        "gprmgk",
        "modicum.molecules",
        "GPR-MGK: active learning over molecules with a marginalized graph kernel",
        "simulations",
        "method",
    ),
    Row(
        "xpudu",
        "modicum.sarcasm",
        "X-PuDu: sarcasm in English and Arabic by joint fine-tuning",
        "labels per language",
        "method",
    ),
    Row(
        "cubemlp",
        "modicum.fusion",
        "CubeMLP: multimodal fusion by MLPs along time, modality and channel",
        "parameters and FLOPs",
        "method",
    ),
    Row("rapq", "modicum.quantize", "RAPQ: power-of-two low-bit post-training quantization", "bits", "method"),
)


def rows() -> tuple[Row, ...]:
    """Give the row of every method."""
    return _ROWS


def names() -> tuple[str, ...]:
    """Give the short name of every method."""
    return tuple(row.name for row in _ROWS)


def load(name: str) -> Method:
    """Import a method."""
    for row in _ROWS:
        if row.name == name:
            return importlib.import_module(f"{row.package}.{row.module}").METHOD
    close = difflib.get_close_matches(name, names(), n=1)
    raise ConfigError(
        f"There is no method {name!r}." + (f" Did you mean {close[0]}?" if close else ""),
        hint=f"Use one of: {', '.join(names())}.",
    )
