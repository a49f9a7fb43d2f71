"""JSON of unknown origin, to plain containers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from modicum.errors import DataError


def read_json(path: Path, *, hint: str) -> Any:
    """Read a JSON file; it may hold any JSON value.

    Raises:
        DataError: if it cannot be read, is no JSON in UTF-8, or is nested too deep.
    """
    try:
        return parse_json(path.read_text(encoding="utf-8-sig"), source=path, hint=hint)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}).", hint=hint) from error


def parse_json(text: str | bytes, *, source: object, hint: str) -> Any:
    """Parse JSON; ``source`` names it in the message.

    Raises:
        DataError: if it is no JSON, or is nested too deep.
    """
    try:
        return json.loads(text)
    except ValueError as error:  # also UnicodeDecodeError of bytes, and integers of more than 4,300 digits
        raise DataError(f"{source} cannot be read as JSON ({error}).", hint=hint) from error
    except RecursionError as error:
        raise DataError(f"{source} cannot be read as JSON (it is nested too deep).", hint=hint) from error
