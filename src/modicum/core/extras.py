"""Optional libraries: imported when needed, kept quiet, and an error that names the extra when they are missing."""

from __future__ import annotations

import importlib
from collections.abc import Generator
from contextlib import contextmanager
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


@contextmanager
def quiet_transformers() -> Generator[None]:
    """Keep the report and the progress bar of each model that transformers loads out of the output."""
    from transformers.utils import logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
