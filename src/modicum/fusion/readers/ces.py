"""AVEC 2019 CES, development set: continuous emotion, and what the baseline systems predict of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from modicum.errors import DataError
from modicum.fusion.readers.tables import read_matrix
from modicum.fusion.recordings import FloatArray

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


@dataclass(frozen=True, kw_only=True, slots=True)
class CesSequence:
    """One recording at 10 frames a second."""

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
    return tuple(_read(folder, path) for path in files)


def _read(folder: Path, path: Path) -> CesSequence:
    labels = _table(path)
    predictions: list[npt.NDArray[np.float64]] = []
    for system in SYSTEMS:
        place = folder / "baseline_predictions" / f"predictions_{system}" / path.name
        table = _table(place)[: len(labels)]
        if not np.array_equal(table[:, 0], labels[:, 0]):
            raise DataError(f"{place} has other times than {path}.", hint="Fetch avec2019-ces of the catalogue anew.")
        predictions.append(table[:, 1:])
    return CesSequence(
        name=path.stem,
        language=path.stem.split("_")[1].lower(),
        labels=labels[:, 1:].astype(np.float32),
        predictions=np.stack(predictions, axis=1).astype(np.float32),
    )


def _table(path: Path) -> npt.NDArray[np.float64]:
    table = read_matrix(path, skip=1, delimiter=";", quote="'", header=True)
    if table.shape[1] != 1 + len(TARGETS):
        raise DataError(f"{path} has {table.shape[1] + 1} columns.", hint="Give name, timestamp and three values.")
    return table
