"""One row a method, readable without importing the method."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass

from modicum.core.method import Budget, Method
from modicum.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Row:
    """What can be said of a method before it is imported."""

    name: str  # as in ``modicum compare NAME``
    package: str  # that holds its modules ``comparison`` and ``configuration``
    title: str  # the method's full name
    saves: str  # what one needs less of


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
    ),
    Row(
        "xpudu", "modicum.sarcasm", "X-PuDu: sarcasm in English and Arabic by joint fine-tuning", "labels per language"
    ),
    Row(
        "cubemlp",
        "modicum.fusion",
        "CubeMLP: multimodal fusion by MLPs along time, modality and channel",
        "parameters and FLOPs",
    ),
    Row(
        "peerpl",
        "modicum.weakpolicy",
        "PeerPL: policies from noisy rewards and imperfect demonstrations",
        "clean rewards and expert demonstrations",
    ),
    Row(
        "gotuning",
        "modicum.zeroshot",
        "Go-tuning: zero-shot classification by a small model tuned on label words in raw text",
        "labels and model size",
    ),
    Row(
        "seqdiffuseq",
        "modicum.textdiffusion",
        "SeqDiffuSeq: text diffusion with a noise schedule for each target position",
        "network calls",
    ),
    Row(
        "fghv",
        "modicum.liveness",
        "FGHV: face anti-spoofing by generated hypotheses, and what it does not know",
        "examples of attacks",
    ),
    Row("rapq", "modicum.quantize", "RAPQ: power-of-two low-bit post-training quantization", "bits"),
)


def rows() -> tuple[Row, ...]:
    """Give the row of every method."""
    return _ROWS


def names() -> tuple[str, ...]:
    """Give the short name of every method."""
    return tuple(row.name for row in _ROWS)


def load(name: str) -> Method:
    """Import a method."""
    return importlib.import_module(f"{_package(name)}.comparison").METHOD


def settings(name: str) -> Mapping[Budget, object]:
    """Give the defaults of a comparison, without what its arms import."""
    return importlib.import_module(f"{_package(name)}.configuration").COMPARISON


def _package(name: str) -> str:
    for row in _ROWS:
        if row.name == name:
            return row.package
    close = difflib.get_close_matches(name, names(), n=1)
    raise ConfigError(
        f"There is no method {name!r}." + (f" Did you mean {close[0]}?" if close else ""),
        hint=f"Use one of: {', '.join(names())}.",
    )
