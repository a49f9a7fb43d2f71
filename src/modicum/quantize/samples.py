"""Calibration and test images from files: arrays that are normalised already, or folders of pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modicum.core.safeload import load_npy, load_npz
from modicum.core.seeding import numpy_generator
from modicum.errors import ConfigError, DataError
from modicum.quantize.doors import check_count, check_images, check_there, images_below
from modicum.quantize.preparation import Preparation


def read_samples(
    path: Path, count: int | None = None, *, seed: int = 0, preparation: Callable[[], Preparation] | None = None
) -> Tensor:
    """Read images to calibrate with."""
    check_count(count)
    if preparation is None and path.is_dir():
        raise ConfigError(f"{path} is a folder.", hint="Give an .npy or .npz file of normalised images.")
    check_images(path)
    if preparation is not None and path.is_dir():
        files = images_below(path)
        chosen, prepared = _drawn(len(files), count, seed), preparation()
        return prepared.normalised(prepared.images([files[place] for place in chosen]))
    array = _array(path)
    return _checked(array[_drawn(len(array), count, seed)] if array.ndim else array, path)


def read_test(path: Path) -> tuple[Tensor, Tensor]:
    """Read labelled images to judge by."""
    check_there(path)
    arrays = load_npz(path)
    labels = _member(arrays, "y", path)
    images = _checked(_member(arrays, "x", path), path)
    if labels.dtype.kind not in "iu" or labels.shape != (len(images),) or not len(labels) or labels.min() < 0:
        raise DataError(
            f"y in {path} must have a class from 0 on for each of the {len(images)} images, but it is {labels.dtype} "
            f"of shape {labels.shape}.",
            hint="Store integers, one an image.",
        )
    return images, torch.from_numpy(labels.astype(np.int64))


def _array(path: Path) -> NDArray[Any]:
    return load_npy(path) if path.suffix == ".npy" else _member(load_npz(path), "x", path)


def _member(arrays: dict[str, NDArray[Any]], name: str, path: Path) -> NDArray[Any]:
    if name not in arrays:
        raise DataError(
            f"{path} has no array {name}, only {', '.join(sorted(arrays)) or 'nothing'}.",
            hint=f"Store it as numpy.savez(file, {name}=...).",
        )
    return arrays[name]


def _checked(array: NDArray[Any], path: Path) -> Tensor:
    if array.ndim != 4 or 0 in array.shape:
        raise DataError(
            f"The images in {path} must have shape (n, channels, height, width), but they have {array.shape}.",
            hint="Bring them to that shape.",
        )
    if array.dtype.kind != "f":
        raise DataError(
            f"The images in {path} must be normalised, but they are {array.dtype}.",
            hint="Subtract the mean, divide by the std and store float32.",
        )
    with np.errstate(over="ignore"):
        images = torch.from_numpy(array.astype(np.float32))
    if not bool(torch.isfinite(images).all()):
        raise DataError(f"The images in {path} have values that are not finite.", hint="Drop or correct those samples.")
    return images


def _drawn(there: int, count: int | None, seed: int) -> NDArray[Any]:
    if count is None or count >= there:
        return np.arange(there)
    return np.sort(numpy_generator(seed, "calibration").choice(there, count, replace=False))
