"""Read a pickle that holds arrays and plain containers, and refuse every other one."""

from __future__ import annotations

import io
import pickle
import pickletools
import sys
from pathlib import Path
from typing import NoReturn, cast

import numpy as np

from modicum.core.safeload.limits import MAX_BYTES, read_bounded
from modicum.core.safeload.standins import ALLOWED, ArrayClaim, Constructor, DtypeClaim
from modicum.errors import DataError, UnsafeFileError

_INSTRUCTIONS = {instruction.code: instruction for instruction in pickletools.opcodes}
_LENGTH_BYTES = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
# What the C unpickler raises on bytes that are no pickle, or that call an allowed constructor wrongly.
_DAMAGE = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    TypeError,
    ValueError,
)


def load_pickle(path: Path, *, encoding: str = "ASCII", max_bytes: int = MAX_BYTES) -> object:
    """Read the arrays, numbers, texts and plain containers of a pickle without running anything in it.

    Allowed are NumPy arrays, scalars and dtypes (as NumPy 1 and 2 spell them), list, tuple, dict, set, frozenset, str,
    bytes, bytearray, numbers, bool and None. Arrays of objects may hold these again. Data frames, dates, classes and
    functions are refused. Lists of small things take up to about sixty times their size in the file.

    Args:
        path: a pickle of any protocol, with nothing behind it.
        encoding: how texts of Python 2 are decoded; "latin1" for its arrays, "bytes" to leave them as bytes.
        max_bytes: the largest file that is read.

    Returns:
        What was pickled.

    Raises:
        DataError: if the file is no whole pickle, or an array's data are not what its shape and dtype need.
        UnsafeFileError: if it names anything else, or is too large.
    """
    data = read_bounded(path, max_bytes=max_bytes)
    _scan(path, data)
    try:
        loaded = _Unpickler(path, data, encoding=encoding).load()
        return _Settler(path).settle(loaded)
    except UnsafeFileError:
        raise
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} holds texts of Python 2 that are not {encoding}.",
            hint='Pass encoding="latin1" or encoding="bytes".',
        ) from error
    except RecursionError as error:
        raise UnsafeFileError(
            f"{path} nests its containers more than {sys.getrecursionlimit()} deep.",
            hint="Ask its maker for a flat file such as .npz.",
        ) from error
    except _DAMAGE as error:
        _refuse_damage(path, str(error))


def _refuse_damage(path: Path, reason: str) -> NoReturn:
    raise DataError(
        f"{path} is not a whole pickle of arrays and plain containers ({reason}).",
        hint="Fetch the file again, and check its size and checksum.",
    )


class _Unpickler(pickle.Unpickler):  # noqa: S301 - this is the restricted one
    def __init__(self, path: Path, data: bytes, *, encoding: str) -> None:
        super().__init__(io.BytesIO(data), encoding=encoding)
        self._path = path

    def find_class(self, module_name: str, global_name: str, /) -> Constructor:
        allowed = ALLOWED.get((module_name, global_name))
        if allowed is None:
            raise UnsafeFileError(
                f"{self._path} may hold only arrays and plain containers, but it asks for {module_name}.{global_name}.",
                hint="Ask its maker for .npz, .csv or .json, or convert it yourself in a sandbox if you trust it.",
            )
        return allowed

    def persistent_load(self, pid: object, /) -> NoReturn:
        raise UnsafeFileError(
            f"{self._path} refers to the object {pid!r} outside the file.",
            hint="Ask its maker for a file that stands alone, such as .npz.",
        )


def _scan(path: Path, data: bytes) -> None:
    """Walk over the instructions, without following them, up to the end of the pickle."""
    # The C unpickler believes an instruction that stores object number two thousand million, and takes the memory for
    # all lower numbers: five bytes cost 32 GB. Numbers beyond the count of bytes are therefore refused before it
    # starts.
    stream = io.BytesIO(data)
    while code := stream.read(1):
        instruction = _INSTRUCTIONS.get(code.decode("latin-1"))
        if instruction is None:
            _refuse_damage(path, f"byte {stream.tell() - 1} is no instruction")
        argument = _argument(stream, instruction.arg)
        if argument is None:
            _refuse_damage(path, "it is truncated")
        if instruction.name in {"BINPUT", "LONG_BINPUT"}:
            _check_number(path, int.from_bytes(argument, "little"), limit=len(data))
        if instruction.name == "PUT":
            _check_number(path, _decimal(argument), limit=len(data))
        if instruction.name == "STOP":
            if rest := len(data) - stream.tell():
                _refuse_damage(path, f"{rest} bytes follow its end")
            return
    _refuse_damage(path, "it is truncated")


def _argument(stream: io.BytesIO, kind: pickletools.ArgumentDescriptor | None) -> bytes | None:
    """Read the argument of an instruction; None if the stream ends inside it."""
    if kind is None:
        return b""
    if kind.n == pickletools.UP_TO_NEWLINE:
        lines = [stream.readline() for _ in range(2 if kind.name == "stringnl_noescape_pair" else 1)]
        return b"".join(lines) if all(line.endswith(b"\n") for line in lines) else None
    length = kind.n
    if length < 0:
        length = int.from_bytes(stream.read(_LENGTH_BYTES[length]), "little")
    argument = stream.read(length) if length <= stream.getbuffer().nbytes else b""
    return argument if len(argument) == length else None


def _decimal(argument: bytes) -> int:
    # Twenty digits are beyond every limit, and Python itself refuses to read thousands of them.
    return int(argument[:20]) if argument.strip().isdigit() else 0


def _check_number(path: Path, number: int, *, limit: int) -> None:
    if number > limit:
        raise UnsafeFileError(
            f"{path} stores object number {number:,} in a file of {limit:,} bytes, which would take all memory.",
            hint="Do not use this file; ask its maker for .npz.",
        )


class _Settler:
    """Put the arrays and dtypes in the place of their claims."""

    # Each object is settled once: what is shared stays shared, and a list may contain itself.

    def __init__(self, path: Path) -> None:
        self._path = path
        # The first of the pair keeps the object alive, so that no other can get its id.
        self._done: dict[int, tuple[object, object]] = {}

    def settle(self, value: object) -> object:
        if not isinstance(value, ArrayClaim | DtypeClaim | Constructor | list | tuple | dict):
            return value
        if id(cast("object", value)) not in self._done:
            self._settle_new(cast("object", value))
        return self._done[id(cast("object", value))][1]

    def _settle_new(self, value: object) -> None:
        match value:
            case Constructor():
                raise UnsafeFileError(
                    f"{self._path} holds {value.name} itself, not something made with it.",
                    hint="Ask its maker for .npz, .csv or .json.",
                )
            case ArrayClaim():
                array, objects = value.settle()
                self._done[id(value)] = (value, array)
                if objects:
                    # fromiter takes each object as it is; an assignment would look into lists and arrays.
                    settled = np.fromiter((self.settle(item) for item in objects), dtype=object, count=len(objects))
                    array[...] = settled.reshape(array.shape)
            case DtypeClaim():
                self._done[id(value)] = (value, value.settle())
            case list():
                items = cast("list[object]", value)
                self._done[id(items)] = (items, items)
                items[:] = [self.settle(item) for item in items]
            case dict():
                table = cast("dict[object, object]", value)
                self._done[id(table)] = (table, table)
                table.update({key: self.settle(item) for key, item in table.items()})
            case _:
                row_of = cast("tuple[object, ...]", value)
                self._done[id(row_of)] = (row_of, tuple(self.settle(item) for item in row_of))
