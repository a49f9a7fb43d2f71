"""The options of a comparison, read from the text that a user typed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from modicum.errors import ConfigError

__all__ = ["number", "one_of", "whole"]


def number(name: str, text: str) -> float:
    """Read a number from 0 on.

    Args:
        name: of the option.
        text: as typed.

    Raises:
        ConfigError: if it is none; the option is named.

    Example:
        >>> number("rate", "1e-4")
        0.0001
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ConfigError(f"{name} must be a number from 0 on, got {text!r}.", hint=f"Write --option {name}=NUMBER.")
    return value


def whole(name: str, text: str, *, least: int = 0) -> int:
    """Read an integer.

    Args:
        name: of the option.
        text: as typed.
        least: the smallest that makes sense.

    Raises:
        ConfigError: if it is none, or smaller; the option is named.
    """
    value = int(text) if text.isdecimal() else -1
    if value < least:
        raise ConfigError(
            f"{name} must be an integer from {least} on, got {text!r}.", hint=f"Write --option {name}=NUMBER."
        )
    return value


def one_of(name: str, text: str, known: Sequence[str]) -> str:
    """Read one of several words.

    Args:
        name: of the option.
        text: as typed.
        known: the words.

    Raises:
        ConfigError: if it is none of them; the option is named.
    """
    if text not in known:
        raise ConfigError(
            f"{name} must be one of {', '.join(known)}, got {text!r}.", hint=f"Write --option {name}={known[0]}."
        )
    return text
