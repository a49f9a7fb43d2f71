"""The data sets of the catalogue: CMU-MOSI's features, AVEC 2019's continuous emotion, and BasicMotions of sktime."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from modicum.core.extras import require
from modicum.core.tables import read_cells
from modicum.errors import DataError
from modicum.fusion.readers.common import Reading, finished, frames, group_of, read_matrix
from modicum.fusion.recordings import FloatArray, IntArray, Ragged, Recordings

_MOSI_STREAMS = ("text", "audio", "video")
_MOSI_CLASSES = ("negative", "positive")
_MOTIONS = {"accelerometer": slice(0, 3), "gyroscope": slice(3, 6)}

TARGETS = ("arousal", "valence", "liking")
# The last is a fusion of the others that was trained on the labels of this very set.
SYSTEMS = (
    "deepspectrum",
    "egemaps-func_STD",
    "egemaps-xbow",
    "mfcc-func_STD",
    "mfcc-xbow",
    "visual-func",
    "visual-resnet",
    "visual-vgg",
    "visual-xbow",
    "svr",
)


def read_mosi(folder: Path, how: Reading | None = None) -> dict[str, Recordings]:
    """Read CMU-MOSI's utterances, each with one frame of text (100 values), audio (73) and video (100)."""
    # They are those of the bc-LSTM repository. The text features were trained on the labels of the training utterances:
    # what they say of those is no test.
    transcripts = [cells for _, cells in read_cells(folder / "transcripts.csv", separator=",")]
    for row, cells in enumerate(transcripts):
        if len(cells) != 4 or cells[3] not in {"0", "1"}:
            raise DataError(
                f"transcripts.csv of {folder}, row {row}, is {cells}, not (id, text, number, 0 or 1).",
                hint="Fetch mosi-features of the catalogue.",
            )
    return {split: _mosi(folder, split, transcripts, how or Reading()) for split in ("train", "test")}


def _mosi(folder: Path, split: str, transcripts: list[list[str]], how: Reading) -> Recordings:
    tables = {name: read_matrix(folder / name / f"{name}_{split}0.csv") for name in _MOSI_STREAMS}
    rows = read_matrix(folder / f"text_{split}.csv")[:, 0].astype(np.int64)
    if rows.min() < 0 or rows.max() >= len(transcripts):
        raise DataError(
            f"text_{split}.csv of {folder} has rows up to {rows.max()} of {len(transcripts)} transcripts.",
            hint="Fetch mosi-features of the catalogue.",
        )
    labels = np.array([int(transcripts[row][3]) for row in rows], dtype=np.int64)
    for name, table in tables.items():
        _check_labels(f"{folder}, {name}, {split}", table[:, -1].astype(np.int64), labels)
    order, one = np.argsort(rows), np.ones(len(rows), dtype=np.int64)
    ids = tuple(transcripts[row][0] for row in rows[order])
    return finished(
        f"{folder}, {split}",
        how.say,
        ids=ids,
        streams={
            name: Ragged(values=frames(table[order, :-1], 2, name), lengths=one) for name, table in tables.items()
        },
        words=tuple(tuple(transcripts[row][1].split()) for row in rows[order]),
        labels=labels[order],
        classes=_MOSI_CLASSES,
        groups=tuple(group_of(name, numbered=True) for name in ids),
    )


def _check_labels(where: str, labels: IntArray, expected: IntArray) -> None:
    hint = "Fetch mosi-features of the catalogue anew."
    if len(labels) != len(expected):
        raise DataError(f"{where}, has {len(labels)} rows for {len(expected)} utterances.", hint=hint)
    if (labels != expected).any():
        row = int(np.flatnonzero(labels != expected)[0])
        raise DataError(
            f"{where}, row {row}, has the label {labels[row]}, and its transcript {expected[row]}.", hint=hint
        )


def windows(recordings: Recordings, before: int, after: int) -> Recordings:
    """Give each utterance its neighbours of the same video as frames."""
    # The frames are in time order, and the utterance itself is always frame number ``before``: a mixer over time has
    # weights of its own for each place. Where the video begins or ends, the neighbours that are missing are zeros. So
    # they are where a neighbour lacks a stream.
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
    for sample in sorted(range(len(numbers)), key=lambda sample: int(numbers[sample])):
        videos.setdefault(recordings.groups[sample], []).append(sample)
    found = np.full((len(numbers), before + 1 + after), -1, dtype=np.int64)
    for samples in videos.values():
        padded = np.array([-1] * before + samples + [-1] * after, dtype=np.int64)
        found[samples] = np.lib.stride_tricks.sliding_window_view(padded, before + 1 + after)
    return found


def _window(stream: Ragged, neighbours: IntArray, name: str) -> Ragged:
    if stream.lengths.max(initial=0) > 1:
        raise DataError(f"An utterance has several frames of {name}.", hint="Give one frame an utterance.")
    single: FloatArray = np.zeros((len(stream) + 1, stream.size), dtype=np.float32)  # the last is nobody's
    single[np.flatnonzero(stream.lengths)] = stream.values
    values = single[neighbours].reshape(-1, stream.size)
    return Ragged(values=values, lengths=np.full(len(stream), neighbours.shape[1]))


@dataclass(frozen=True, kw_only=True, slots=True)
class CesSequence:
    """One recording of AVEC 2019 CES, development set, at 10 frames a second."""

    name: str  # "Devel_DE_01"
    language: str  # "de" or "hu"
    labels: FloatArray  # shape (frames, 3), in the order of `TARGETS`
    predictions: FloatArray  # shape (frames, 10, 3), in the order of `SYSTEMS` and `TARGETS`


def read_ces(folder: Path) -> tuple[CesSequence, ...]:
    """Read the labels of the development set and the predictions of ten baseline systems."""
    # Predictions go on after the labels end, and are cut to them.
    files = sorted((folder / "labels_devel").glob("Devel_*.csv"))
    if not files:
        raise DataError(f"{folder} has no file labels_devel/Devel_*.csv.", hint="Fetch avec2019-ces of the catalogue.")
    return tuple(_ces(folder, path) for path in files)


def _ces(folder: Path, path: Path) -> CesSequence:
    labels = _ces_table(path)
    predictions: list[npt.NDArray[np.float64]] = []
    for system in SYSTEMS:
        file = folder / "baseline_predictions" / f"predictions_{system}" / path.name
        table = _ces_table(file)[: len(labels)]
        if not np.array_equal(table[:, 0], labels[:, 0]):
            raise DataError(f"{file} has other times than {path}.", hint="Fetch avec2019-ces of the catalogue anew.")
        predictions.append(table[:, 1:])
    return CesSequence(
        name=path.stem,
        language=path.stem.split("_")[1].lower(),
        labels=labels[:, 1:].astype(np.float32),
        predictions=np.stack(predictions, axis=1).astype(np.float32),
    )


def _ces_table(path: Path) -> npt.NDArray[np.float64]:
    table = read_matrix(path, skip=1, delimiter=";", quote="'", header=True)
    if table.shape[1] != 1 + len(TARGETS):
        raise DataError(f"{path} has {table.shape[1] + 1} columns.", hint="Give name, timestamp and three values.")
    return table


def read_motions() -> dict[str, Recordings]:
    """Read BasicMotions (UEA archive) out of the wheel of sktime: a watch's accelerometer and gyroscope."""
    datasets: Any = require("sktime.datasets", extra="fusion", purpose="BasicMotions")
    loaded = {split: datasets.load_basic_motions(split, return_type="numpy3d") for split in ("train", "test")}
    classes = tuple(sorted({str(name) for _, names in loaded.values() for name in names}))
    splits: dict[str, Recordings] = {}
    for split, (series, names) in loaded.items():
        values = np.moveaxis(series, 1, 2).astype(np.float32)
        splits[split] = Recordings(
            ids=tuple(f"{split}[{row}]" for row in range(len(names))),
            streams={name: Ragged.of(list(values[:, :, axes]), 3) for name, axes in _MOTIONS.items()},
            labels=np.array([classes.index(str(name)) for name in names], dtype=np.int64),
            classes=classes,
        )
    return splits
