"""The options of a comparison, read from the text that a user typed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from modicum.errors import ConfigError


def number(name: str, text: str) -> float:
    """Read a number from 0 on."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ConfigError(f"{name} must be a number from 0 on, got {text!r}.", hint=f"Write --option {name}=NUMBER.")
    return value


def whole(name: str, text: str, *, least: int = 0) -> int:
    """Read an integer."""
    value = int(text) if text.isdecimal() else -1
    if value < least:
        raise ConfigError(
            f"{name} must be an integer from {least} on, got {text!r}.", hint=f"Write --option {name}=NUMBER."
        )
    return value


def one_of(name: str, text: str, known: Sequence[str]) -> str:
    """Read one of several words."""
    if text not in known:
        raise ConfigError(
            f"{name} must be one of {', '.join(known)}, got {text!r}.", hint=f"Write --option {name}={known[0]}."
        )
    return text
