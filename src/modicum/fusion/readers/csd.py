"""Computational sequences of the CMU Multimodal SDK.

Each is an HDF5 file with one stream of all videos: frames, and when they begin and end.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from modicum.core.extras import require
from modicum.core.files import aside
from modicum.core.safeload.limits import MAX_BYTES, check_size
from modicum.errors import DataError, UnsafeFileError
from modicum.fusion.align import check_intervals
from modicum.fusion.recordings import FloatArray

Group: TypeAlias = Any  # of h5py, which has no types


@dataclass(frozen=True, kw_only=True, slots=True)
class Timed:
    """One video in one stream."""

    intervals: npt.NDArray[np.float64]  # beginning and end of each frame in seconds, float64, shape (frames, 2)
    features: FloatArray | npt.NDArray[np.str_]  # shape (frames, size); of words, shape (frames, 1) and text


@dataclass(frozen=True, kw_only=True, slots=True)
class Csd:
    """A computational sequence."""

    name: str  # of the stream, as its file has it: "COVAREP"
    videos: Mapping[str, Timed]  # by id
    metadata: Mapping[str, object] = field(default_factory=dict[str, object])  # what the file says of itself

    @property
    def is_text(self) -> bool:
        """Whether its frames are words."""
        return any(video.features.dtype.kind == "U" for video in self.videos.values())


def read_csd(path: Path, *, max_bytes: int = MAX_BYTES) -> Csd:
    """Read a computational sequence."""
    with _opened(path) as file:
        if len(file) != 1:
            raise DataError(f"{path} has {len(file)} roots, not one.", hint="Check that it is a .csd file.")
        root = _group(file, next(iter(file)), path)
        data, budget, videos = _group(root, "data", path), _Budget(max_bytes), dict[str, Timed]()
        for name in data:
            video, where = _group(data, name, path), f"{path}, {name}"
            if missing := {"features", "intervals"} - set(video):
                raise DataError(f"{where}: {min(missing)} are missing.", hint="Remove the video, or correct the file.")
            videos[name] = _timed(
                _array(video, "intervals", path, budget), _array(video, "features", path, budget), where
            )
        return Csd(name=root.name.strip("/"), videos=videos, metadata=_metadata(root, path, budget))


def write_csd(path: Path, sequence: Csd) -> None:
    """Write a computational sequence, whole or not at all."""
    h5py = require("h5py", extra="fusion", purpose="Writing .csd files")
    checked = {
        name: _timed(video.intervals, video.features, f"{path}, {name}") for name, video in sequence.videos.items()
    }
    with aside(path) as part, h5py.File(part, "w") as file:
        data = file.create_group(f"{sequence.name}/data")
        for name, video in checked.items():
            group = data.create_group(name)
            rows: npt.NDArray[Any] = video.features
            group["features"] = np.char.encode(rows, "utf-8") if rows.dtype.kind == "U" else rows
            group["intervals"] = video.intervals
        metadata = file.create_group(f"{sequence.name}/metadata")
        for name, value in sequence.metadata.items():
            metadata.create_dataset(name, data=[json.dumps(value)], dtype=h5py.string_dtype())


@dataclass(slots=True)
class _Budget:
    """What the arrays of a file may bring together, and have brought."""

    max_bytes: int
    used: int = 0


@contextmanager
def _opened(path: Path) -> Generator[Group]:
    h5py = require("h5py", extra="fusion", purpose="Reading .csd files")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError) as error:  # also what h5py raises in the middle of a truncated file
        raise DataError(
            f"{path} is not a complete HDF5 file ({error}).", hint="Fetch it again, and check its size."
        ) from error


def _member(group: Group, name: str, path: Path) -> Group:
    # A name must stay inside the file: HDF5 has links to others.
    h5py = require("h5py", extra="fusion", purpose="Reading .csd files")
    link = group.get(name, getlink=True)
    if link is None:
        raise DataError(f"{path} has no {name!r} in {group.name!r}.", hint="Check that it is a .csd file.")
    if not isinstance(link, h5py.HardLink):
        raise UnsafeFileError(
            f"{path} refers from {name!r} to another folder.", hint="Ask its maker for a complete file."
        )
    try:
        return group[name]
    except (KeyError, RuntimeError, OSError) as error:  # what h5py raises where the header of an object is damaged
        raise DataError(
            f"{path}: {name!r} cannot be opened ({error}).", hint="It is damaged: copy it again."
        ) from error


def _group(group: Group, name: str, path: Path) -> Group:
    member = _member(group, name, path)
    if not hasattr(member, "create_group"):
        raise DataError(f"{path}: {member.name} is no group.", hint="Check that it is a .csd file.")
    return member


def _array(group: Group, name: str, path: Path, budget: _Budget) -> npt.NDArray[Any]:
    dataset = _member(group, name, path)
    if not hasattr(dataset, "dtype"):
        raise DataError(f"{path}: {dataset.name} is no array.", hint="Check that it is a .csd file.")
    if dataset.is_virtual or dataset.external:
        raise UnsafeFileError(f"{path}: {dataset.name} lies in other files.", hint="Ask its maker for a complete file.")
    if dataset.shape is None:  # h5py.Empty
        raise DataError(f"{path}: {dataset.name} is empty.", hint="Remove the video, or correct the file.")
    budget.used += dataset.nbytes
    check_size(path, budget.used, max_bytes=budget.max_bytes)
    if dataset.dtype.kind not in "SfiuOb" or (
        dataset.dtype.kind == "O" and dataset.dtype.metadata.get("vlen") is not str
    ):
        raise DataError(f"{path}: {dataset.name} has neither values nor text.", hint="Check that it is a .csd file.")
    return dataset.asstr(errors="replace")[()] if dataset.dtype.kind == "O" else dataset[()]


def _timed(intervals: npt.NDArray[Any], features: npt.NDArray[Any], where: str) -> Timed:
    if intervals.dtype.kind not in "fiu":
        raise DataError(f"{where}: the intervals are not numeric.", hint="Remove the video, or correct the file.")
    times = check_intervals(intervals, f"{where}, frame")
    rows = features[:, None] if features.ndim == 1 else features
    if rows.ndim != 2 or len(rows) != len(times):
        raise DataError(
            f"{where}: there are {len(times)} intervals for features of shape {features.shape}.",
            hint="Remove the video, or correct the file.",
        )
    return Timed(intervals=times, features=_features(rows))


def _features(rows: npt.NDArray[Any]) -> FloatArray | npt.NDArray[np.str_]:
    if rows.dtype.kind in "SOU":
        return np.char.decode(rows, "utf-8", "replace") if rows.dtype.kind == "S" else rows.astype(np.str_)
    with np.errstate(over="ignore"):
        return rows.astype(np.float32)


def _metadata(root: Group, path: Path, budget: _Budget) -> dict[str, object]:
    if "metadata" not in root:
        return {}
    group = _group(root, "metadata", path)
    texts = {name: np.ravel(_array(group, name, path, budget)) for name in group}
    return {name: _json(str(text[0])) for name, text in texts.items() if len(text)}


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text  # older files have bare texts
