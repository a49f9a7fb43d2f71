"""Untrusted files to arrays: no code of theirs runs, and their size is bounded before memory or disk is spent.

A reader of research data meets pickles, NumPy files, torch checkpoints and archives. Each of them can do more than
carry data; the functions here take the data and refuse the rest with `modicum.errors.UnsafeFileError`. A file that is
merely damaged is a `modicum.errors.DataError`.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modicum.core.safeload.archives import read_members
from modicum.core.safeload.limits import MAX_BYTES, check_size, parsing, read_bounded
from modicum.core.safeload.pickles import load_pickle
from modicum.errors import DataError, UnsafeFileError

__all__ = ["load_npy", "load_npz", "load_pickle", "load_torch", "parse_json", "read_json", "read_members"]

_MAX_ARRAYS = 10_000  # ours: an .npz with more is no collection of arrays that someone reads by name
# torch's own words: "Unsupported global: GLOBAL builtins.eval", "Trying to load unsupported GLOBAL posix.system".
_GLOBAL = re.compile(r"GLOBAL ([\w.]*\w)")


def load_npy(path: Path, *, max_bytes: int = MAX_BYTES) -> NDArray[Any]:
    """Read an .npy file of at most ``max_bytes``.

    Raises:
        DataError: if the file is damaged or no .npy file.
        UnsafeFileError: if it holds pickled objects or is too large.
    """
    return _parse(read_bounded(path, max_bytes=max_bytes), source=str(path))


def load_npz(path: Path, *, max_bytes: int = MAX_BYTES) -> dict[str, NDArray[Any]]:
    """Read all arrays of an .npz file, which may take ``max_bytes`` together, uncompressed.

    Raises:
        DataError: if the file is damaged or no .npz file.
        UnsafeFileError: if an array holds pickled objects, or the arrays are too large.
    """
    members = read_members(path, max_members=_MAX_ARRAYS, max_bytes=max_bytes)
    return {name.removesuffix(".npy"): _parse(data, source=f"{name} in {path}") for name, data in members}


def _parse(data: bytes, *, source: str) -> NDArray[Any]:
    with parsing(source, ".npy array"):
        try:
            return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
        except ValueError as error:
            if "allow_pickle" not in str(error):
                raise
            raise UnsafeFileError(
                f"{source} holds pickled objects, which may run code.",
                hint="Ask its maker for numeric or text arrays.",
            ) from error


def load_torch(path: Path, *, max_bytes: int = MAX_BYTES) -> object:
    """Read a file of ``torch.save`` onto the CPU with torch's restricted unpickler.

    Args:
        path: of the zip or of the older form.
        max_bytes: the most that it may bring, uncompressed.

    Returns:
        What was saved: a state dictionary, or a dictionary that holds one.

    Raises:
        DataError: if the file is missing, damaged or no torch file.
        UnsafeFileError: if it asks for anything but tensors and plain containers, or is too large.
    """
    import torch

    with parsing(path, "torch file", quote=False):  # torch's words advise to load it unsafely
        size = path.stat().st_size
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                size = sum(member.file_size for member in archive.infolist())
        check_size(path, size, max_bytes=max_bytes)
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            if not (refused := _GLOBAL.search(str(error))):
                raise
            raise UnsafeFileError(
                f"{path} may hold only tensors and plain containers, but it asks for {refused[1]}.",
                hint="Ask its maker for a state dictionary or safetensors.",
            ) from error


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
    except (ValueError, RecursionError) as error:  # also integers of more than 4,300 digits
        reason = "it is nested too deep" if isinstance(error, RecursionError) else error
        raise DataError(f"{source} cannot be read as JSON ({reason}).", hint=hint) from error
