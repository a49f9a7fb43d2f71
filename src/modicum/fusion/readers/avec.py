"""AVEC and DAIC: PHQ scores in CSV files by split, features of each participant in a file of their own."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from modicum.core.safeload import load_npy
from modicum.core.tables import parse_header, read_records, read_text
from modicum.errors import DataError
from modicum.fusion.readers.common import Reading, Say, finished, first_line, frames, is_number, read_matrix, split_in
from modicum.fusion.recordings import FloatArray, Ragged, Recordings

_ID = ("Participant_ID", "participant_ID", "ids", "ID")
_SCORE = ("PHQ_Score", "PHQ8_Score", "PHQ_8Total", "PHQ8_score")
_SPAN = (0, 24)  # of the PHQ-8
# Columns on the left that are no features, by the names that OpenFace, openSMILE and pandas give them.
_NO_FEATURES = {"", "name", "frame", "face_id", "frametime", "time", "timestamp", "confidence", "success"}
# The folder of each participant as DAIC-WOZ is downloaded; its CLNF_hog.txt is no text.
_DAIC = ("COVAREP.csv", "FORMANT.csv", *(f"CLNF_{it}.txt" for it in ("AUs", "features", "features3D", "gaze", "pose")))


def read_phq(path: Path) -> dict[str, float]:
    """Read the scores of a split."""
    columns, records = read_records(path)
    id_column, score_column = (_column(path, columns, choice) for choice in (_ID, _SCORE))
    scores: dict[str, float] = {}
    for record in records:
        name, cell = (record.cells[column].strip() for column in (id_column, score_column))
        try:
            score = float(cell)
        except ValueError as error:
            raise DataError(f"{path}, row {record.line}, has the score {cell!r}.", hint="Write a number.") from error
        if not _SPAN[0] <= score <= _SPAN[1]:
            raise DataError(
                f"{path}, row {record.line}: {score} is not on the scale of the PHQ-8 from {_SPAN[0]} to {_SPAN[1]}.",
                hint="Write the sum of the eight answers; one divided by 25 must be multiplied again.",
            )
        if name in scores:
            raise DataError(f"{path}, row {record.line}: {name!r} comes twice.", hint="Remove one of the rows.")
        scores[name] = score
    return scores


def _column(path: Path, columns: Sequence[str], choice: Sequence[str]) -> str:
    if found := [name for name in choice if name in columns]:
        return found[0]
    lost, there = " or ".join(map(repr, choice)), ", ".join(map(repr, columns))
    raise DataError(f"{path} has no column {lost}; it has {there}.", hint="Rename the column.")


def read_features(path: Path) -> FloatArray:
    """Read the features of one participant."""
    # Columns on the left whose names in the first row are frame, timestamp, confidence, success, name, time or the like
    # are no features and left out; without a row of names all columns are features. A first column of texts and the
    # times behind it, as openSMILE and openXBOW write them, are none either.
    if path.suffix == ".npy":
        return frames(load_npy(path), 2, str(path))
    text = read_text(path)
    line = first_line(text)
    delimiter, quote = (";", "'") if ";" in line else (",", '"')
    unnamed = 2 if line.startswith(quote) else 0  # '300';0.01;...

    def skip(first: Sequence[str]) -> int:
        if is_number(first[-1]):  # no row of names
            return unnamed
        return next((index for index, name in enumerate(first) if name.lower() not in _NO_FEATURES), len(first))

    return frames(read_matrix(path, skip=skip, delimiter=delimiter, quote=quote, header=None, text=text), 2, str(path))


def read_avec(folder: Path, how: Reading) -> dict[str, Recordings]:
    """Read a folder of AVEC 2019 DDS, E-DAIC or DAIC-WOZ."""
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder.", hint="Check the path.")
    features, files = _features_in(folder), label_files(folder, how.say)
    if not features or not files:
        hint = "Put train_split.csv and the like in it, and a folder of features for each stream."
        raise DataError(f"{folder} has {len(files)} files of scores and {len(features)} streams.", hint=hint)
    return {split: _split(folder, features, path, f"{folder}, {split}", how.say) for split, path in files.items()}


def _features_in(folder: Path) -> dict[str, str]:
    # The pattern of the files of each stream.
    folders = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name != "labels")
    people = [name for name in folders if re.fullmatch(r"\d+_P", name)]
    if not people:
        return {name: f"{name}/{{id}}*" for name in folders}
    there = [file for file in _DAIC if any((folder / name / f"{name[:-2]}_{file}").is_file() for name in people)]
    return {Path(file).stem.lower(): f"{{id}}_P/{{id}}_{file}" for file in there}


def label_files(folder: Path, say: Say) -> dict[str, Path]:
    """Find the files of scores, by split: CSV files with a split in their name."""
    # Of two files for one split, the one that has scores is taken and the other is said to be left out.
    found: dict[str, list[Path]] = {}
    for path in sorted([*folder.glob("*.csv"), *folder.glob("labels/*.csv")]):
        if (split := split_in(path.stem)) is not None:
            found.setdefault(split, []).append(path)
    return {split: _chosen(split, paths, say) for split, paths in found.items()}


def _chosen(split: str, paths: Sequence[Path], say: Say) -> Path:
    if len(paths) == 1:
        return paths[0]
    scored = [path for path in paths if _has_scores(path)]
    if len(scored) != 1:
        first, second = (scored or paths)[:2]
        raise DataError(f"{first} and {second} are both of {split}.", hint="Keep one of them there.")
    for path in paths:
        if path != scored[0]:
            say(f"{path} is left out: it has no scores, and {scored[0]} has those of {split}.")
    return scored[0]


def _has_scores(path: Path) -> bool:
    return not set(_SCORE).isdisjoint(parse_header(read_text(path)))


def _split(folder: Path, features: Mapping[str, str], path: Path, where: str, say: Say) -> Recordings:
    scored = split_in(path.stem) != "test" or _has_scores(path)  # challenges keep those of the test split
    if scored:
        labels: Mapping[str, float | None] = read_phq(path)
    else:
        say(f"{path} has no scores: its participants have no labels.")
        columns, records = read_records(path)
        labels = dict.fromkeys(record.cells[_column(path, columns, _ID)].strip() for record in records)
    return finished(
        where,
        say,
        ids=tuple(labels),
        streams={name: _stream(folder, name, pattern, labels, where, say) for name, pattern in features.items()},
        labels=np.array(list(labels.values()), dtype=np.float32) if scored else None,
        groups=tuple(labels),
    )


def _stream(folder: Path, stream: str, pattern: str, people: Collection[str], where: str, say: Say) -> Ragged:
    found = {name: _file_of(folder, pattern, name) for name in people}
    if lost := [name for name, path in found.items() if path is None]:
        say(f"{where}: {len(lost)} of {len(found)} have no {stream}, such as {lost[0]!r}.")
    read = {name: read_features(path) for name, path in found.items() if path is not None}
    sizes = {array.shape[1] for array in read.values()}
    if not sizes:
        raise DataError(f"{where}: nobody has {pattern!r}.", hint="Add the files, or remove the folder.")
    if len(sizes) > 1:
        raise DataError(f"{where}: {stream} has frames of {sorted(sizes)} values.", hint="Use one kind of feature.")
    (size,) = sizes
    return Ragged.of([read.get(name, np.empty((0, size))) for name in people], size)


def _file_of(folder: Path, pattern: str, name: str) -> Path | None:
    # "300" must not find the file of 3001.
    own = re.compile(rf"(?<!\w){re.escape(name)}(?![0-9a-zA-Z])")
    found = [
        path
        for path in sorted(folder.glob(pattern.replace("{id}", name)))
        if path.suffix in {".csv", ".npy", ".txt"} and own.search(str(path.relative_to(folder)))
    ]
    if len(found) > 1:
        hint = "Keep one of them, or put each kind of feature in a folder of its own."
        raise DataError(f"{name!r} has the files {found[0]} and {found[1]} for one stream.", hint=hint)
    return found[0] if found else None
