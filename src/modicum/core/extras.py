"""Optional libraries: imported when needed, and an error that names the extra when they are missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from modicum.errors import MissingExtraError

__all__ = ["require"]


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional library.

    Args:
        module: as in an import statement, "rdkit.Chem".
        extra: the extra of modicum that brings it.
        purpose: what it is needed for, as the beginning of a sentence: "Reading SMILES".

    Returns:
        The imported module.

    Raises:
        MissingExtraError: if it is not installed.
        ModuleNotFoundError: if it is installed and something that it needs itself is not.

    Example:
        >>> require("json", extra="text", purpose="Reading JSON").__name__
        'json'
    """
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
