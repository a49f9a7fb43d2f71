"""Files that are whole or not there."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from modicum.errors import ConfigError

__all__ = ["replacing"]


@contextmanager
def replacing(path: Path) -> Generator[TextIO]:
    """Write a text file beside its place, and move it there when all of it is written.

    Args:
        path: replaced if it is a file.

    Yields:
        The file to write to, in UTF-8 and with line ends as they are written.

    Raises:
        ConfigError: if it cannot be written; what was there is then still whole, and nothing is left beside it.
    """
    if path.exists() and not path.is_file():  # else root would replace a device
        raise ConfigError(f"{path} is no file that can be replaced.", mend="Name a file.")
    aside = path.parent / f".{path.name}.part"
    try:
        with aside.open("w", encoding="utf-8", newline="") as file:
            yield file
        aside.replace(path)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written ({error.strerror}).",
            mend="Name a file in a folder that you may write to and that has room.",
        ) from error
    finally:
        if aside.is_file():  # unlink itself would raise where the folder is a file
            aside.unlink()
