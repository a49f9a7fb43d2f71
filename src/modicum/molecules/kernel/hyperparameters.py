"""The hyper-parameter files of mgktools and ALMS, read as they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modicum.core.safeload import read_json
from modicum.errors import ConfigError, DataError
from modicum.molecules.kernel.microkernels import (
    Bounds,
    Composite,
    Constant,
    Convolution,
    KroneckerDelta,
    Microkernel,
    SquareExponential,
)

_KINDS: dict[str, Callable[[float, Bounds], Microkernel]] = {
    "kDelta": KroneckerDelta,
    "kSE": SquareExponential,
    "kConv": lambda value, bounds: Convolution(KroneckerDelta(value, bounds)),
    "kC": Constant,
}
_HINT = "Correct that entry."
_RULES = {"Tensorproduct": "product", "Additive": "sum"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Hyperparameters:
    """What such a file says."""

    nodes: Composite  # kernel of atoms
    edges: Composite  # kernel of bonds
    p: Constant  # starting probability of each atom
    q: Constant  # stopping probability
    scale: Constant | None  # s of the normalisation by size; None for the cosine alone


def read_hyperparameters(path: Path) -> Hyperparameters:
    """Read a file such as the published ``tMGR.json``."""
    reader = _Reader(path, read_json(path, hint="Give a JSON file of hyper-parameters."))
    return Hyperparameters(
        nodes=reader.composite("atom_", "a_type"),
        edges=reader.composite("bond_", "b_type"),
        p=reader.starting(),
        q=reader.constant("q", reader.entry("q")),
        scale=reader.scale(),
    )


def write_hyperparameters(numbers: Hyperparameters) -> str:
    """Give the text of a file that `read_hyperparameters` reads back."""
    content: dict[str, Any] = {
        "a_type": [_rule_name(numbers.nodes), "fixed"],
        **{f"atom_{name}": _entry_of(part) for name, part in numbers.nodes.parts.items()},
        "b_type": [_rule_name(numbers.edges), "fixed"],
        **{f"bond_{name}": _entry_of(part) for name, part in numbers.edges.parts.items()},
        "p_type": ["Additive_p", "fixed"],
        "probability_AtomicNumber": {"Const_p": _numbers_of(numbers.p)},
        "q": _numbers_of(numbers.q),
        "Normalization": True if numbers.scale is None else _numbers_of(numbers.scale),
    }
    return json.dumps(content, indent=1)


def _rule_name(kernel: Composite) -> str:
    return next(name for name, rule in _RULES.items() if rule == kernel.rule)


def _numbers_of(part: Microkernel) -> list[Any]:
    return [part.value, part.bounds if part.bounds == "fixed" else list(part.bounds)]


def _entry_of(part: Microkernel) -> dict[str, Any]:
    match part:
        case KroneckerDelta():
            return {"kDelta": _numbers_of(part)}
        case SquareExponential():
            return {"kSE": _numbers_of(part)}
        case Convolution(base=KroneckerDelta()):
            return {"kConv": _numbers_of(part)}
        case Constant():
            return {"kC": _numbers_of(part)}
    raise ConfigError(
        f"The format of mgktools has no name for {part}.", hint="Use a convolution of KroneckerDelta, or plain parts."
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    path: Path
    content: Any

    def told(self, name: str, found: object, expected: str) -> str:
        return f"{self.path}: {name} must be {expected}, got {found!r}."

    def entry(self, name: str) -> Any:
        if not isinstance(self.content, Mapping) or name not in self.content:
            raise DataError(f"{self.path} has no entry {name!r}.", hint="Give a file like the published tMGR.json.")
        return self.content[name]

    def constant(self, name: str, entry: object) -> Constant:
        value, bounds = self.numbers(name, entry)
        return self.made(name, Constant, value, bounds)

    def numbers(self, name: str, entry: object) -> tuple[float, Bounds]:
        match entry:
            case [int() | float() as value, "fixed", *_]:
                return float(value), "fixed"
            case [int() | float() as value, [int() | float() as low, int() | float() as high], *_]:
                if value > 0 and 0 < low <= high:
                    low, high = min(low, value), max(high, value)
                return float(value), (float(low), float(high))
        raise DataError(self.told(name, entry, 'a list [value, [low, high]] or [value, "fixed"]'), hint=_HINT)

    def made(self, name: str, kind: Callable[[float, Bounds], Any], value: float, bounds: Bounds) -> Any:
        try:
            return kind(value, bounds)
        except ConfigError as error:
            raise DataError(f"{self.path}: {name}: {error.what}", hint=error.hint) from error

    def composite(self, prefix: str, kind: str) -> Composite:
        rule = self.entry(kind)
        if not isinstance(rule, list) or not rule or not isinstance(rule[0], str) or rule[0] not in _RULES:
            raise DataError(self.told(kind, rule, f"one of {', '.join(_RULES)} in a list"), hint=_HINT)
        parts = {
            name.removeprefix(prefix): self.part(name, entry)
            for name, entry in self.content.items()
            if name.startswith(prefix)
        }
        if not parts:
            raise DataError(f"{self.path} has no entry {prefix}*.", hint="Give a file like the published tMGR.json.")
        return Composite(parts, "product" if rule[0] == "Tensorproduct" else "sum")

    def part(self, name: str, entry: object) -> Microkernel:
        match entry:
            case {**kinds} if len(kinds) == 1 and next(iter(kinds)) in _KINDS:
                ((kind, numbers),) = kinds.items()
                value, bounds = self.numbers(name, numbers)
                return self.made(name, _KINDS[kind], value, bounds)
        raise DataError(self.told(name, entry, f"one of {', '.join(_KINDS)} with its parameters"), hint=_HINT)

    def starting(self) -> Constant:
        found = [(name, entry) for name, entry in self.content.items() if name.startswith("probability_")]
        if len(found) != 1:
            raise DataError(self.told("probability_*", [name for name, _ in found], "one entry"), hint=_HINT)
        ((name, entry),) = found
        match entry:
            case {"Const_p": numbers}:
                return self.constant(name, numbers)
        raise DataError(self.told(name, entry, "Const_p, the same probability for each atom"), hint=_HINT)

    def scale(self) -> Constant | None:
        entry = self.content.get("Normalization")
        return None if entry is None or entry is True else self.constant("Normalization", entry)
