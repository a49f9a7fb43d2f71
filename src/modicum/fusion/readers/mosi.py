"""CMU-MOSI, the features of each utterance that the bc-LSTM repository carries."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from modicum.core.tables import read_cells
from modicum.errors import ConfigError, DataError
from modicum.fusion.readers.fields import finished, frames, group_of, silent
from modicum.fusion.readers.tables import read_matrix
from modicum.fusion.recordings import FloatArray, IntArray, Ragged, Recordings

_STREAMS = ("text", "audio", "video")
_CLASSES = ("negative", "positive")


def read_mosi(folder: Path) -> dict[str, Recordings]:
    """Read utterances with one frame of text (100 values), audio (73) and video (100) each."""
    # The text features were trained on the labels of the training utterances: what they say of those is no test.
    transcripts = [cells for _, cells in read_cells(folder / "transcripts.csv", separator=",")]
    for row, cells in enumerate(transcripts):
        if len(cells) != 4 or cells[3] not in {"0", "1"}:
            raise DataError(
                f"transcripts.csv of {folder}, row {row}, is {cells}, not (id, text, number, 0 or 1).",
                hint="Fetch mosi-features of the catalogue.",
            )
    return {split: _split(folder, split, transcripts) for split in ("train", "test")}


def _split(folder: Path, split: str, transcripts: list[list[str]]) -> Recordings:
    tables = {name: read_matrix(folder / name / f"{name}_{split}0.csv") for name in _STREAMS}
    rows = read_matrix(folder / f"text_{split}.csv")[:, 0].astype(np.int64)
    if rows.min() < 0 or rows.max() >= len(transcripts):
        raise DataError(
            f"text_{split}.csv of {folder} has rows up to {rows.max()} of {len(transcripts)} transcripts.",
            hint="Fetch mosi-features of the catalogue.",
        )
    labels = np.array([int(transcripts[row][3]) for row in rows], dtype=np.int64)
    for name, table in tables.items():
        _check(f"{folder}, {name}, {split}", table[:, -1].astype(np.int64), labels)
    ids = tuple(transcripts[row][0] for row in rows)
    one = np.ones(len(rows), dtype=np.int64)
    recordings = Recordings(
        ids=ids,
        streams={name: Ragged(values=frames(table[:, :-1], 2, name), lengths=one) for name, table in tables.items()},
        words=tuple(tuple(transcripts[row][1].split()) for row in rows),
        labels=labels,
        classes=_CLASSES,
        groups=tuple(group_of(name, numbered=True) for name in ids),
    )
    return finished(recordings.take(np.argsort(rows)), f"{folder}, {split}", silent)


def _check(where: str, labels: IntArray, expected: IntArray) -> None:
    if len(labels) != len(expected):
        raise DataError(
            f"{where}, has {len(labels)} rows for {len(expected)} utterances.", hint="Fetch mosi-features anew."
        )
    if (labels != expected).any():
        row = int(np.flatnonzero(labels != expected)[0])
        raise DataError(
            f"{where}, row {row}, has the label {labels[row]}, and its transcript {expected[row]}.",
            hint="Fetch mosi-features of the catalogue anew.",
        )


def windows(recordings: Recordings, before: int, after: int) -> Recordings:
    """Give each utterance its neighbours of the same video as frames."""
    # The frames are in time order, and the utterance itself is always frame number ``before``: a mixer over time has
    # weights of its own for each place. Where the video begins or ends, the neighbours that are missing are zeros. So
    # they are where a neighbour lacks a stream.
    if min(before, after) < 0:
        raise ConfigError(f"{before} before and {after} after cannot be.", hint="Give values from 0 on.")
    if not recordings.groups:
        raise DataError("The recordings have no groups.", hint="Give the video of each utterance as its group.")
    neighbours = _neighbours(recordings, before, after)
    streams = {name: _window(stream, neighbours, name) for name, stream in recordings.streams.items()}
    return dataclasses.replace(recordings, streams=streams)


def _neighbours(recordings: Recordings, before: int, after: int) -> IntArray:
    # Shape (samples, before + 1 + after), with -1 where there is none.
    numbers = [name.rpartition("_")[2] for name in recordings.ids]
    if wrong := [name for name, number in zip(recordings.ids, numbers, strict=True) if not number.isdigit()]:
        raise DataError(f"The utterance {wrong[0]!r} has no number.", hint='Name utterances "video_number".')
    videos: dict[str, list[int]] = {}
    for place in sorted(range(len(numbers)), key=lambda place: int(numbers[place])):
        videos.setdefault(recordings.groups[place], []).append(place)
    found = np.full((len(numbers), before + 1 + after), -1, dtype=np.int64)
    for places in videos.values():
        padded = np.array([-1] * before + places + [-1] * after, dtype=np.int64)
        found[places] = np.lib.stride_tricks.sliding_window_view(padded, before + 1 + after)
    return found


def _window(stream: Ragged, neighbours: IntArray, name: str) -> Ragged:
    if stream.lengths.max(initial=0) > 1:
        raise DataError(f"An utterance has several frames of {name}.", hint="Give one frame an utterance.")
    single: FloatArray = np.zeros((len(stream) + 1, stream.size), dtype=np.float32)  # the last is nobody's
    single[np.flatnonzero(stream.lengths)] = stream.values
    frames = single[neighbours]
    return Ragged(values=frames.reshape(-1, stream.size), lengths=np.full(len(stream), neighbours.shape[1]))
