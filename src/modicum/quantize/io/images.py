"""Images from files: as a network wants them, as the file beside its weights says, or normalised already."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modicum.core.extras import require
from modicum.core.safeload import load_npy, load_npz, read_json
from modicum.core.seeding import numpy_generator
from modicum.errors import ConfigError, DataError
from modicum.quantize.doors import check_count, check_images, check_there, images_below

PREPARATION_FILE = "preprocessor_config.json"
_BILINEAR, BICUBIC = 2, 3  # as Pillow numbers its filters
_HINT = "Put that of the model there, or give a .npy or .npz file of normalised images."
_PIXELS = 224
_WARPED = 384  # from here on ConvNeXT's way squeezes the whole image, and crops nothing
_LARGEST = 4096  # ours: pixels of a side that no classifier takes


@dataclass(frozen=True, kw_only=True, slots=True)
class Preparation:
    """How an image becomes a sample."""

    resize: int | tuple[int, int] | None = None  # pixels of the shorter side, or (height, width); None leaves the size
    crop: tuple[int, int] | None = None  # (height, width) from the middle, with black around an image that is smaller
    resample: int = _BILINEAR  # Pillow's number of the filter: 0 nearest, 1 Lanczos, 2 bilinear, 3 bicubic
    factor: float = 1 / 255  # by which a pixel of 0 to 255 is multiplied
    mean: tuple[float, ...]  # then subtracted, of each channel; one channel reads images as grey
    std: tuple[float, ...]  # then divided by, likewise

    def pixels(self, path: Path | IO[bytes]) -> Tensor:
        """Read an image, and resize and crop it."""
        pillow = require("PIL.Image", extra="vision", purpose="Reading images")
        try:
            with pillow.open(path) as opened:
                image = opened.convert("L" if len(self.mean) == 1 else "RGB")
        except (OSError, ValueError, pillow.DecompressionBombError) as error:
            raise DataError(f"{path} cannot be read as an image ({error}).", hint="Correct or remove it.") from error
        if self.resize is not None:
            height, width = _resized(self.resize, image.height, image.width)
            image = image.resize((width, height), resample=self.resample)
        if self.crop is not None:
            top, left = (image.height - self.crop[0]) // 2, (image.width - self.crop[1]) // 2
            image = image.crop((left, top, left + self.crop[1], top + self.crop[0]))
        array = np.array(image)
        return torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1).copy())

    def normalised(self, pixels: Tensor) -> Tensor:
        """Bring pixels of 0 to 255 to what the network wants, (factor x - mean) / std."""
        mean, std = (torch.tensor(it, device=pixels.device).view(-1, 1, 1) for it in (self.mean, self.std))
        return (pixels.float() * self.factor - mean) / std

    def images(self, files: Sequence[Path | IO[bytes]]) -> Tensor:
        """Read images as one batch."""
        read: list[Tensor] = []
        for path in files:
            read.append(self.pixels(path))
            if read[-1].shape != read[0].shape:
                raise DataError(
                    f"{path} has {read[-1].shape[2]} x {read[-1].shape[1]} pixels, {files[0]} has "
                    f"{read[0].shape[2]} x {read[0].shape[1]}.",
                    hint="Bring all images to one size.",
                )
        return torch.stack(read)

    def to_dict(self) -> dict[str, Any]:
        """Give what `read_preparation` and the image processors of transformers read."""
        size = {"shortest_edge": self.resize} if isinstance(self.resize, int) else _sides(self.resize)
        return {
            "image_processor_type": "ViTImageProcessor" if self.crop is None else "MobileNetV2ImageProcessor",
            "do_resize": self.resize is not None,
            **({"size": size} if size else {}),
            "resample": self.resample,
            "do_center_crop": self.crop is not None,
            **({"crop_size": _sides(self.crop)} if self.crop else {}),
            "do_rescale": True,
            "rescale_factor": self.factor,
            "do_normalize": True,
            "image_mean": list(self.mean),
            "image_std": list(self.std),
        }


def read_preparation(folder: Path) -> Preparation:
    """Read how the images of a transformers model are prepared."""
    path = folder / PREPARATION_FILE
    if not path.is_file():
        raise DataError(
            f"{folder} has no {PREPARATION_FILE}, so nothing says how images are resized and normalised.",
            hint=_HINT,
        )
    try:
        read = read_json(path, hint=_HINT)
        return _preparation(cast("dict[str, Any]", read))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = error.what if isinstance(error, DataError) else f"{type(error).__name__}: {error}"
        raise DataError(f"{path} does not say how images are prepared ({reason}).", hint=_HINT) from error


def _preparation(read: dict[str, Any]) -> Preparation:
    resize, crop = _size(read)
    rescaled = read.get("do_rescale", True)
    normalised = read.get("do_normalize", True)
    mean = _numbers(read["image_mean"]) if normalised else (0.0, 0.0, 0.0)
    std = _numbers(read["image_std"]) if normalised else (1.0, 1.0, 1.0)
    if len(mean) != len(std) or len(mean) not in {1, 3} or min(std) <= 0:
        raise DataError(f"mean {list(mean)} and std {list(std)}", hint=_HINT)
    resample = read.get("resample", BICUBIC if _is_convnext(read) else _BILINEAR)  # as transformers' classes
    if resample not in range(6):
        raise DataError(f"resample {resample!r}", hint=_HINT)
    return Preparation(
        resize=resize,
        crop=crop,
        resample=resample,
        factor=float(read.get("rescale_factor", 1 / 255)) if rescaled else 1.0,
        mean=mean,
        std=std,
    )


def _size(read: dict[str, Any]) -> tuple[int | tuple[int, int] | None, tuple[int, int] | None]:
    size = read.get("size", _PIXELS)
    if _is_convnext(read):
        edge = size["shortest_edge"] if isinstance(size, dict) else size
        if not read.get("do_resize", True):
            return None, None
        if edge >= _WARPED:
            return _pair(edge), None
        return _side(int(edge / read.get("crop_pct", _PIXELS / 256))), _pair(edge)
    crop = _pair(read.get("crop_size", _PIXELS)) if read.get("do_center_crop") else None
    if not read.get("do_resize", True):
        return None, crop
    if isinstance(size, dict) and "shortest_edge" in size:
        return _side(cast("dict[str, Any]", size)["shortest_edge"]), crop
    # A bare number is the shorter side where a crop follows, and both sides where none does.
    return (_side(size) if crop and not isinstance(size, dict) else _pair(size)), crop


def _is_convnext(read: dict[str, Any]) -> bool:
    # Also what ResNet's folders name.
    return any("ConvNext" in read.get(name, "") for name in ("image_processor_type", "feature_extractor_type"))


def _pair(size: Any) -> tuple[int, int]:
    sides = (size["height"], size["width"]) if isinstance(size, dict) else (size, size)
    return (_side(sides[0]), _side(sides[1]))


def _side(pixels: Any) -> int:
    if not isinstance(pixels, int) or not 0 < pixels <= _LARGEST:
        raise DataError(f"a side of {pixels!r} pixels", hint=_HINT)
    return pixels


def _numbers(values: Iterable[Any]) -> tuple[float, ...]:
    return tuple(float(it) for it in values)


def _sides(size: tuple[int, int] | None) -> dict[str, int]:
    return {"height": size[0], "width": size[1]} if size else {}


def _resized(wanted: int | tuple[int, int], height: int, width: int) -> tuple[int, int]:
    if isinstance(wanted, tuple):
        return wanted
    if height <= width:
        return wanted, int(wanted * width / height)
    return int(wanted * height / width), wanted


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
