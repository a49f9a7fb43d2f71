"""AVEC and DAIC: PHQ scores in CSV files by split, features of each participant in a file of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from modicum.core.safeload import load_npy
from modicum.core.safeload.limits import MAX_BYTES, read_bounded
from modicum.errors import DataError
from modicum.fusion.readers.fields import Say, finished, frames, silent, split_in
from modicum.fusion.readers.tables import read_columns, read_matrix
from modicum.fusion.recordings import FloatArray, Ragged, Recordings

__all__ = ["label_files", "read_avec", "read_features", "read_phq"]

_ID = ("Participant_ID", "participant_ID", "ids", "ID")
_SCORE = ("PHQ_Score", "PHQ8_Score", "PHQ_8Total", "PHQ8_score")
_SPAN = (0, 24)  # of the PHQ-8
_OPENFACE_COLUMNS = 4  # frame, timestamp, confidence, success
_NAMED_COLUMNS = 2  # name and time


def read_phq(path: Path) -> dict[str, float]:
    """Read the scores of a split.

    Args:
        path: a CSV file with the columns Participant_ID (or ids) and PHQ_Score (or PHQ8_Score).

    Returns:
        The score of each participant, as it stands: the AVEC baseline divides by 25, this does not.

    Raises:
        DataError: if a column is missing, a participant comes twice, or a score is not on the scale from 0 to 24; the
            row is named, from 1 and with that of the names.
    """
    names, cells = read_columns(path, [_ID, _SCORE])
    scores: dict[str, float] = {}
    for row, (name, cell) in enumerate(zip(names, cells, strict=True), start=2):
        try:
            score = float(cell)
        except ValueError as error:
            raise DataError(f"{path}, row {row}, has the score {cell!r}.", hint="Write a number.") from error
        if not _SPAN[0] <= score <= _SPAN[1]:
            raise DataError(
                f"{path}, row {row}: {score} is not on the scale of the PHQ-8 from {_SPAN[0]} to {_SPAN[1]}.",
                hint="Write the sum of the eight answers; one divided by 25 must be multiplied again.",
            )
        if name in scores:
            raise DataError(f"{path}, row {row}: {name!r} comes twice.", hint="Remove one of the rows.")
        scores[name] = score
    return scores


def read_features(path: Path) -> FloatArray:
    """Read the features of one participant.

    Args:
        path: an .npy file of shape (frames, size); or a CSV file: separated by semicolons, with name and time before
            the features, or by commas as OpenFace writes it, with frame, time, confidence and success before them.

    Returns:
        Shape (frames, size).

    Raises:
        DataError: if the file is of another form, or a cell is no number.
        UnsafeFileError: if an .npy file holds objects, or a file is larger than 1 GiB.
    """
    if path.suffix == ".npy":
        return frames(load_npy(path), 2, str(path))
    semicolons = b";" in read_bounded(path, max_bytes=MAX_BYTES).partition(b"\n")[0]
    delimiter, skip = (";", _NAMED_COLUMNS) if semicolons else (",", _OPENFACE_COLUMNS)
    quote = "'" if semicolons else '"'
    return frames(read_matrix(path, skip=skip, delimiter=delimiter, quote=quote, header=None), 2, str(path))


def read_avec(folder: Path, *, features: Mapping[str, str] | None = None, say: Say = silent) -> dict[str, Recordings]:
    """Read a folder of AVEC 2019 DDS, E-DAIC or DAIC-WOZ.

    Args:
        folder: with the scores in CSV files of its own or in a folder "labels", each with a split in its name
            (train_split.csv, dev_split.csv), and with the features below it.
        features: for each stream the path of a participant's file in the folder, with {id} in the place of the id and *
            for what may be anything: {"audio": "{id}_P/features/*egemaps.csv"}. None takes each folder other than
            "labels" for a stream, and in it the files that begin with an id.
        say: is told whose features are missing, and what was replaced.

    Returns:
        By split; a participant without a file lacks the stream. Labels are PHQ-8 scores from 0 to 24.

    Raises:
        DataError: if there is no folder, no scores or no streams, a participant has several files for a stream or no
            file at all, nobody of a split has a stream, frames have other sizes, or a file is broken.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder.", hint="Check the path.")
    if features is None:
        features = {
            place.name: f"{place.name}/{{id}}*"
            for place in sorted(folder.iterdir())
            if place.is_dir() and place.name != "labels"
        }
    files = label_files(folder)
    if not features or not files:
        raise DataError(
            f"{folder} has {len(files)} files of scores and {len(features)} streams.",
            hint="Put train_split.csv and the like in it, and a folder of features for each stream.",
        )
    return {split: _split(folder, features, read_phq(path), f"{folder}, {split}", say) for split, path in files.items()}


def label_files(folder: Path) -> dict[str, Path]:
    """Find the files of scores: CSV files with a split in their name.

    Args:
        folder: as for `read_avec`.

    Returns:
        By split.

    Raises:
        DataError: if two are of one split.
    """
    found: dict[str, Path] = {}
    for path in sorted([*folder.glob("*.csv"), *folder.glob("labels/*.csv")]):
        split = split_in(path.stem)
        if split in found:
            raise DataError(f"{found[split]} and {path} are both of {split}.", hint="Keep one of them there.")
        if split is not None:
            found[split] = path
    return found


def _split(folder: Path, features: Mapping[str, str], labels: Mapping[str, float], where: str, say: Say) -> Recordings:
    streams: dict[str, Ragged] = {}
    for stream, pattern in features.items():
        found = {name: _file_of(folder, pattern, name) for name in labels}
        if lost := [name for name, path in found.items() if path is None]:
            say(f"{where}: {len(lost)} of {len(found)} have no {stream}, such as {lost[0]!r}.")
        read = {name: read_features(path) for name, path in found.items() if path is not None}
        sizes = {array.shape[1] for array in read.values()}
        if not sizes:
            raise DataError(f"{where}: nobody has {pattern!r}.", hint="Mend the pattern, or leave the stream out.")
        if len(sizes) > 1:
            raise DataError(f"{where}: {stream} has frames of {sorted(sizes)} values.", hint="Use one kind of feature.")
        size = sizes.pop()
        streams[stream] = Ragged.of([read.get(name, np.empty((0, size))) for name in labels], size)
    recordings = Recordings(
        ids=tuple(labels),
        streams=streams,
        labels=np.array(list(labels.values()), dtype=np.float32),
        groups=tuple(labels),
    )
    return finished(recordings, where, say)


def _file_of(folder: Path, pattern: str, name: str) -> Path | None:
    # "300" must not find the file of 3001.
    own = re.compile(rf"(?<!\w){re.escape(name)}(?![0-9a-zA-Z])")
    found = [
        path
        for path in sorted(folder.glob(pattern.replace("{id}", name)))
        if path.suffix in {".csv", ".npy"} and own.search(str(path.relative_to(folder)))
    ]
    if len(found) > 1:
        raise DataError(
            f"{name!r} has the files {found[0]} and {found[1]} for one stream.", hint="Say which one by `features`."
        )
    return found[0] if found else None
