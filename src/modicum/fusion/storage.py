"""Recordings in one file: arrays with a description in JSON, as safetensors or .npz; neither can hold code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from modicum.core.extras import require
from modicum.core.files import aside
from modicum.core.safeload import load_npz, parse_json
from modicum.core.safeload.limits import MAX_BYTES, check_size
from modicum.errors import ConfigError, DataError
from modicum.fusion.recordings import Ragged, Recordings

Arrays: TypeAlias = dict[str, npt.NDArray[Any]]

_NAME = "modicum-recordings"  # of the description, in both kinds of file
_FORM = 1  # of the description; raised when it changes
_SUFFIXES = (".safetensors", ".npz")


def save_recordings(path: Path | str, splits: Mapping[str, Recordings]) -> None:
    """Write splits to one file, whole or not at all.

    Args:
        path: replaced if it is there; its suffix, .safetensors or .npz, chooses the form.
        splits: by name.

    Raises:
        ConfigError: if the suffix is another one, or the file cannot be written.
        MissingExtraError: if it is .safetensors and safetensors is not installed.
    """
    path = Path(path)
    check_suffix(path)
    arrays: Arrays = {}
    for place, recordings in enumerate(splits.values()):
        for number, stream in enumerate(recordings.streams.values()):
            arrays[f"{place}.{number}.values"] = np.ascontiguousarray(stream.values)
            arrays[f"{place}.{number}.lengths"] = np.ascontiguousarray(stream.lengths)
        if recordings.labels is not None:
            arrays[f"{place}.labels"] = np.ascontiguousarray(recordings.labels)
    described = [_described(name, recordings) for name, recordings in splits.items()]
    text = json.dumps({"form": _FORM, "splits": described}, ensure_ascii=False)
    with aside(path) as part:
        if path.suffix == ".npz":
            arrays[_NAME] = np.frombuffer(text.encode(), np.uint8)
            np.savez(part, **cast("dict[str, Any]", arrays))
        else:
            safetensors = require("safetensors.numpy", extra="fusion", purpose="Writing .safetensors")
            part.write_bytes(safetensors.save(arrays, metadata={_NAME: text}))


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
        MissingExtraError: if it is .safetensors and safetensors is not installed.
        UnsafeFileError: if it is too large.
    """
    path = Path(path)
    check_suffix(path)
    if not path.is_file():
        raise DataError(f"{path} is no file.", hint="Check the path.")
    arrays, text = (_npz if path.suffix == ".npz" else _safetensors)(path, max_bytes)
    if text is None:
        raise DataError(
            f"{path} holds no recordings.",
            hint="Give a file that `modicum fusion convert` or save_recordings wrote; for arrays of your own, pass "
            "Recordings.from_arrays(...) to save_recordings.",
        )
    try:
        description = parse_json(text, source=path, hint="Write the file again.")
        if description["form"] != _FORM:
            raise DataError(
                f"{path} is of form {description['form']}, and {_FORM} is read.", hint="Use a newer modicum."
            )
        splits = enumerate(description["splits"])
        return {split["name"]: _recordings(path, split, f"{place}", arrays) for place, split in splits}
    except DataError:  # which is a ValueError
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} has a damaged description ({type(error).__name__}: {error}).", hint="Write the file again."
        ) from error


def is_stored(path: Path) -> bool:
    """Tell by the name whether a file may be one of `save_recordings`."""
    return path.suffix in _SUFFIXES


def check_suffix(path: Path) -> None:
    """Refuse a name that `save_recordings` cannot write to."""
    if not is_stored(path):
        raise ConfigError(
            f"{path} ends in {path.suffix!r}.", hint=f"Name a file that ends in {' or '.join(_SUFFIXES)}."
        )


def _described(name: str, recordings: Recordings) -> dict[str, object]:
    return {
        "name": name,
        "ids": recordings.ids,
        "streams": list(recordings.streams),
        "words": recordings.words,
        "classes": recordings.classes,
        "groups": recordings.groups,
        "replaced": dict(recordings.replaced),
    }


def _recordings(path: Path, described: dict[str, Any], place: str, arrays: Arrays) -> Recordings:
    typed = partial(_typed, path)
    words, labels = described["words"], arrays.get(f"{place}.labels")
    return Recordings(
        ids=tuple(map(str, described["ids"])),
        streams={
            name: Ragged(
                values=typed(arrays[f"{place}.{number}.values"], np.float32),
                lengths=typed(arrays[f"{place}.{number}.lengths"], np.int64),
            )
            for number, name in enumerate(described["streams"])
        },
        words=None if words is None else tuple(map(tuple, words)),
        labels=None if labels is None else typed(labels, np.float32, np.int64),
        classes=tuple(map(str, described["classes"])),
        groups=tuple(map(str, described["groups"])),
        replaced={str(name): int(count) for name, count in described["replaced"].items()},
    )


def _typed(path: Path, array: npt.NDArray[Any], *types: type[np.generic]) -> npt.NDArray[Any]:
    if array.dtype not in types:
        raise DataError(
            f"{path} holds an array of {array.dtype} where {' or '.join(it.__name__ for it in types)} belongs.",
            hint="Write the file again.",
        )
    return array


def _npz(path: Path, max_bytes: int) -> tuple[Arrays, str | None]:
    arrays = load_npz(path, max_bytes=max_bytes)
    text = arrays.pop(_NAME, None)
    return arrays, None if text is None else text.tobytes().decode("utf-8", errors="replace")


def _safetensors(path: Path, max_bytes: int) -> tuple[Arrays, str | None]:
    safetensors: Any = require("safetensors", extra="fusion", purpose="Reading .safetensors")
    check_size(path, path.stat().st_size, max_bytes=max_bytes)
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = cast("dict[str, str]", file.metadata() or {})
            return {name: file.get_tensor(name) for name in file.keys()}, metadata.get(_NAME)  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise DataError(f"{path} is no whole safetensors file ({error}).", hint="Write it again.") from error
