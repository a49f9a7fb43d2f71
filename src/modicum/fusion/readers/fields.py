"""What the readers check alike: splits, frames, scores and names of samples."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np

from modicum.core.safeload import load_pickle
from modicum.errors import DataError
from modicum.fusion.finite import make_finite
from modicum.fusion.recordings import FloatArray, Recordings
from modicum.fusion.roles import split_called

PICKLES = (".pkl", ".pickle")

Say: TypeAlias = Callable[[str], None]  # is told in a sentence what a reader found and the caller may not expect

_SEGMENT = re.compile(r"(?:\[[^\[]*\]|\$_\$.*)$")
_NUMBERED = re.compile(r"(?:\[[^\[]*\]|\$_\$.*|_(?:0|[1-9]\d*))$")  # in clip_0001 the number is no segment's


def silent(_note: str) -> None:
    """Take a note and keep it to oneself."""


def load(path: Path, *, max_bytes: int) -> object:
    """Read a pickle of any age; in those of Python 2, texts and arrays are Latin-1."""
    return load_pickle(path, encoding="latin1", max_bytes=max_bytes)


def split_in(name: str) -> str | None:
    """Find the split in a name, such as "valid" in "mosi_dev"; None if there is none."""
    found = filter(None, map(split_called, re.split(r"[^a-z]+", name.lower())))
    return next(found, None)


def splits_in(content: Mapping[str, object], where: object, say: Say) -> dict[str, object]:
    """Give what belongs to "train", "valid" and "test", in any spelling; ``say`` is told which parts are left out."""
    splits: dict[str, tuple[object, object]] = {}
    others: list[str] = []
    for name, part in content.items():
        split = split_called(str(name))
        if split is None:
            others.append(repr(name))
        elif split in splits:
            raise DataError(
                f"{where} has the parts {splits[split][0]!r} and {name!r}, both of {split}.",
                hint="Keep one of them, or give each a file of its own.",
            )
        else:
            splits[split] = name, part
    if not splits:
        raise DataError(
            f"{where} has the parts {', '.join(map(str, content))}, and none is a split.",
            hint="Name the parts train, valid and test.",
        )
    if others:
        say(f"{where}: {', '.join(others)} {'are' if len(others) > 1 else 'is'} no split, and left out.")
    return {split: part for split, (_, part) in splits.items()}


def entries(part: object, needed: Iterable[str], where: object) -> dict[str, object]:
    """Take a part of a file for a table of named entries."""
    if not isinstance(part, dict):
        raise DataError(f"{where} is no table of arrays but a {type(part).__name__}.", hint="Check the format.")
    table = cast("dict[str, object]", part)
    if missing := [name for name in needed if name not in table]:
        raise DataError(
            f"{where} has no {missing[0]!r}; it has {', '.join(map(repr, table))}.", hint="Check the format."
        )
    return table


def frames(values: object, axes: int | None, where: str) -> FloatArray:
    """Take features as float32."""
    try:
        with np.errstate(over="ignore"):
            array = np.asarray(values).astype(np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where} holds no numeric array ({error}).", hint="Check the format.") from error
    if axes is not None and array.ndim != axes:
        raise DataError(f"{where} has the shape {array.shape}, not {axes} axes.", hint="Check the format.")
    if axes is not None and array.shape[-1] == 0:
        raise DataError(f"{where} has frames of no value: its shape is {array.shape}.", hint="Leave the stream out.")
    return array


def scores(
    values: object,
    span: tuple[float, float],
    where: str,
    *,
    names: Sequence[str] = (),
    clip: bool = False,
    say: Say = silent,
) -> FloatArray:
    """Take labels as float32 and hold them against their scale."""
    array = frames(values, None, where)
    if array.ndim == 0 or array.size != len(array):
        raise DataError(
            f"{where} has the shape {array.shape}, not (samples,) or (samples, 1).",
            hint="Only files with one score for each sample are read.",
        )
    labels = array.reshape(-1)
    wrong = np.flatnonzero(~((labels >= span[0]) & (labels <= span[1])))
    if clip and len(wrong) and np.isfinite(labels).all():
        say(f"{where}: {len(wrong):,} labels were not on the scale from {span[0]} to {span[1]}, and are clipped to it.")
        return labels.clip(*span)
    if len(wrong):
        sample = f": the sample {names[wrong[0]]!r}" if len(names) == len(labels) else ""
        raise DataError(
            f"{where}, row {wrong[0]}, is {labels[wrong[0]]}, which is not on the scale from {span[0]} to {span[1]}"
            f"{sample}.",
            hint="Clip finite labels with --clip-labels (clip_labels=True), or remove the sample.",
        )
    return labels


def rows_of(values: object, where: str) -> Sequence[Any]:
    """Take a part of a file for a list or an array with one item for each sample."""
    if isinstance(values, list | tuple) or (isinstance(values, np.ndarray) and values.ndim > 0):
        return cast("Sequence[Any]", values)
    raise DataError(f"{where} is no list but a {type(values).__name__}.", hint="Check the format.")


def text_of(value: object) -> str:
    """Write what may be text or bytes as text."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def names_of(values: object, where: str) -> tuple[str, ...]:
    """Write the names of segments as text: as they are, so that predictions can be joined to their file."""
    parts = [np.ravel(np.asarray(value, dtype=object)).tolist() for value in rows_of(values, where)]
    if not all(parts):
        raise DataError(f"{where}, row {parts.index([])}, is empty.", hint="Give each sample a name.")
    return tuple("_".join(map(text_of, name)) for name in parts)


def group_of(name: str, *, numbered: bool = False) -> str:
    """Give the video of a segment: that of "video[3]", "video$_$3" and, if ``numbered``, of "video_3" is "video"."""
    return (_NUMBERED if numbered else _SEGMENT).sub("", name)


def finished(recordings: Recordings, where: object, say: Say, *, leave_out: bool = False) -> Recordings:
    """Make all values finite, and refuse a sample of nothing."""
    clean = make_finite(recordings)
    for name, count in clean.replaced.items():
        say(f"{where}: {count:,} values of {name} are not finite, and 0 now.")
    frames_of = np.sum([stream.lengths for stream in clean.streams.values()], axis=0, dtype=np.int64)
    words_of = [len(words) for words in clean.words] if clean.words is not None else 0
    empty = np.flatnonzero(np.broadcast_to(frames_of + np.asarray(words_of), len(clean)) == 0)
    if len(empty) and leave_out:
        say(
            f"{where}: {len(empty)} samples have no word and no frame, and are left out: {clean.ids[empty[0]]!r} first."
        )
        return clean.take(np.setdiff1d(np.arange(len(clean)), empty))
    if len(empty):
        raise DataError(
            f"{where}: the sample {clean.ids[empty[0]]!r} (row {empty[0]}) has no word, and no frame with a finite "
            f"value other than 0.",
            hint="Remove it from the file.",
        )
    return clean
