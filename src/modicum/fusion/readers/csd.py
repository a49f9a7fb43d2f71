"""Computational sequences of the CMU Multimodal SDK: segments by their labels, frames by their words.

Each is an HDF5 file with one stream of all videos: frames, and when they begin and end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from modicum.core.extras import require
from modicum.core.safeload.limits import MAX_BYTES, check_size
from modicum.errors import DataError, UnsafeFileError
from modicum.fusion.align import align, check_intervals
from modicum.fusion.readers.common import Reading, Say, finished, scores
from modicum.fusion.recordings import FloatArray, Ragged, Recordings

Group: TypeAlias = Any  # of h5py, which has no types

_PAUSES = frozenset({"sp"})  # how the transcripts of CMU-MOSI write a short pause


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

    @property
    def is_text(self) -> bool:
        """Whether its frames are words."""
        return any(video.features.dtype.kind == "U" for video in self.videos.values())


@dataclass(slots=True)
class _Source:
    """A file, and what its arrays may bring together and have brought."""

    path: Path
    max_bytes: int
    used: int = 0


def read_csd(path: Path, *, max_bytes: int = MAX_BYTES) -> Csd:
    """Read a computational sequence."""
    h5py = require("h5py", extra="fusion", purpose="Reading .csd files")
    try:
        with h5py.File(path, "r") as file:
            return _sequence(file, _Source(path, max_bytes))
    except (OSError, RuntimeError) as error:  # also what h5py raises in the middle of a truncated file
        hint = "Fetch it again, and check its size."
        raise DataError(f"{path} is not a complete HDF5 file ({error}).", hint=hint) from error


def _sequence(file: Group, source: _Source) -> Csd:
    if len(file) != 1:
        raise DataError(f"{source.path} has {len(file)} roots, not one.", hint="Check that it is a .csd file.")
    root = _member(file, next(iter(file)), source)
    data, videos = _member(root, "data", source), dict[str, Timed]()
    for name in data:
        video, where = _member(data, name, source), f"{source.path}, {name}"
        if missing := {"features", "intervals"} - set(video):
            raise DataError(f"{where}: {min(missing)} are missing.", hint="Remove the video, or correct the file.")
        videos[name] = _timed(_array(video, "intervals", source), _array(video, "features", source), where)
    return Csd(name=root.name.strip("/"), videos=videos)


def _member(group: Group, name: str, source: _Source, *, array: bool = False) -> Group:
    # A name must stay inside the file: HDF5 has links to others.
    h5py = require("h5py", extra="fusion", purpose="Reading .csd files")
    link = group.get(name, getlink=True)
    if link is None:
        raise DataError(f"{source.path} has no {name!r} in {group.name!r}.", hint="Check that it is a .csd file.")
    if not isinstance(link, h5py.HardLink):
        hint = "Ask its maker for a complete file."
        raise UnsafeFileError(f"{source.path} refers from {name!r} to another folder.", hint=hint)
    try:
        member = group[name]
    except (KeyError, RuntimeError, OSError) as error:  # what h5py raises where the header of an object is damaged
        hint = "It is damaged: copy it again."
        raise DataError(f"{source.path}: {name!r} cannot be opened ({error}).", hint=hint) from error
    if not hasattr(member, "dtype" if array else "create_group"):
        kind = "array" if array else "group"
        raise DataError(f"{source.path}: {member.name} is no {kind}.", hint="Check that it is a .csd file.")
    return member


def _array(group: Group, name: str, source: _Source) -> npt.NDArray[Any]:
    dataset = _member(group, name, source, array=True)
    where = f"{source.path}: {dataset.name}"
    if dataset.is_virtual or dataset.external:
        raise UnsafeFileError(f"{where} lies in other files.", hint="Ask its maker for a complete file.")
    if dataset.shape is None:  # h5py.Empty
        raise DataError(f"{where} is empty.", hint="Remove the video, or correct the file.")
    source.used += dataset.nbytes
    check_size(source.path, source.used, max_bytes=source.max_bytes)
    kind = dataset.dtype.kind
    if kind not in "SfiuOb" or (kind == "O" and dataset.dtype.metadata.get("vlen") is not str):
        raise DataError(f"{where} has neither values nor text.", hint="Check that it is a .csd file.")
    return dataset.asstr(errors="replace")[()] if kind == "O" else dataset[()]


def _timed(intervals: npt.NDArray[Any], features: npt.NDArray[Any], where: str) -> Timed:
    hint = "Remove the video, or correct the file."
    if intervals.dtype.kind not in "fiu":
        raise DataError(f"{where}: the intervals are not numeric.", hint=hint)
    times = check_intervals(intervals, f"{where}, frame")
    rows = features[:, None] if features.ndim == 1 else features
    if rows.ndim != 2 or len(rows) != len(times):
        raise DataError(f"{where}: there are {len(times)} intervals for features of shape {features.shape}.", hint=hint)
    if rows.dtype.kind in "SOU":
        words = np.char.decode(rows, "utf-8", "replace") if rows.dtype.kind == "S" else rows.astype(np.str_)
        return Timed(intervals=times, features=words)
    with np.errstate(over="ignore"):
        return Timed(intervals=times, features=rows.astype(np.float32))


def read_csd_folder(folder: Path, how: Reading) -> dict[str, Recordings]:
    """Read a .csd file, or those of a folder as one set of samples."""
    # The file whose name or root holds "label" or "opinion" has the segments and their scores; one whose features are
    # text has the words; all others are streams by the names of their files.
    files = sorted(folder.glob("*.csd")) if folder.is_dir() else [folder]
    read = {file.stem: read_csd(file, max_bytes=how.max_bytes) for file in files}
    labels = {name for name, sequence in read.items() if _is_labels(name) or _is_labels(sequence.name)}
    words = {name for name, sequence in read.items() if sequence.is_text}
    streams = {name: sequence for name, sequence in read.items() if name not in labels | words}
    if not streams or max(len(labels), len(words)) > 1:
        raise DataError(
            f"{folder} has {len(streams)} streams, {len(labels)} files of labels and {len(words)} of words: "
            f"{'; '.join(', '.join(sorted(names)) or 'none' for names in (streams, labels, words))}.",
            hint="Keep one stream or more, and at most one file of labels and one of words.",
        )
    for name in read:
        how.say(f"{name}: {'labels' if name in labels else 'words' if name in words else 'a stream'}.")
    first = lambda names: read[min(names)] if names else None
    return {"all": cut(streams, how, words=first(words), labels=first(labels), where=str(folder))}


def _is_labels(name: str) -> bool:
    return any(word in name.lower() for word in ("label", "opinion"))


def cut(
    streams: Mapping[str, Csd],
    how: Reading,
    *,
    words: Csd | None = None,
    labels: Csd | None = None,
    where: str = "The sequences",
) -> Recordings:
    """Cut videos into samples, and bring the frames of each stream to the words."""
    # A sample is a segment that has a label, or a whole video where there are no labels. A word or frame belongs to the
    # segment that its middle is in; pauses are no words. With words a stream has one frame a word, as `align` makes it,
    # and is absent where none of them has a frame; without words it has its own frames. A segment with nothing in it is
    # left out.
    segments = _segments(streams, words, labels, where)
    transcripts = None if words is None else [_inside(words, segment) for segment in segments]
    ids = tuple(segment.id for segment in segments)
    targets = None
    if labels is not None and labels.videos:
        table = np.concatenate([video.features[:, 0] for video in labels.videos.values()])
        targets = scores(table, f"{where}, labels", ids, how)
    done = {
        name: _stream(sequence, segments, transcripts, f"{where}, {name}", how.say)
        for name, sequence in streams.items()
    }
    return finished(
        where,
        how.say,
        leave_out=True,
        ids=ids,
        streams={name: stream for name, (stream, _) in done.items()},
        words=None if transcripts is None else tuple(tuple(map(str, part.features[:, 0])) for part in transcripts),
        labels=targets,
        groups=tuple(segment.video for segment in segments),
        replaced={name: count for name, (_, count) in done.items() if count},
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Segment:
    id: str
    video: str
    begin: float = -np.inf
    end: float = np.inf


def _segments(streams: Mapping[str, Csd], words: Csd | None, labels: Csd | None, where: str) -> list[_Segment]:
    known = {name for stream in (*streams.values(), *filter(None, [words])) for name in stream.videos}
    if labels is None:
        return [_Segment(id=name, video=name) for name in sorted(known)]
    if lost := [name for name in labels.videos if name not in known]:
        raise DataError(f"{where}: {lost[0]!r} has labels, and is in no stream.", hint="Remove it from the labels.")
    return [
        _Segment(id=f"{name}[{number}]", video=name, begin=float(begin), end=float(end))
        for name, video in labels.videos.items()
        for number, (begin, end) in enumerate(video.intervals)
    ]


def _inside(sequence: Csd, segment: _Segment) -> Timed:
    """Give the frames whose middle lies in a segment, in the order of time, without pauses."""
    if segment.video not in sequence.videos:
        return Timed(intervals=np.empty((0, 2)), features=np.empty((0, 1), np.str_))
    video = sequence.videos[segment.video]
    middle = video.intervals.mean(axis=1)
    inside = (middle >= segment.begin) & (middle < segment.end)
    if video.features.dtype.kind == "U":
        inside &= ~np.isin(video.features[:, 0], list(_PAUSES))
    frames = np.flatnonzero(inside)
    order = frames[np.argsort(video.intervals[frames, 0], kind="stable")]
    return Timed(intervals=video.intervals[order], features=video.features[order])


def _stream(
    sequence: Csd, segments: Sequence[_Segment], transcripts: Sequence[Timed] | None, where: str, say: Say
) -> tuple[Ragged, int]:
    # The second is how many values were not finite and went into means as 0.
    size = _size(sequence, where)
    videos: dict[str, list[int]] = {}
    for sample, segment in enumerate(segments):
        videos.setdefault(segment.video, []).append(sample)
    if lacking := videos.keys() - sequence.videos.keys():
        say(f"{where} lacks {len(lacking)} of {len(videos)} videos, such as {min(lacking)!r}.")
    if transcripts is None:
        return Ragged.of([_inside(sequence, segment).features for segment in segments], size), 0
    samples = [np.empty((0, size), np.float32) for _ in segments]
    wordless = replaced = 0
    for name in videos.keys() & sequence.videos.keys():
        # All segments of a video are aligned at once.
        parts = [transcripts[sample] for sample in videos[name]]
        video, words = sequence.videos[name], np.concatenate([part.intervals for part in parts])
        found = align(video.intervals, video.features, words)
        ends = np.cumsum([len(part.intervals) for part in parts])[:-1]
        pieces = zip(np.split(found.values, ends), np.split(found.counts, ends), strict=True)
        for sample, (values, counts) in zip(videos[name], pieces, strict=True):
            samples[sample] = values if counts.any() else values[:0]
        wordless += int((found.counts == 0).sum())
        replaced += found.replaced
    if wordless:
        say(f"{where} has no frame for {wordless} words, whose values are 0.")
    return Ragged.of(samples, size), replaced


def _size(sequence: Csd, where: str) -> int:
    sizes = {video.features.shape[1]: name for name, video in sequence.videos.items()}
    if len(sizes) != 1:
        found = ", ".join(f"{size} in {name!r}" for size, name in sorted(sizes.items())) or "no video"
        raise DataError(f"{where} has frames of several sizes: {found}.", hint="Use one kind of feature.")
    return next(iter(sizes))
