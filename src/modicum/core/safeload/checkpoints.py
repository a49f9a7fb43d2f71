"""Read a torch checkpoint as weights and plain containers."""

from __future__ import annotations

import pickle
import re
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

from modicum.core.safeload.limits import MAX_BYTES, check_size
from modicum.errors import DataError, UnsafeFileError

# torch's own words: "Unsupported global: GLOBAL builtins.eval", "Trying to load unsupported GLOBAL posix.system".
_GLOBAL = re.compile(r"GLOBAL ([\w.]*\w)")
_DAMAGE = (
    pickle.UnpicklingError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)


def load_torch(path: Path, *, max_bytes: int = MAX_BYTES) -> object:
    """Read a torch file onto the CPU with torch's restricted unpickler.

    Args:
        path: a file of ``torch.save``, of the zip or of the older form.
        max_bytes: the most that it may bring, uncompressed.

    Returns:
        What was saved: a state dictionary, or a dictionary that holds one.

    Raises:
        DataError: if the file is missing, damaged or no torch file.
        UnsafeFileError: if it asks for anything but tensors and plain containers, or is too large.
    """
    import torch

    try:
        check_size(path, _uncompressed_size(path), max_bytes=max_bytes)
        return torch.load(path, map_location="cpu", weights_only=True)
    except UnsafeFileError:
        raise
    except _DAMAGE as error:
        if refused := _GLOBAL.search(str(error)):
            raise UnsafeFileError(
                f"{path} may hold only tensors and plain containers, but it asks for {refused[1]}.",
                hint="Ask its maker for a state dictionary or safetensors.",
            ) from error
        raise DataError(
            f"{path} is not a whole torch file ({type(error).__name__}).",
            hint="Fetch the file again, and check its size and checksum.",
        ) from error


def _uncompressed_size(path: Path) -> int:
    if not zipfile.is_zipfile(path):
        return path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        return sum(member.file_size for member in archive.infolist())
