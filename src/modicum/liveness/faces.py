"""From files to faces: images as people have them, YuNet's boxes, square crops, and the frames of a video."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from modicum.core import catalogue
from modicum.core.export import open_onnx
from modicum.core.extras import require
from modicum.core.safeload.limits import parsing
from modicum.errors import DataError, UnsafeFileError

Image = npt.NDArray[np.uint8]  # [height, width, 3], RGB
Box = tuple[float, float, float, float]  # x, y, width, height in pixels

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
VIDEO_ENDINGS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")  # none that pillow reads by another program
_MODELS = "models/face-antispoof-onnx"
_SIDE = 640  # pixels, of the detector's input
_STRIDES = (8, 16, 32)
_SURE = 0.6  # the score of a face, from which on it is one
_OVERLAP = 0.3  # of two boxes, above which they are one face: OpenCV's default for YuNet


def read_image(path: Path | str) -> Image:
    """Read an image as it is seen: turned as its EXIF says, grey as RGB, transparent on white, 16 bits scaled to 8."""
    pillow: Any = require("PIL.Image", extra="liveness", purpose="Reading images")
    ops: Any = require("PIL.ImageOps", extra="liveness", purpose="Reading images")
    pillow.init()  # else open knows no format by name that it has not met yet
    path = Path(path)
    if not path.is_file():
        raise DataError(f"There is no file {path}.", hint="Check its name.")
    try:
        with warnings.catch_warnings(), parsing(path, "image"):
            warnings.simplefilter("error", pillow.DecompressionBombWarning)
            with pillow.open(path, formats=_FORMATS) as opened:
                return _as_rgb(ops.exif_transpose(opened), path, pillow)
    except DataError as error:
        if isinstance(error.__cause__, pillow.DecompressionBombWarning | pillow.DecompressionBombError):
            raise UnsafeFileError(
                f"{path} has more than {pillow.MAX_IMAGE_PIXELS:,} pixels.", hint="Scale it down, or leave it out."
            ) from error
        if isinstance(error.__cause__, pillow.UnidentifiedImageError):
            raise DataError(f"{path} is no image that can be read.", hint="Save it as PNG or JPEG.") from error
        raise


def _as_rgb(opened: Any, path: Path, pillow: Any) -> Image:
    if opened.mode.startswith("I;16"):
        # Rounded, and not cut: 255 and 65535 both are white.
        return np.repeat(np.round(np.asarray(opened).astype(np.float32) / 257).astype(np.uint8)[..., None], 3, axis=2)
    if opened.mode in {"I", "F"}:
        raise DataError(f"{path} has 32 bits a pixel, expected 8 or 16.", hint="Save it as PNG or JPEG.")
    if opened.has_transparency_data:
        opened = opened.convert("RGBA")
        white = pillow.new("RGBA", opened.size, "white")
        opened = pillow.alpha_composite(white, opened)
    return np.array(opened.convert("RGB"))


def files_below(folder: Path, endings: tuple[str, ...] = IMAGE_ENDINGS) -> list[Path]:
    """List the images of a folder and those below it, by name."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in endings)


def read_frames(path: Path, every: float) -> Iterator[tuple[float | None, Image]]:
    """Read an image, which has no time, or frames of a video."""
    if path.suffix.lower() in VIDEO_ENDINGS:
        yield from read_video(path, every=every)
    else:
        yield None, read_image(path)


def read_video(path: Path | str, *, every: float = 0.5) -> Iterator[tuple[float, Image]]:
    """Read frames of a video, one for so many seconds, upright; each with its time in seconds."""
    av: Any = require("av", extra="liveness", purpose="Reading videos")
    if not Path(path).is_file():
        raise DataError(f"There is no file {path}.", hint="Check its name.")
    with parsing(path, "video", quote=False), av.open(str(path)) as opened:
        if not opened.streams.video:
            raise DataError(f"{path} has no pictures.", hint="Give a video.")
        due = 0.0
        for frame in opened.decode(video=0):
            seconds = float(frame.time or 0.0)
            if seconds >= due:
                due = seconds + every
                yield (
                    seconds,
                    np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))),
                )


@dataclass(frozen=True, slots=True)
class Face:
    """A face that was found in an image."""

    box: Box  # parts may lie outside the image
    score: float  # how sure the detector is, 0 to 1


class FaceDetector:
    """YuNet (OpenCV zoo, 2023mar, 233 kB, MIT), run by onnxruntime on the CPU.

    It looks at the image scaled to 640 pixels, so that faces below some 10 of those pixels are missed.
    """

    @cached_property
    def _network(self) -> Any:
        return open_onnx(catalogue.fetch(_MODELS) / "models" / "detector.onnx")

    def detect(self, image: Image) -> list[Face]:
        """Find the faces of an image, the surest first.

        Args:
            image: uint8 of shape [height, width, 3], RGB.

        Returns:
            The faces; none is an empty list.
        """
        scale = _SIDE / max(image.shape[:2])
        height, width = (max(1, round(side * scale)) for side in image.shape[:2])
        canvas = np.zeros((1, 3, _SIDE, _SIDE), np.float32)
        # The network was made for BGR from 0 to 255; what is not square is filled up right or below.
        canvas[0, :, :height, :width] = _resized(image, width, height)[..., ::-1].transpose(2, 0, 1)
        scores, corners = self._decoded([output.numpy()[0] for output in self._network(torch.from_numpy(canvas))])
        order = np.argsort(-scores, kind="stable")
        order = order[scores[order] >= _SURE]
        faces: list[Face] = []
        while order.size:
            best, order = order[0], order[1:]
            x1, y1, x2, y2 = (corners[best] / scale).tolist()
            faces.append(Face((x1, y1, x2 - x1, y2 - y1), float(scores[best])))
            order = order[_overlaps(corners[best], corners[order]) <= _OVERLAP]
        return faces

    @staticmethod
    def _decoded(outputs: list[npt.NDArray[np.float32]]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Give the score and the corners of the box of every anchor, in pixels of the detector's input."""
        scores: list[Any] = []
        corners: list[Any] = []
        for level, stride in enumerate(_STRIDES):
            classes, objects, boxes = (outputs[3 * part + level] for part in range(3))
            row, column = np.divmod(np.arange(len(boxes)), _SIDE // stride)
            centres = (np.stack([column, row], axis=1) + boxes[:, :2]) * stride
            halves = np.exp(boxes[:, 2:]) * (stride / 2)
            corners.append(np.concatenate([centres - halves, centres + halves], axis=1))
            scores.append(np.sqrt(classes.clip(0, 1) * objects.clip(0, 1))[:, 0])
        return np.concatenate(scores), np.concatenate(corners)


def main_face(faces: Sequence[Face]) -> Face:
    """Give the face that a photo is of, the largest one; it is an error if there is none, or another of like size."""
    # Faces in the background, less than half as long, do not count: a quarter of NUAA's frames has some.
    ranked = sorted(faces, key=lambda face: -max(face.box[2:]))
    if not ranked or (len(ranked) > 1 and 2 * max(ranked[1].box[2:]) >= max(ranked[0].box[2:])):
        raise DataError("several faces" if ranked else "no face", hint="Give photos of one face.")
    return ranked[0]


def _overlaps(box: npt.NDArray[Any], others: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Give intersection over union of a box with others, all as corners."""
    shared = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    common = shared.clip(0).prod(axis=1)
    return common / ((box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - common)


def crop(image: Image, box: Box, scale: float = 1.5, size: int = 128) -> Image:
    """Cut a square around a face, so many times its longer side, and scale it; 1 is a tight crop."""
    # Mirrored at the edges of the image: black there would tell how near to the edge the face is.
    x, y, width, height = box
    if not (width > 0 and height > 0 and -width < x < image.shape[1] and -height < y < image.shape[0]):
        raise DataError(
            f"The box {tuple(box)} is not in the image of {image.shape[1]} x {image.shape[0]} pixels.",
            hint="Boxes are x, y, width and height in pixels, from the upper left corner.",
        )
    side = max(1, round(max(width, height) * scale))
    left, top = round(x + width / 2 - side / 2), round(y + height / 2 - side / 2)
    rows, columns = (_mirrored(start, side, total) for start, total in zip((top, left), image.shape[:2], strict=True))
    return _resized(image[rows[:, None], columns], size, size)


def covered(image: Image, box: Box, colour: Any, *, face: bool) -> Image:
    """Put a colour in place of the face, or of all but the face."""
    left, top, right, bottom = (max(0, round(side)) for side in (*box[:2], box[0] + box[2], box[1] + box[3]))
    inside = np.zeros(image.shape[:2], bool)
    inside[top:bottom, left:right] = True
    changed = image.copy()
    changed[inside if face else ~inside] = colour
    return changed


def _mirrored(start: int, count: int, total: int) -> npt.NDArray[np.int64]:
    """Give consecutive positions, those outside 0 to total - 1 mirrored at the outermost ones."""
    padded = np.pad(np.arange(total), (max(0, -start), max(0, start + count - total)), mode="reflect")
    return padded[max(0, start) :][:count]


def _resized(image: Image, width: int, height: int) -> Image:
    pillow: Any = require("PIL.Image", extra="liveness", purpose="Scaling images")
    if image.shape[:2] == (height, width):
        return np.ascontiguousarray(image)
    enlarged = width * height > image.shape[0] * image.shape[1]
    method = pillow.Resampling.LANCZOS if enlarged else pillow.Resampling.BILINEAR  # which integrates over its area
    return np.asarray(pillow.fromarray(np.ascontiguousarray(image)).resize((width, height), method))
