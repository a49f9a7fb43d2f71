"""What the comparison trains on: digits, CIFAR-10 (JPEG), or the user's own table."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from modicum.core.images import CIFAR_CLASSES, labelled_files, read_images
from modicum.core.seeding import derive, numpy_generator
from modicum.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True)
class Split:
    """Inputs and labels, split into three parts."""

    inputs: dict[str, Tensor]  # by part ("train", "validation", "test"): float32, shape (n, channels, height, width) or
    labels: dict[str, Tensor]  # by part: int64, shape (n,), from 0 to ``classes - 1``
    classes: int  # how many


def digits(seed: int) -> Split:
    """Load scikit-learn's 1,797 real digits of 8 x 8 pixels in [0, 1], split half, quarter, quarter."""
    from sklearn.datasets import load_digits

    pixels, labels = (np.asarray(part) for part in load_digits(return_X_y=True))
    return _split((pixels / 16.0).reshape(-1, 1, 8, 8), labels, seed)


def cifar10(seed: int) -> Split:
    """Load CIFAR-10 (JPEG): 45,000 training, 5,000 validation and 10,000 test images in [0, 1]."""
    # The files are a lossy re-encoding, so accuracies on them are not comparable with published ones.
    from modicum.core import catalogue

    folder = catalogue.fetch("cifar10-jpeg")
    train, test = (_images(folder / part) for part in ("train", "test"))
    order = torch.from_numpy(numpy_generator(seed, "split").permutation(len(train[1])))
    held, kept = order[:5000], order[5000:]
    return Split(
        inputs={"train": train[0][kept], "validation": train[0][held], "test": test[0]},
        labels={"train": train[1][kept], "validation": train[1][held], "test": test[1]},
        classes=len(CIFAR_CLASSES),
    )


def own_data(path: Path, seed: int) -> Split:
    """Load the user's own data, split half, quarter, quarter."""
    if path.suffix == ".csv":
        inputs, names = _read_csv(path)
    elif path.suffix == ".npz":
        inputs, names = _read_npz(path)
    else:
        raise ConfigError(f"{path} is neither a .csv nor a .npz file.", hint="See modicum compare --help for the form.")
    known, labels = np.unique(names, return_inverse=True)
    smallest = int(np.bincount(labels).min())
    if len(known) < 2 or smallest < 4:
        raise DataError(
            f"{path} has {len(known)} classes, the smallest with {smallest} rows.",
            hint="Give at least 2 classes with at least 4 rows each, so that each part of the split has some.",
        )
    return _split(inputs, labels, seed)


def _split(inputs: np.ndarray, labels: np.ndarray, seed: int) -> Split:
    from sklearn.model_selection import train_test_split

    state = derive(seed, "split") % 2**32
    train, rest = train_test_split(np.arange(len(labels)), test_size=0.5, stratify=labels, random_state=state)
    held, test = train_test_split(rest, test_size=0.5, stratify=labels[rest], random_state=state)
    rows = {"train": train, "validation": held, "test": test}
    return Split(
        inputs={part: torch.tensor(inputs[index], dtype=torch.float32) for part, index in rows.items()},
        labels={part: torch.tensor(labels[index], dtype=torch.int64) for part, index in rows.items()},
        classes=int(labels.max()) + 1,
    )


def _images(folder: Path) -> tuple[Tensor, Tensor]:
    files, labels = labelled_files(folder, CIFAR_CLASSES)
    return read_images(files).float().div_(255.0), labels


def _read_csv(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            header, *rows = list(csv.reader(stream)) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV ({error}).", hint="Save it as UTF-8 CSV.") from error
    if "label" not in header:
        raise DataError(
            f"{path} has no column called label; its header is {','.join(header)!r}.",
            hint="Give the file a header line and call the column of classes label.",
        )
    if header.count("label") > 1:
        raise DataError(f"{path} has {header.count('label')} columns called label.", hint="Keep one of them.")
    if len(header) < 2 or not rows:
        raise DataError(
            f"{path} has {len(rows)} rows and {len(header) - 1} columns other than label.",
            hint="Give at least one row and one column of numbers.",
        )
    place = header.index("label")
    inputs: list[list[float]] = []
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise DataError(
                f"{path}, line {number} has {len(row)} fields, the header has {len(header)}.", hint="Correct that line."
            )
        inputs.append(
            [_number(text, path, number, name) for text, name in zip(row, header, strict=True) if name != "label"]
        )
    return np.array(inputs), np.array([row[place] for row in rows])


def _number(text: str, path: Path, line: int, column: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(
            f"{path}, line {line}, column {column} is {text!r}, not a finite number.", hint="Correct or drop that line."
        )
    return value


def _read_npz(path: Path) -> tuple[np.ndarray, np.ndarray]:
    from modicum.core.safeload import load_npz

    arrays = load_npz(path)
    if missing := {"x", "y"} - set(arrays):
        raise DataError(f"{path} has no array {min(missing)}; it has {', '.join(arrays)}.", hint="Save x and y.")
    if arrays["x"].dtype.kind not in "biuf":
        raise DataError(f"{path} has x of dtype {arrays['x'].dtype}, not numbers.", hint="Save x as floats.")
    inputs, labels = np.asarray(arrays["x"], dtype=float), arrays["y"]
    if inputs.ndim not in (2, 4) or labels.shape != inputs.shape[:1]:
        raise DataError(
            f"{path} has x of shape {inputs.shape} and y of shape {labels.shape}.",
            hint="Give x as (n, features) or (n, channels, height, width), and y as (n,).",
        )
    if not inputs.size:
        raise DataError(f"{path} has x of shape {inputs.shape}, which is empty.", hint="Give at least one row.")
    bad = np.flatnonzero(~np.isfinite(inputs).reshape(len(inputs), -1).all(axis=1))
    if len(bad):
        raise DataError(f"{path}, row {bad[0]} of x has a number that is not finite.", hint="Correct or drop that row.")
    return inputs, labels
