# pyright: reportUnknownVariableType=false, reportMissingTypeStubs=false
"""Small real images for demos, and how they are split: scikit-learn's digits, and CIFAR-10 (JPEG)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modicum.core import catalogue
from modicum.core.extras import require
from modicum.core.splits import hold_out, shuffled
from modicum.errors import DataError

CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True, slots=True)
class Split:
    """Inputs and labels by part: "train", "validation" and "test"."""

    inputs: dict[str, Tensor]  # float32, shape (n, channels, height, width) or (n, features)
    labels: dict[str, Tensor]  # int64, shape (n,), from 0 to ``classes - 1``
    classes: int
    rows: Mapping[str, Any] = field(default_factory=dict[str, Any])  # of each part, among all that were split

    @classmethod
    def of(cls, inputs: Tensor, labels: Tensor, rows: Mapping[str, Any]) -> Split:
        """Take the rows of each part."""
        return cls(
            inputs={part: inputs[index] for part, index in rows.items()},
            labels={part: labels[index] for part, index in rows.items()},
            classes=int(labels.max()) + 1,
            rows=rows,
        )


def digits() -> tuple[Tensor, Tensor]:
    """Load 1,797 grey images of 8 x 8 pixels in [0, 1], and their labels."""
    from sklearn.datasets import load_digits

    found: Any = load_digits(return_X_y=True)
    pixels, labels = (np.asarray(part) for part in found)
    return torch.tensor(pixels / 16, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(labels, dtype=torch.int64)


def in_halves(inputs: Tensor, labels: Tensor, seed: int) -> Split:
    """Split half for training and half for the test, as RAPQ does."""
    order = shuffled(len(labels), seed, "split")
    half = len(order) // 2
    return Split.of(inputs, labels, {"train": order[:half], "test": order[half:]})


def in_quarters(inputs: Tensor, labels: Tensor, seed: int) -> Split:
    """Split half for training and a quarter each for validation and test, each with the same classes, as NSGD does."""
    names = labels.numpy()
    train, rest = hold_out(len(names), 0.5, seed, labels=names)
    held, test = hold_out(len(rest), 0.5, seed, labels=names[rest])
    return Split.of(inputs, labels, {"train": train, "validation": rest[held], "test": rest[test]})


def cifar10(seed: int) -> Split:
    """Load 45,000 training, 5,000 validation and 10,000 test colour images of 32 x 32 pixels in [0, 1]."""
    # The files are a lossy re-encoding, so accuracies on them are not comparable with published ones.
    (inputs, labels), (test, test_labels) = (_read(*cifar10_files(part)) for part in ("train", "test"))
    order = shuffled(len(labels), seed, "split")
    known = Split.of(inputs, labels, {"train": order[5000:], "validation": order[:5000]})
    return Split({**known.inputs, "test": test}, {**known.labels, "test": test_labels}, len(CIFAR_CLASSES))


def cifar10_files(part: str) -> tuple[list[Path], Tensor]:
    """List the files of the part "train" or "test", and their labels."""
    return labelled_files(catalogue.fetch("cifar10-jpeg") / part, CIFAR_CLASSES)


def labelled_files(folder: Path, classes: Sequence[str]) -> tuple[list[Path], Tensor]:
    """List the files of each class, one folder a class, in the order of their names."""
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = sorted((folder / name).iterdir()) if (folder / name).is_dir() else []
        if not found:
            raise DataError(f"{folder / name} has no images.", hint="Put the images of each class into its folder.")
        files += found
        labels += [label] * len(found)
    return files, torch.tensor(labels)


def read_images(files: Sequence[Path]) -> Tensor:
    """Read colour images of one size, uint8, shape (n, 3, height, width)."""
    image = require("PIL.Image", extra="vision", purpose="Reading images")
    pixels: list[np.ndarray] = []
    for path in files:
        try:
            with image.open(path) as opened:
                pixels.append(np.asarray(opened.convert("RGB")))
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read as an image ({error}).", hint="Correct or remove it.") from error
        if pixels[-1].shape != pixels[0].shape:
            height, width = pixels[-1].shape[:2]
            raise DataError(
                f"{path} has {width} x {height} pixels, {files[0]} has {pixels[0].shape[1]} x {pixels[0].shape[0]}.",
                hint="Bring all images to one size.",
            )
    return torch.tensor(np.stack(pixels)).permute(0, 3, 1, 2)


def _read(files: Sequence[Path], labels: Tensor) -> tuple[Tensor, Tensor]:
    return read_images(files).float().div_(255.0), labels
