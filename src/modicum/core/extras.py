"""Optional libraries: imported when needed, and an error that names the extra when they are missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from modicum.errors import MissingExtraError


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional library."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or module
        if missing.partition(".")[0] != module.partition(".")[0]:
            raise
        raise MissingExtraError(
            f"{purpose} needs {module.partition('.')[0]}, which is not installed.",
            hint=f"Run: pip install 'modicum[{extra}]'",
        ) from error
