"""What the readers share: splits, frames, scores, names of samples, and tables of numbers."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from modicum.core.safeload.limits import MAX_BYTES
from modicum.core.tables import read_text, split_cells
from modicum.errors import DataError
from modicum.fusion.recordings import FloatArray, Ragged, Recordings, make_finite, split_called

SENTIMENT = (-3.0, 3.0)  # of MOSI and MOSEI; SIMS goes from -1 to 1
Say: TypeAlias = Callable[[str], None]

_SEGMENT = re.compile(r"(?:\[[^\[]*\]|\$_\$.*)$")
_NUMBERED = re.compile(r"(?:\[[^\[]*\]|\$_\$.*|_(?:0|[1-9]\d*))$")  # in clip_0001 the number is no segment's


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """How a source is read."""

    say: Say = lambda _: None  # gets a sentence on what a reader found and the caller may not expect
    clip: bool = False  # whether sentiments off their scale are clipped
    max_bytes: int = MAX_BYTES


def split_in(name: str) -> str | None:
    """Find the split in a name, such as "valid" in "mosi_dev"; None if there is none."""
    return next(filter(None, map(split_called, re.split(r"[^a-z]+", name.lower()))), None)


def splits_in(content: object, where: object, say: Say) -> dict[str, object]:
    """Give what belongs to "train", "valid" and "test", in any spelling."""
    splits: dict[str, tuple[object, object]] = {}
    others: list[str] = []
    content = entries(content, (), where)
    for name, part in content.items():
        split = split_called(str(name))
        if split is None:
            others.append(repr(name))
        elif split in splits:
            hint = "Keep one of them, or give each a file of its own."
            raise DataError(f"{where} has the parts {splits[split][0]!r} and {name!r}, both of {split}.", hint=hint)
        else:
            splits[split] = name, part
    if not splits:
        hint = "Name the parts train, valid and test."
        raise DataError(f"{where} has the parts {', '.join(map(str, content))}, and none is a split.", hint=hint)
    if others:
        say(f"{where}: {', '.join(others)} {'are' if len(others) > 1 else 'is'} no split, and left out.")
    return {split: part for split, (_, part) in splits.items()}


def entries(part: object, needed: Iterable[str], where: object) -> dict[str, object]:
    """Take a part of a file for a table of named entries."""
    if not isinstance(part, dict):
        raise DataError(f"{where} is no table of arrays but a {type(part).__name__}.", hint="Check the format.")
    table = cast("dict[str, object]", part)
    if missing := [name for name in needed if name not in table]:
        found = ", ".join(map(repr, table))
        raise DataError(f"{where} has no {missing[0]!r}; it has {found}.", hint="Check the format.")
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


def scores(values: object, where: str, names: Sequence[str], how: Reading) -> FloatArray:
    """Take sentiments as float32 and hold them against their scale."""
    array, (low, high) = frames(values, None, where), SENTIMENT
    if array.ndim == 0 or array.size != len(array):
        hint = "Only files with one score for each sample are read."
        raise DataError(f"{where} has the shape {array.shape}, not (samples,) or (samples, 1).", hint=hint)
    labels = array.reshape(-1)
    wrong = np.flatnonzero(~((labels >= low) & (labels <= high)))  # NaN is wrong, too
    if not len(wrong):
        return labels
    if how.clip and np.isfinite(labels).all():
        how.say(f"{where}: {len(wrong):,} labels were not on the scale from {low} to {high}, and are clipped to it.")
        return labels.clip(low, high)
    sample = f": the sample {names[wrong[0]]!r}" if len(names) == len(labels) else ""
    raise DataError(
        f"{where}, row {wrong[0]}, is {labels[wrong[0]]}, which is not on the scale from {low} to {high}{sample}.",
        hint="Clip finite labels with --clip-labels (clip_labels=True), or remove the sample.",
    )


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


def finished(
    where: object, say: Say, *, streams: Mapping[str, Ragged], leave_out: bool = False, **parts: Any
) -> Recordings:
    """Make recordings of finite values, and refuse a sample of nothing, or leave it out."""
    replaced: dict[str, int] = dict(parts.pop("replaced", {}))
    clean: dict[str, Ragged] = {}
    for name, stream in streams.items():
        clean[name], count = make_finite(stream)
        if count:
            replaced[name] = replaced.get(name, 0) + count
    for name, count in replaced.items():
        say(f"{where}: {count:,} values of {name} are not finite, and 0 now.")
    recordings = Recordings(streams=clean, replaced=replaced, **parts)
    counts = np.zeros(len(recordings), dtype=np.int64)
    for stream in clean.values():
        counts += stream.lengths
    counts += [len(words) for words in recordings.words] if recordings.words is not None else 0
    empty = np.flatnonzero(counts == 0)
    if not len(empty):
        return recordings
    first = recordings.ids[empty[0]]
    if not leave_out:
        raise DataError(
            f"{where}: the sample {first!r} (row {empty[0]}) has no word, and no frame with a finite value other than "
            "0.",
            hint="Remove it from the file.",
        )
    say(f"{where}: {len(empty)} samples have no word and no frame, and are left out: {first!r} first.")
    return recordings.take(np.flatnonzero(counts))


def read_matrix(
    path: Path,
    *,
    skip: int | Callable[[Sequence[str]], int] = 0,
    delimiter: str = ",",
    quote: str = '"',
    header: bool | None = False,
    text: str | None = None,
) -> npt.NDArray[np.float64]:
    """Read a table of numbers, whatever its line ends are; "nan" and "inf" are read as such."""
    # ``skip`` counts the columns on the left that are no features, such as names and times, or counts them in the cells
    # of the first row. ``header`` says whether that row has names; None looks whether its last cell is a number.
    # ``text`` is that of the file, where it was read before.
    text = read_text(path) if text is None else text
    rows = split_cells(first_line(text), str(path), separator=delimiter, quote=quote)
    first = [cell.strip() for cell in rows[0][1]] if rows else []
    left = skip if isinstance(skip, int) else skip(first) if first else 1
    if len(first) <= left:
        raise DataError(f"{path} has {len(first)} columns, and {left} of them are no features.", hint="Check the file.")
    named = not is_number(first[-1]) if header is None else header
    lines = io.StringIO(text, newline=None)
    try:
        return np.loadtxt(
            lines, delimiter=delimiter, quotechar=quote, skiprows=int(named), usecols=range(left, len(first)), ndmin=2
        )
    except ValueError as error:
        hint = "Correct the row, or remove it; a decimal sign is a point."
        raise DataError(f"{path} is no numeric table ({error}).", hint=hint) from error


def first_line(text: str) -> str:
    """Give the first line of a text, whatever its line ends are."""
    return io.StringIO(text, newline=None).readline().rstrip("\n")


def is_number(cell: str) -> bool:
    """Tell whether a cell is a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True
