"""What modicum saves and reads again: documents that know their format and version, and tensors in safetensors."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import numpy as np
import numpy.typing as npt

from modicum.core.files import aside
from modicum.core.safeload import read_json
from modicum.core.safeload.limits import check_size
from modicum.errors import DataError

T = TypeVar("T")
Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """What stands in a document of a kind, and what is said where another one is found."""

    name: str  # such as "modicum.fusion"
    version: int
    what: str  # such as "fusion system"
    hint: str  # who writes a complete one

    def check(self, source: object, name: object, version: object) -> None:
        """Refuse what has another name or version."""
        if name != self.name:
            raise DataError(f"{source} is no {self.what} of modicum.", hint=self.hint)
        if str(version) != str(self.version):
            raise DataError(
                f"{source} has version {version} of the format, but this modicum reads version {self.version}.",
                hint="Read it with the version of modicum that wrote it, or make it again.",
            )

    def write(self, path: Path, content: Mapping[str, Any]) -> None:
        """Write a document as JSON."""
        with aside(path) as part:
            part.write_text(json.dumps({"format": self.name, "version": self.version, **content}), encoding="utf-8")

    def read(self, path: Path, kind: Callable[..., T]) -> T:
        """Read a document as a dataclass."""
        read = read_json(path, hint=self.hint)
        found = cast("dict[str, Any]", read if isinstance(read, dict) else {})
        self.check(path, found.pop("format", None), found.pop("version", None))
        return parsed(found, kind, source=path, hint=self.hint)


def parsed(content: Any, kind: Callable[..., T], *, source: object, hint: str) -> T:
    """Make a dataclass, or a container of some, of what JSON holds; a field too many or of another type is an error."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    try:
        # In a list, since pydantic takes no configuration for a dataclass that is not its own.
        adapter: Any = TypeAdapter(list[kind], config=ConfigDict(extra="forbid"))  # type: ignore[valid-type]
        return adapter.validate_json(json.dumps([content]), strict=True)[0]
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"][1:]))
        raise DataError(f"{source} is damaged ({f'{field}: ' if field else ''}{first['msg']}).", hint=hint) from error


def write_tensors(path: Path, tensors: Mapping[str, Array], *, metadata: dict[str, str] | None = None) -> None:
    """Write arrays to a safetensors file; with one entry of metadata the same arrays give the same bytes."""
    from safetensors.numpy import save

    content = save({name: np.ascontiguousarray(array) for name, array in tensors.items()}, metadata=metadata)
    with aside(path) as part:
        part.write_bytes(content)


def read_tensors(
    path: Path,
    *,
    hint: str,
    framework: Literal["numpy", "pt"] = "numpy",
    names: Collection[str] | None = None,
    max_bytes: int | None = None,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Read the tensors of a safetensors file, or those of some names, and its metadata."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise DataError(f"{path} does not exist.", hint=hint)
    if max_bytes is not None:
        check_size(path, path.stat().st_size, max_bytes=max_bytes)
    try:
        with cast("Any", safe_open)(path, framework=framework) as file:
            wanted: list[str] = [name for name in file.keys() if names is None or name in names]  # noqa: SIM118
            return {name: file.get_tensor(name) for name in wanted}, file.metadata() or {}
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} is no complete safetensors file ({error}).", hint=hint) from error


class Tensors:
    """Arrays of a file; what is missing, of another type or shape or asked for by nothing is an error."""

    def __init__(self, source: object, arrays: Mapping[str, Array], *, hint: str) -> None:
        self._source, self._arrays, self._hint = source, arrays, hint
        self._left = dict.fromkeys(arrays)

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def take(self, name: str, *dtypes: type[np.generic], shape: tuple[int | None, ...] | None = None) -> Array:
        """Give the array of a name, of one of these types and of that shape; None stands for any length."""
        found = self._arrays.get(name)
        self._left.pop(name, None)
        if found is None:
            raise DataError(f"{self._source}: the tensor {name} is missing.", hint=self._hint)
        fits = shape is None or (
            len(shape) == found.ndim
            and all(want in {None, size} for want, size in zip(shape, found.shape, strict=True))
        )
        if found.dtype.type not in dtypes or not fits:
            wanted = " or ".join(dtype.__name__ for dtype in dtypes)
            wanted += "" if shape is None else f" of shape {['any' if size is None else size for size in shape]}"
            raise DataError(
                f"{self._source}: {name} must be {wanted}, got {found.dtype} of shape {list(found.shape)}.",
                hint=self._hint,
            )
        return found

    def check_empty(self) -> None:
        """Refuse what nothing asked for."""
        if self._left:
            raise DataError(f"{self._source} holds {', '.join(self._left)}, which no part has.", hint=self._hint)
