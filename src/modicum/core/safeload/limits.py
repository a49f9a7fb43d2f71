"""What all readers share: how many bytes of one file are read, and what is said of a file that is damaged."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from modicum.errors import DataError, ModicumError, UnsafeFileError

# Ours: above every file of the catalogue by a factor of five, below the memory of a small machine.
MAX_BYTES = 1 << 30


def check_size(path: Path, size: int, *, max_bytes: int) -> None:
    """Refuse a file that brings more than ``max_bytes``."""
    if size > max_bytes:
        raise UnsafeFileError(
            f"{path} holds {size:,} bytes, and at most {max_bytes:,} are read.",
            hint="If you trust the file, pass a larger max_bytes.",
        )


def read_bounded(path: Path, *, max_bytes: int) -> bytes:
    """Read an entire file of at most ``max_bytes``."""
    try:
        check_size(path, path.stat().st_size, max_bytes=max_bytes)
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}).", hint="Check the path and its permissions."
        ) from error


@contextmanager
def parsing(source: object, what: str, *, quote: bool = True) -> Generator[None]:
    """Turn whatever a parser of the standard library, NumPy or torch raises on damaged bytes into a `DataError`."""
    try:
        yield
    except ModicumError:
        raise
    except Exception as error:
        reason = (quote and str(error)) or type(error).__name__
        raise DataError(
            f"{source} is not a complete {what} ({reason}).",
            hint="Fetch the file again, and check its size and checksum.",
        ) from error
