"""Read NumPy's own files, .npy and .npz, with pickles off and sizes known beforehand."""

from __future__ import annotations

import io
import tokenize
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modicum.core.safeload.archives import read_members
from modicum.core.safeload.limits import MAX_BYTES, read_bounded
from modicum.errors import DataError, UnsafeFileError

_MAX_ARRAYS = 10_000  # ours: an .npz with more is no collection of arrays that someone reads by name
# What NumPy raises on a damaged header: it parses the text as Python's literals, and in old files mends it by tokens.
_DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
    tokenize.TokenError,
)


def load_npy(path: Path, *, max_bytes: int = MAX_BYTES) -> NDArray[Any]:
    """Read an .npy file.

    Args:
        path: the file.
        max_bytes: the largest file that is read.

    Returns:
        The array.

    Raises:
        DataError: if the file is damaged or no .npy file.
        UnsafeFileError: if it holds pickled objects or is too large.
    """
    return _parse(read_bounded(path, max_bytes=max_bytes), place=str(path))


def load_npz(path: Path, *, max_bytes: int = MAX_BYTES) -> dict[str, NDArray[Any]]:
    """Read all arrays of an .npz file.

    Args:
        path: the file.
        max_bytes: the most that its arrays may take together, uncompressed; checked before any is read.

    Returns:
        The arrays by name.

    Raises:
        DataError: if the file is damaged or no .npz file.
        UnsafeFileError: if an array holds pickled objects, or the arrays are too large.
    """
    members = read_members(path, max_members=_MAX_ARRAYS, max_bytes=max_bytes)
    return {name.removesuffix(".npy"): _parse(data, place=f"{name} in {path}") for name, data in members}


def _parse(data: bytes, *, place: str) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except _DAMAGE as error:
        if "allow_pickle" in str(error):
            raise UnsafeFileError(
                f"{place} holds pickled objects, which may run code.",
                hint="Ask its maker for arrays of numbers or text.",
            ) from error
        raise DataError(
            f"{place} is not a whole .npy array ({error or type(error).__name__}).",
            hint="Fetch the file again, and check its size and checksum.",
        ) from error
    return array
