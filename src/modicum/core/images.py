"""Image files of classes, one folder a class, as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from modicum.core.extras import require
from modicum.errors import DataError

CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def labelled_files(folder: Path, classes: Sequence[str]) -> tuple[list[Path], Tensor]:
    """List the files of each class, in the order of their names."""
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
    """Read colour images of one size."""
    image = require("PIL.Image", extra="vision", purpose="Reading images")
    pixels: list[np.ndarray] = []
    for path in files:
        try:
            with image.open(path) as opened:
                pixels.append(np.asarray(opened.convert("RGB")))
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read as an image ({error}).", hint="Mend or remove it.") from error
        if pixels[-1].shape != pixels[0].shape:
            height, width = pixels[-1].shape[:2]
            raise DataError(
                f"{path} has {width} x {height} pixels, {files[0]} has {pixels[0].shape[1]} x {pixels[0].shape[0]}.",
                hint="Bring all images to one size.",
            )
    return torch.tensor(np.stack(pixels)).permute(0, 3, 1, 2)
