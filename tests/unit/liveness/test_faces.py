"""From files to faces: images as people have them, boxes, crops and frames."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from modicum.core import catalogue
from modicum.errors import DataError, UnsafeFileError
from modicum.liveness.data import read_photos
from modicum.liveness.faces import Face, FaceDetector, crop, main_face, read_image, read_video

ORIENTATION = 0x0112  # of EXIF


def ramp(height: int = 4, width: int = 6) -> np.ndarray:
    """An image in which every pixel is another."""
    return np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)


@pytest.mark.parametrize(("orientation", "turn"), [(1, 0), (3, 2), (6, -1), (8, 1)])
def test_a_photo_is_turned_as_its_exif_says(orientation: int, turn: int, tmp_path: Path) -> None:
    image = Image.fromarray(ramp())
    exif = image.getexif()
    exif[ORIENTATION] = orientation
    image.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.rot90(ramp(), turn))


def test_grey_transparent_and_deep_images_become_rgb_of_8_bits(tmp_path: Path) -> None:
    grey = ramp()[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), np.stack([grey] * 3, axis=2))
    Image.fromarray(np.array([[0, 257, 65535]], np.uint16)).save(tmp_path / "deep.png")
    assert read_image(tmp_path / "deep.png")[0].tolist() == [[0] * 3, [1] * 3, [255] * 3]
    Image.new("RGBA", (2, 1), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("LA", (2, 1), (0, 51)).save(tmp_path / "veil.png")
    assert np.unique(read_image(tmp_path / "clear.png")).tolist() == [255]  # on white
    assert np.unique(read_image(tmp_path / "veil.png")).tolist() == [204]


def test_damaged_images_are_named(tmp_path: Path) -> None:
    Image.fromarray(np.tile(ramp(), (40, 40, 1))).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:900])
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "page.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")  # ghostscript reads these
    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / "float.tif")
    for name in ("cut.jpg", "text.png", "page.eps", "float.tif", "missing.jpg"):
        with pytest.raises(DataError, match=name):
            read_image(tmp_path / name)


def test_a_decompression_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    for side in (10_000, 60_000):  # above pillow's limit, and above twice of it
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")))
        with pytest.raises(UnsafeFileError, match=r"bomb\.png has more than 89,478,485 pixels"):
            read_image(tmp_path / "bomb.png")


def test_crops_are_square_and_mirrored_at_the_edge() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 10, 3)).astype(np.uint8)
    np.testing.assert_array_equal(crop(image, (2, 1, 4, 6), scale=1, size=6), image[1:7, 1:7])
    wide = crop(image, (0, 0, 6, 6), scale=2, size=12)  # from -3 to 9
    np.testing.assert_array_equal(wide, np.pad(image, ((3, 1), (3, 0), (0, 0)), mode="reflect")[:12, :12])
    assert crop(image, (-3, 2, 5, 5), size=128).shape == (128, 128, 3)
    assert crop(image[:1, :1], (0, 0, 1, 1), size=4).shape == (4, 4, 3)
    half = crop(np.tile(np.array([[0], [255]], np.uint8)[..., None], (16, 32, 3)), (0, 0, 32, 32), scale=1, size=4)
    assert np.abs(half.astype(int) - 127).max() < 12  # scaling down integrates: no aliases


@pytest.mark.parametrize("box", [(0, 0, 0, 5), (10, 0, 2, 2), (-5, 0, 5, 5), (0, 0, 5, float("nan"))])
def test_a_box_outside_of_the_image_is_refused(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(DataError, match="is not in the image of 10 x 8 pixels"):
        crop(np.zeros((8, 10, 3), np.uint8), box)


def test_the_main_face_is_the_largest_unless_another_is_half_as_long() -> None:
    large, small, like = Face((0, 0, 80, 100), 0.7), Face((0, 0, 49, 40), 0.9), Face((0, 0, 40, 50), 0.9)
    assert main_face([small, large]) == large
    for faces, words in (([large, like], "several faces"), ([], "no face")):
        with pytest.raises(DataError, match=words):
            main_face(faces)


def test_frames_of_a_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for level in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * level, np.uint8), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    found = list(read_video(path, every=0.5))
    assert [seconds for seconds, _ in found] == pytest.approx([0, 0.5, 1, 1.5])
    assert all(image.shape == (48, 64, 3) for _, image in found)
    assert [image.mean() for _, image in found] == pytest.approx([0, 50, 100, 150], abs=8)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=r"a\.mp4"):
        list(read_video(path))


@pytest.mark.data("nuaa-sample", "models/face-antispoof-onnx")
def test_yunet_finds_the_faces_of_nuaa_whatever_their_size() -> None:
    detector = FaceDetector()
    photos = read_photos(catalogue.fetch("nuaa-sample"))[::60]  # all 1,200, lowest .905: a minute
    images = [read_image(photo.path) for photo in photos]
    found = [main_face(detector.detect(image)) for image in images]
    for face in found:
        assert face.score > 0.9
        assert 0.02 < face.box[2] * face.box[3] / (480 * 640) < 0.4
    half = main_face(detector.detect(images[-1][::2, ::2]))
    np.testing.assert_allclose(np.array(half.box) * 2, found[-1].box, atol=12)
    assert detector.detect(np.full((200, 300, 3), 128, np.uint8)) == []
