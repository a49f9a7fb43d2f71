"""Recordings in one file: arrays with a description in JSON, as safetensors or .npz; neither can hold code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from modicum.core.files import aside
from modicum.core.safeload import load_npz, parse_json
from modicum.core.safeload.limits import MAX_BYTES
from modicum.core.storage import Format, Tensors, parsed, read_tensors, write_tensors
from modicum.errors import ConfigError, DataError
from modicum.fusion.recordings import Ragged, Recordings

_FORMAT = Format(
    name="modicum-recordings",  # of the description, in both kinds of file
    version=1,
    what="file of recordings",
    hint="Give a file that `modicum fusion convert` or save_recordings wrote, complete; for arrays of your own, pass "
    "Recordings.from_arrays(...) to save_recordings.",
)
_SUFFIXES = (".safetensors", ".npz")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Split:
    """A split without its arrays."""

    name: str
    ids: tuple[str, ...]
    streams: tuple[str, ...]
    words: tuple[tuple[str, ...], ...] | None
    classes: tuple[str, ...]
    groups: tuple[str, ...]
    replaced: dict[str, int]


def save_recordings(path: Path | str, splits: Mapping[str, Recordings]) -> None:
    """Write splits to one file, whole or not at all.

    Args:
        path: replaced if it is there; its suffix, .safetensors or .npz, chooses the form.
        splits: by name.

    Raises:
        ConfigError: if the suffix is another one, or the file cannot be written.
    """
    path = Path(path)
    check_suffix(path)
    arrays: dict[str, Any] = {}
    for place, recordings in enumerate(splits.values()):
        for number, stream in enumerate(recordings.streams.values()):
            arrays[f"{place}.{number}.values"], arrays[f"{place}.{number}.lengths"] = stream.values, stream.lengths
        if recordings.labels is not None:
            arrays[f"{place}.labels"] = recordings.labels
    described = [
        {name: getattr(it, name) for name in ("ids", "words", "classes", "groups")}
        | {"name": split, "streams": list(it.streams), "replaced": dict(it.replaced)}
        for split, it in splits.items()
    ]
    text = json.dumps({"form": _FORMAT.version, "splits": described}, ensure_ascii=False)
    if path.suffix == ".safetensors":
        write_tensors(path, arrays, metadata={_FORMAT.name: text})
        return
    arrays[_FORMAT.name] = np.frombuffer(text.encode(), np.uint8)
    with aside(path) as part:
        np.savez(part, **arrays)


def load_recordings(path: Path | str, *, max_bytes: int = MAX_BYTES) -> dict[str, Recordings]:
    """Read what `save_recordings` wrote.

    Args:
        path: a file whose name ends in .safetensors or .npz.
        max_bytes: the most that is read, uncompressed.

    Returns:
        By split, equal to what was saved to the last bit.

    Raises:
        ConfigError: if the suffix is another one.
        DataError: if the file is damaged, or another one than `save_recordings` writes.
        UnsafeFileError: if it is too large.
    """
    path = Path(path)
    check_suffix(path)
    if not path.is_file():
        raise DataError(f"{path} is no file.", hint="Check the path.")
    if path.suffix == ".npz":
        arrays = cast("dict[str, Any]", load_npz(path, max_bytes=max_bytes))
        text = arrays.pop(_FORMAT.name, np.zeros(0, np.uint8)).tobytes()
    else:
        arrays, metadata = read_tensors(path, hint="Write the file again.", max_bytes=max_bytes)
        text = metadata.get(_FORMAT.name, "")
    if not text:
        raise DataError(f"{path} holds no recordings.", hint=_FORMAT.hint)
    found = parse_json(text, source=path, hint=_FORMAT.hint)
    found = found if isinstance(found, dict) else {}
    _FORMAT.check(path, _FORMAT.name, found.get("form"))
    tensors = Tensors(path, arrays, hint=_FORMAT.hint)
    splits = parsed(found.get("splits"), list[_Split], source=path, hint=_FORMAT.hint)
    return {split.name: _recordings(split, number, tensors) for number, split in enumerate(splits)}


def is_stored(path: Path) -> bool:
    """Tell by the name whether a file may be one of `save_recordings`."""
    return path.suffix in _SUFFIXES


def check_suffix(path: Path) -> None:
    """Refuse a name that `save_recordings` cannot write to."""
    if not is_stored(path):
        hint = f"Name a file that ends in {' or '.join(_SUFFIXES)}."
        raise ConfigError(f"{path} ends in {path.suffix!r}.", hint=hint)


def _recordings(split: _Split, number: int, tensors: Tensors) -> Recordings:
    streams: dict[str, Ragged] = {}
    for index, name in enumerate(split.streams):
        values = tensors.take(f"{number}.{index}.values", np.float32)
        streams[name] = Ragged(values=values, lengths=tensors.take(f"{number}.{index}.lengths", np.int64))
    labels = tensors.take(f"{number}.labels", np.float32, np.int64) if f"{number}.labels" in tensors else None
    parts = {name: getattr(split, name) for name in ("ids", "words", "classes", "groups", "replaced")}
    return Recordings(streams=streams, labels=labels, **parts)
