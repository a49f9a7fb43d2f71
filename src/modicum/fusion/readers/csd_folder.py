"""A folder of computational sequences as samples: segments by their labels, frames by their words."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modicum.core.safeload.limits import MAX_BYTES
from modicum.errors import DataError
from modicum.fusion.align import Aligned, align
from modicum.fusion.readers.csd import Csd, Timed, read_csd
from modicum.fusion.readers.fields import Say, finished, scores, silent
from modicum.fusion.recordings import Ragged, Recordings

_PAUSES = frozenset({"sp"})  # how the transcripts of CMU-MOSI write a short pause
_SPAN = (-3.0, 3.0)


def read_csd_folder(
    folder: Path, *, say: Say = silent, max_bytes: int = MAX_BYTES, clip: bool = False
) -> dict[str, Recordings]:
    """Read the .csd files of a folder as one set of samples."""
    # The file whose name or root holds "label" or "opinion" has the segments and their scores; one whose features are
    # text has the words; all others are streams by the names of their files.
    files = sorted(folder.glob("*.csd")) if folder.is_dir() else [folder]
    read = {file.stem: read_csd(file, max_bytes=max_bytes) for file in files}
    labels = {name for name, sequence in read.items() if _is_labels(name) or _is_labels(sequence.name)}
    words = {name for name, sequence in read.items() if sequence.is_text}
    streams = {name: sequence for name, sequence in read.items() if name not in labels | words}
    if not streams or max(len(labels), len(words)) > 1:
        raise DataError(
            f"{folder} has {len(streams)} streams, {len(labels)} files of labels and {len(words)} of words: "
            f"{'; '.join(_listed(names) for names in (streams, labels, words))}.",
            hint="Keep one stream or more, and at most one file of labels and one of words.",
        )
    for name in read:
        say(f"{name}: {'labels' if name in labels else 'words' if name in words else 'a stream'}.")
    first = lambda names: read[min(names)] if names else None
    return {"all": cut(streams, words=first(words), labels=first(labels), where=str(folder), say=say, clip=clip)}


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _is_labels(name: str) -> bool:
    return any(word in name.lower() for word in ("label", "opinion"))


def cut(
    streams: Mapping[str, Csd],
    *,
    words: Csd | None = None,
    labels: Csd | None = None,
    where: str = "The sequences",
    say: Say = silent,
    clip: bool = False,
) -> Recordings:
    """Cut videos into samples, and bring the frames of each stream to the words."""
    # A sample is a segment that has a label, or a whole video where there are no labels. A word or frame belongs to the
    # segment that its middle is in; pauses are no words. With words a stream has one frame a word, as `align` makes it,
    # and is absent where none of them has a frame; without words it has its own frames. A segment with nothing in it is
    # left out.
    segments = _segments(streams, words, labels, where)
    transcripts = None if words is None else [_inside(words, segment) for segment in segments]
    table = [video.features[:, 0] for video in labels.videos.values()] if labels is not None else []
    done = {
        name: _stream(sequence, segments, transcripts, f"{where}, {name}", say) for name, sequence in streams.items()
    }
    recordings = Recordings(
        ids=tuple(segment.id for segment in segments),
        streams={name: stream for name, (stream, _) in done.items()},
        words=None if transcripts is None else tuple(tuple(map(str, part.features[:, 0])) for part in transcripts),
        labels=scores(
            np.concatenate(table),
            _SPAN,
            f"{where}, labels",
            names=[segment.id for segment in segments],
            clip=clip,
            say=say,
        )
        if table
        else None,
        groups=tuple(segment.video for segment in segments),
        replaced={name: count for name, (_, count) in done.items() if count},
    )
    return finished(recordings, where, say, leave_out=True)


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
        _Segment(id=f"{name}[{place}]", video=name, begin=float(begin), end=float(end))
        for name, video in labels.videos.items()
        for place, (begin, end) in enumerate(video.intervals)
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
    places = np.flatnonzero(inside)
    order = places[np.argsort(video.intervals[places, 0], kind="stable")]
    return Timed(intervals=video.intervals[order], features=video.features[order])


def _stream(
    sequence: Csd, segments: Sequence[_Segment], transcripts: Sequence[Timed] | None, where: str, say: Say
) -> tuple[Ragged, int]:
    # The second is how many values were not finite and went into means as 0.
    sizes = {video.features.shape[1]: name for name, video in sequence.videos.items()}
    if len(sizes) != 1:
        found = ", ".join(f"{size} in {name!r}" for size, name in sorted(sizes.items())) or "no video"
        raise DataError(f"{where} has frames of several sizes: {found}.", hint="Use one kind of feature.")
    videos: dict[str, list[int]] = {}
    for place, segment in enumerate(segments):
        videos.setdefault(segment.video, []).append(place)
    if lacking := videos.keys() - sequence.videos.keys():
        say(f"{where} lacks {len(lacking)} of {len(videos)} videos, such as {min(lacking)!r}.")
    if transcripts is None:
        return Ragged.of([_inside(sequence, segment).features for segment in segments], min(sizes)), 0
    samples = [np.empty((0, min(sizes)), np.float32) for _ in segments]
    wordless = replaced = 0
    for name in videos.keys() & sequence.videos.keys():
        found = _align(sequence.videos[name], [transcripts[place] for place in videos[name]])
        for place, part in zip(videos[name], found, strict=True):
            samples[place] = part.values if part.counts.any() else part.values[:0]
            wordless += int((part.counts == 0).sum())
        replaced += found[0].replaced
    if wordless:
        say(f"{where} has no frame for {wordless} words, whose values are 0.")
    return Ragged.of(samples, min(sizes)), replaced


def _align(video: Timed, parts: Sequence[Timed]) -> list[Aligned]:
    """Align a video to the words of all of its segments at once."""
    aligned = align(video.intervals, video.features, np.concatenate([part.intervals for part in parts]))
    ends = np.cumsum([len(part.intervals) for part in parts])[:-1]
    pieces = zip(np.split(aligned.values, ends), np.split(aligned.counts, ends), strict=True)
    return [Aligned(values=values, counts=counts, replaced=aligned.replaced) for values, counts in pieces]
