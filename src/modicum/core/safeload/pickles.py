"""Read a pickle that holds arrays and plain containers, and refuse every other one.

NumPy's ``_reconstruct``, ``dtype.__setstate__`` and ``ndarray.__setstate__`` believe what a pickle says: shapes
that take all memory, field offsets that point outside the record. So a pickle never reaches them. It gets stand-ins
that record the claim; the claim is held against the bytes that came, and only then does NumPy build the array. Every
stand-in refuses attributes (``__setstate__``), so that the BUILD instruction cannot alter it, and none is hashable, so
that all of them are found again by a walk over lists, tuples and the values of dictionaries.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NoReturn, cast

import numpy as np
from numpy.typing import NDArray

from modicum.core.safeload.limits import MAX_BYTES, parsing, read_bounded
from modicum.errors import DataError, UnsafeFileError

_INSTRUCTIONS = {instruction.code: instruction for instruction in pickletools.opcodes}
_CODE = re.compile(r"[?a-zA-Z][0-9]{0,9}")
_UNIT = re.compile(r"Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as")


def load_pickle(path: Path, *, encoding: str = "ASCII", max_bytes: int = MAX_BYTES) -> object:
    """Read the arrays, numbers, texts and plain containers of a pickle without running anything in it.

    Allowed are NumPy arrays, scalars and dtypes (as NumPy 1 and 2 spell them), list, tuple, dict, set, frozenset, str,
    bytes, bytearray, numbers, bool and None. Arrays of objects may hold these again. Data frames, dates, classes and
    functions are refused. Lists of small things take up to about sixty times their size in the file.

    Args:
        path: a pickle of any protocol, with nothing after it.
        encoding: how texts of Python 2 are decoded; "latin1" for its arrays, "bytes" to leave them as bytes.
        max_bytes: the largest file that is read.

    Returns:
        What was pickled.

    Raises:
        DataError: if the file is no complete pickle, or an array's data are not what its shape and dtype need.
        UnsafeFileError: if it names anything else, or is too large.
    """
    data = read_bounded(path, max_bytes=max_bytes)
    with parsing(path, "pickle of arrays and plain containers"):
        _scan(path, data)
        try:
            return _Settler(path).settle(_Unpickler(path, data, encoding=encoding).load())
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


def _scan(path: Path, data: bytes) -> None:
    """Walk over the instructions, without following them, up to the end of the pickle."""
    # The C unpickler believes an instruction that stores object number two thousand million, and takes the memory for
    # all lower numbers: five bytes cost 32 GB. Numbers beyond the count of bytes are therefore refused before it
    # starts.
    stream = io.BytesIO(data)
    while (code := stream.read(1)) != pickle.STOP:
        instruction = _INSTRUCTIONS.get(code.decode("latin-1"))
        if instruction is None:
            raise UnpicklingError(f"byte {stream.tell() - 1} is no instruction" if code else "it is truncated")
        if instruction.name == "STRING":  # of Python 2, whose bytes pickletools takes for ASCII
            stream.readline()
        elif instruction.arg is not None:
            argument = instruction.arg.reader(stream)
            if instruction.name.endswith("PUT") and argument > len(data):
                raise UnsafeFileError(
                    f"{path} stores object number {argument:,} in a file of {len(data):,} bytes, which would take all "
                    "memory.",
                    hint="Do not use this file; ask its maker for .npz.",
                )
    if rest := len(data) - stream.tell():
        raise UnpicklingError(f"{rest} bytes follow its end")


class _Unpickler(pickle.Unpickler):  # noqa: S301 - this is the restricted one
    def __init__(self, path: Path, data: bytes, *, encoding: str) -> None:
        super().__init__(io.BytesIO(data), encoding=encoding)
        self._path = path

    def find_class(self, module_name: str, global_name: str, /) -> Constructor:
        allowed = _ALLOWED.get((module_name, global_name))
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


class _Settler:
    """Put the arrays and dtypes in the place of their claims."""

    # Each object is settled once: what is shared stays shared, and a list may contain itself.

    def __init__(self, path: Path) -> None:
        self._path = path
        # The first of the pair keeps the object alive, so that no other can get its id.
        self._done: dict[int, tuple[Any, Any]] = {}

    def settle(self, value: Any) -> Any:
        if not isinstance(value, ArrayClaim | DtypeClaim | Constructor | list | tuple | dict):
            return value
        if id(cast("object", value)) not in self._done:
            self._settle_new(value)
        return self._done[id(cast("object", value))][1]

    def _settle_new(self, value: Any) -> None:
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
                    settled = np.fromiter(map(self.settle, objects), dtype=object, count=len(objects))
                    array[...] = settled.reshape(array.shape)
            case DtypeClaim():
                self._done[id(value)] = (value, value.settle())
            case list():
                items = cast("list[Any]", value)
                self._done[id(items)] = (items, items)
                items[:] = map(self.settle, items[:])
            case dict():
                table = cast("dict[Any, Any]", value)
                self._done[id(table)] = (table, table)
                table.update({key: self.settle(item) for key, item in table.items()})
            case _:
                self._done[id(value)] = (value, tuple(map(self.settle, value)))


@dataclass(slots=True)
class Constructor:
    """Something that a pickle may call, and do nothing else with."""

    name: str
    build: Callable[..., object]

    def __call__(self, *arguments: object) -> object:
        """Do what the pickle asks, within the bounds of `build`."""
        return self.build(*arguments)

    def __setstate__(self, state: object) -> None:
        raise UnpicklingError(f"it changes attributes of {self.name}")


@dataclass(slots=True)
class DtypeClaim:
    """A dtype as a pickle describes it."""

    code: str  # kind and size, such as ``f8``
    state: tuple[Any, ...] = ()  # NumPy's own tuple

    def __setstate__(self, state: Any) -> None:
        _require(isinstance(state, tuple), "a dtype has no state tuple")
        self.state = state

    def settle(self) -> np.dtype[Any]:
        """Build the dtype through NumPy's checked constructor."""
        if not self.state:
            return np.dtype(self.code)
        _, order, inner, names, fields, size, *rest = self.state
        if inner is not None:
            return np.dtype((_dtype(inner[0]), inner[1]))
        if names is not None:
            parts = [fields[name] for name in names]
            # The dictionary form is the one in which NumPy checks that each offset lies inside the record.
            layout: Any = {
                "names": [_text(name) for name in names],
                "formats": [_dtype(part[0]) for part in parts],
                "offsets": [part[1] for part in parts],
                "titles": [_text(part[2]) if len(part) > 2 else None for part in parts],
                "itemsize": size,
            }
            return np.dtype(layout)
        unit = _date_unit(rest[2][1]) if len(rest) > 2 and self.code in {"M8", "m8"} else ""
        order = _text(order)
        _require(order in {"<", ">", "=", "|"}, f"a dtype has the byte order {order!r}")
        return np.dtype(self.code + unit).newbyteorder(cast("Any", order))


@dataclass(slots=True)
class ArrayClaim:
    """An array as a pickle describes it: NumPy's own tuple (version, shape, dtype, Fortran order, data)."""

    state: tuple[Any, ...] = ()

    def __setstate__(self, state: Any) -> None:
        _require(isinstance(state, tuple) and len(cast("Any", state)) == 5, "an array has no state of five parts")
        self.state = state

    def settle(self) -> tuple[NDArray[Any], list[Any]]:
        """Build the array if its data are what its shape and dtype need; objects are left to the caller."""
        _require(bool(self.state), "an array has no data")
        _, shape, kind, fortran, data = self.state
        order = "F" if fortran else "C"
        if not isinstance(data, list):
            return _from_bytes(data, kind, shape, order), []
        objects, dtype = cast("list[Any]", data), _dtype(kind)
        _check_shape(shape)
        fits = dtype == np.dtype("O") and len(objects) == math.prod(shape)
        _require(fits, f"an array of {dtype} and shape {shape} comes with {len(objects)} objects")
        return cast("NDArray[Any]", np.empty(shape, dtype=dtype, order=order)), objects


def _require(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - a condition, not a switch
    if not holds:
        raise UnpicklingError(otherwise)


def _dtype(claim: object) -> np.dtype[Any]:
    if isinstance(claim, DtypeClaim):
        return claim.settle()
    raise UnpicklingError("a dtype is missing")


def _text(value: object) -> str:
    # Pickles of Python 2 that are read with encoding="bytes" name everything in bytes.
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    if isinstance(text, str):
        return text
    raise UnpicklingError("a name is not text")


def _date_unit(unit: tuple[object, int, int, int] | None) -> str:
    if unit is None or _text(unit[0]) == "generic":
        return ""
    name, count, divisor, _ = unit
    _require(_UNIT.fullmatch(_text(name)) is not None and divisor == 1, f"a date has the unit {unit}")
    return f"[{int(count)}{_text(name)}]"


def _check_shape(shape: Any) -> None:
    fine = isinstance(shape, tuple) and all(isinstance(side, int) and side >= 0 for side in cast("Any", shape))
    _require(fine, f"an array has the shape {shape}")


def _from_bytes(
    data: object, kind: object, shape: tuple[int, ...], order: str, axes: tuple[int, ...] | None = None
) -> NDArray[Any]:
    dtype = _dtype(kind)
    _check_shape(shape)
    raw = data.encode("latin-1") if isinstance(data, str) else data
    if dtype.hasobject or not isinstance(raw, bytes | bytearray):
        raise UnpicklingError(f"an array of {dtype} does not come as bytes")
    # Elements of no bytes would let a few bytes claim any number of elements.
    fits = math.prod(shape) * dtype.itemsize == len(raw) and (dtype.itemsize > 0 or math.prod(shape) == 0)
    _require(fits, f"an array of {dtype} and shape {shape} comes with {len(raw)} bytes")
    # Not array.copy(), which leaves the unused bytes of a record undefined.
    array: NDArray[Any] = np.ndarray(shape, dtype=dtype, buffer=bytearray(raw), order="F" if order == "F" else "C")
    # NumPy marks an array whose axes lie in another order by "K" and names the order.
    return array if axes is None else array.transpose(axes)


def _reconstruct(kind: object, shape: object, _code: object) -> ArrayClaim:
    _require(kind is _NDARRAY and shape == (0,), "an array is not built as NumPy builds it")
    return ArrayClaim()


def _claim_dtype(code: object, *_flags: object) -> DtypeClaim:
    text = _text(code)
    _require(_CODE.fullmatch(text) is not None, f"a dtype has the code {text[:40]!r}")
    return DtypeClaim(text)


def _scalar(kind: object, data: object = b"") -> object:
    return _from_bytes(data, kind, (), "C")[()]


def _not_called(*_arguments: object) -> NoReturn:
    raise UnpicklingError("numpy.ndarray is called directly")


def _encode(text: str, encoding: str) -> bytes:
    # Pickles of protocol 2 and lower carry bytes as Latin-1 text.
    _require(encoding in {"latin1", "latin-1"}, f"bytes are encoded as {encoding!r}")
    return text.encode("latin-1")


def _bytes(*data: bytes) -> bytes:
    _require(not data, "bytes are built from something else")
    return b""


def _bytearray(data: bytes | str = b"", encoding: str = "latin-1") -> bytearray:
    # bytearray(10**12) would take the memory at once.
    return bytearray(_encode(data, encoding) if isinstance(data, str) else memoryview(data))


_NDARRAY = Constructor("numpy.ndarray", _not_called)
_BUILTINS = {"bytes": _bytes, "bytearray": _bytearray, "complex": complex, "frozenset": frozenset, "set": set}
# Keyed as a pickle spells them: NumPy 1 and 2, Python 2 and 3.
_ALLOWED: Mapping[tuple[str, str], Constructor] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): Constructor("numpy.dtype", _claim_dtype),
    ("_codecs", "encode"): Constructor("_codecs.encode", _encode),
    **{
        (f"numpy.{core}.{module}", name): Constructor(f"numpy.{name}", build)
        for core in ("core", "_core")
        for module, name, build in (
            ("multiarray", "_reconstruct", _reconstruct),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _from_bytes),
        )
    },
    **{
        (module, name): Constructor(name, cast("Callable[..., object]", build))
        for module in ("builtins", "__builtin__")
        for name, build in _BUILTINS.items()
    },
}
