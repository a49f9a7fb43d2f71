"""What a pickle gets in place of NumPy's own constructors.

NumPy's ``_reconstruct``, ``dtype.__setstate__`` and ``ndarray.__setstate__`` believe what a pickle tells them: shapes
that take all memory, field offsets that point outside the record. So a pickle never reaches them. It gets stand-ins
that record the claim; the claim is held against the bytes that came, and only then does NumPy build the array.

Every stand-in refuses attributes (`__setstate__` raises), so that the BUILD instruction cannot alter it, and none is
hashable, so that all of them are found again by a walk over lists, tuples and the values of dictionaries.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pickle import UnpicklingError
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

_CODE = re.compile(r"[?a-zA-Z][0-9]{0,9}")
_UNIT = re.compile(r"(?:Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)")


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

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple):
            raise UnpicklingError("a dtype has no state tuple")
        self.state = cast("tuple[Any, ...]", state)

    def settle(self) -> np.dtype[Any]:
        """Build the dtype through NumPy's checked constructor."""
        if not self.state:
            return np.dtype(self.code)
        _, order, inner, names, fields, size, *rest = self.state
        if inner is not None:
            base, shape = inner
            return np.dtype((_dtype(base), shape))
        if names is not None:
            return self._record(names, fields, size)
        unit = rest[2][1] if len(rest) > 2 and self.code in {"M8", "m8"} else None
        return np.dtype(self.code + _date_unit(unit)).newbyteorder(_byte_order(order))

    @staticmethod
    def _record(names: tuple[object, ...], fields: Mapping[object, tuple[object, ...]], size: int) -> np.dtype[Any]:
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


@dataclass(slots=True)
class ArrayClaim:
    """An array as a pickle describes it: NumPy's own tuple (version, shape, dtype, Fortran order, data)."""

    state: tuple[Any, ...] = ()

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(cast("tuple[object, ...]", state)) != 5:
            raise UnpicklingError("an array has no state of five parts")
        self.state = cast("tuple[Any, ...]", state)

    def settle(self) -> tuple[NDArray[Any], list[Any]]:
        """Build the array if its data are what its shape and dtype need."""
        if not self.state:
            raise UnpicklingError("an array has no data")
        _, shape, kind, fortran, data = self.state
        order = "F" if fortran else "C"
        if not isinstance(data, list):
            return _from_bytes(data, kind, shape, order), []
        objects, dtype = cast("list[Any]", data), _dtype(kind)
        _check_shape(shape)
        if dtype != np.dtype("O") or len(objects) != math.prod(shape):
            raise UnpicklingError(f"an array of {dtype} and shape {shape} comes with {len(objects)} objects")
        return cast("NDArray[Any]", np.empty(shape, dtype=dtype, order=order)), objects


def _dtype(claim: object) -> np.dtype[Any]:
    if isinstance(claim, DtypeClaim):
        return claim.settle()
    raise UnpicklingError("a dtype is missing")


def _text(value: object) -> str:
    # Pickles of Python 2 that are read with encoding="bytes" name everything in bytes.
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, str):
        return value
    raise UnpicklingError("a name is not text")


def _byte_order(value: object) -> Literal["<", ">", "=", "|"]:
    for order in get_args(Literal["<", ">", "=", "|"]):
        if _text(value) == order:
            return order
    raise UnpicklingError(f"a dtype has the byte order {value!r}")


def _date_unit(unit: tuple[object, int, int, int] | None) -> str:
    if unit is None:
        return ""
    name, count, divisor, _ = unit
    if _text(name) == "generic":
        return ""
    if not _UNIT.fullmatch(_text(name)) or divisor != 1:
        raise UnpicklingError(f"a date has the unit {unit}")
    return f"[{int(count)}{_text(name)}]"


def _check_shape(shape: object) -> None:
    sides = cast("tuple[object, ...]", shape) if isinstance(shape, tuple) else (None,)
    if not all(isinstance(side, int) and side >= 0 for side in sides):
        raise UnpicklingError(f"an array has the shape {shape}")


def _from_buffer(
    data: object, kind: object, shape: tuple[int, ...], order: str, axes: tuple[int, ...] | None = None
) -> NDArray[Any]:
    # NumPy marks an array whose axes lie in another order by "K" and names the order.
    array = _from_bytes(data, kind, shape, order)
    return array if axes is None else array.transpose(axes)


def _from_bytes(data: object, kind: object, shape: tuple[int, ...], order: str) -> NDArray[Any]:
    dtype = _dtype(kind)
    _check_shape(shape)
    raw = data.encode("latin-1") if isinstance(data, str) else data
    if dtype.hasobject or not isinstance(raw, bytes | bytearray):
        raise UnpicklingError(f"an array of {dtype} does not come as bytes")
    needed = math.prod(shape) * dtype.itemsize
    # Elements of no bytes would let a few bytes claim any number of elements.
    if needed != len(raw) or (dtype.itemsize == 0 and math.prod(shape) > 0):
        raise UnpicklingError(f"an array of {dtype} and shape {shape} comes with {len(raw)} bytes")
    # Not array.copy(), which leaves the unused bytes of a record undefined.
    return np.ndarray(shape, dtype=dtype, buffer=bytearray(raw), order="F" if order == "F" else "C")


def _reconstruct(kind: object, shape: object, _code: object) -> ArrayClaim:
    if kind is not _NDARRAY or shape != (0,):
        raise UnpicklingError("an array is not built as NumPy builds it")
    return ArrayClaim()


def _claim_dtype(code: object, *_flags: object) -> DtypeClaim:
    text = _text(code)
    if not _CODE.fullmatch(text):
        raise UnpicklingError(f"a dtype has the code {text[:40]!r}")
    return DtypeClaim(text)


def _scalar(kind: object, data: object = b"") -> object:
    return _from_bytes(data, kind, (), "C")[()]


def _not_called(*_arguments: object) -> object:
    raise UnpicklingError("numpy.ndarray is called directly")


def _encode(text: str, encoding: str) -> bytes:
    # Pickles of protocol 2 and lower carry bytes as Latin-1 text.
    if encoding not in {"latin1", "latin-1"}:
        raise UnpicklingError(f"bytes are encoded as {encoding!r}")
    return text.encode("latin-1")


def _bytes(*data: bytes) -> bytes:
    if data:
        raise UnpicklingError("bytes are built from something else")
    return b""


def _bytearray(data: bytes | str = b"", encoding: str = "latin-1") -> bytearray:
    # bytearray(10**12) would take the memory at once.
    return bytearray(_encode(data, encoding) if isinstance(data, str) else memoryview(data))


_NDARRAY = Constructor("numpy.ndarray", _not_called)
_RECONSTRUCT = Constructor("numpy._reconstruct", _reconstruct)
_SCALAR = Constructor("numpy.scalar", _scalar)
_FROMBUFFER = Constructor("numpy._frombuffer", _from_buffer)

# Keyed as a pickle spells them: NumPy 1 and 2, Python 2 and 3.
ALLOWED: Mapping[tuple[str, str], Constructor] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): Constructor("numpy.dtype", _claim_dtype),
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy.core.multiarray", "scalar"): _SCALAR,
    ("numpy._core.multiarray", "scalar"): _SCALAR,
    ("numpy.core.numeric", "_frombuffer"): _FROMBUFFER,
    ("numpy._core.numeric", "_frombuffer"): _FROMBUFFER,
    ("_codecs", "encode"): Constructor("_codecs.encode", _encode),
    **{
        (module, name): Constructor(name, build)
        for module in ("builtins", "__builtin__")
        for name, build in {
            "bytes": _bytes,
            "bytearray": _bytearray,
            "complex": complex,
            "frozenset": frozenset[object],
            "set": set[object],
        }.items()
    },
}
