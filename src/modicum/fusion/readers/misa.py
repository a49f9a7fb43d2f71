"""The pickles of MISA and MAG-BERT: lists of utterances with one frame of each stream a word."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np

from modicum.core.safeload.limits import MAX_BYTES
from modicum.errors import DataError
from modicum.fusion.readers.fields import (
    PICKLES,
    Say,
    finished,
    frames,
    group_of,
    load,
    names_of,
    scores,
    silent,
    split_in,
    splits_in,
    text_of,
)
from modicum.fusion.recordings import FloatArray, Ragged, Recordings

# Words, label, segment, and the frames of each stream.
Utterance: TypeAlias = tuple[tuple[str, ...] | None, float, str, Mapping[str, FloatArray]]

_SPAN = (-3.0, 3.0)


def read_misa(path: Path, *, say: Say = silent, max_bytes: int = MAX_BYTES) -> dict[str, Recordings]:
    """Read pickles of MISA or MAG-BERT."""
    return read_lists(path, lambda content, file: parse_misa(content, file, say=say), max_bytes=max_bytes)


def read_lists(
    path: Path, parse: Callable[[object, Path], dict[str, Recordings]], *, max_bytes: int
) -> dict[str, Recordings]:
    """Read a pickle, or each of those in a folder."""
    files = sorted(file for file in path.iterdir() if file.suffix in PICKLES) if path.is_dir() else [path]
    splits: dict[str, Recordings] = {}
    for file in files:
        found = parse(load(file, max_bytes=max_bytes), file)
        if twice := splits.keys() & found.keys():
            raise DataError(f"{file} is one more file of {min(twice)!r} in its folder.", hint="Name one of them.")
        splits |= found
    if not splits:
        raise DataError(f"{path} has no file whose name ends in .pkl.", hint="Name the file, or its folder.")
    return splits


def parse_misa(content: object, path: Path, *, say: Say = silent, clip: bool = False) -> dict[str, Recordings]:
    """Do what `read_misa` does with a pickle that is loaded."""
    lists = (
        splits_in(cast("dict[str, object]", content), path, say)
        if isinstance(content, dict)
        else {_split(path): content}
    )
    return {name: from_utterances(part, _utterance, f"{path}, {name}", say, clip=clip) for name, part in lists.items()}


def _split(path: Path) -> str:
    return split_in(path.stem) or "all"


def from_utterances(
    part: object, parse: Callable[[Any, str], Utterance], where: str, say: Say, *, clip: bool = False
) -> Recordings:
    """Join utterances."""
    if not isinstance(part, list) or not part:
        raise DataError(f"{where} is no list of utterances.", hint="Check the format.")
    rows: list[Utterance] = []
    for place, item in enumerate(cast("list[object]", part)):
        try:
            rows.append(parse(item, f"{where}, row {place}"))
        except DataError:
            raise
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{where}, row {place}, is no utterance of this format ({error}).", hint="Check the format."
            ) from error
    words = tuple(row[0] for row in rows if row[0] is not None)
    ids = tuple(row[2] for row in rows)
    recordings = Recordings(
        ids=ids,
        streams={name: _join([row[3][name] for row in rows], name, where) for name in rows[0][3]},
        words=words if len(words) == len(rows) else None,
        labels=scores([row[1] for row in rows], _SPAN, f"{where}, label", names=ids, clip=clip, say=say),
        groups=tuple(group_of(name, numbered=True) for name in ids),
    )
    return finished(recordings, where, say)


def _join(samples: Sequence[FloatArray], name: str, where: str) -> Ragged:
    size = samples[0].shape[1]
    if other := [place for place, sample in enumerate(samples) if sample.shape[1] != size]:
        raise DataError(
            f"{where}, row {other[0]}: {name} has {samples[other[0]].shape[1]} values a frame, and {size} in row 0.",
            hint="Use the same features for all utterances.",
        )
    return Ragged.of(samples, size)


def words_of(values: object) -> tuple[str, ...]:
    """Take words that are text or bytes."""
    items = np.ravel(cast("Any", values)).tolist()
    return tuple(map(text_of, items))


def _utterance(item: Any, where: str) -> Utterance:
    (numbers, video, audio, *actual), label, segment = item
    streams = {"audio": frames(audio, 2, f"{where}, audio"), "video": frames(video, 2, f"{where}, video")}
    told = actual[0] if actual else numbers
    has_text = len(told) > 0 and isinstance(np.ravel(told)[0], str | bytes)
    for name, stream in streams.items():
        if len(stream) != len(numbers):
            raise DataError(
                f"{where}: {name} has {len(stream)} frames for {len(numbers)} words.", hint="Give one frame a word."
            )
    return words_of(told) if has_text else None, float(np.ravel(label)[0]), names_of([segment], where)[0], streams
