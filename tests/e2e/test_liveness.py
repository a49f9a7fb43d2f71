"""The commands of FGHV as a user meets them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from tests.e2e.in_process import run_here

from modicum.core import catalogue
from modicum.liveness.data import read_photos
from modicum.liveness.faces import read_image

needs_data = pytest.mark.data("nuaa-sample", "models/face-antispoof-onnx")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a manifest, and a detector that train wrote."""
    folder = tmp_path_factory.mktemp("liveness")
    photos = read_photos(catalogue.fetch("nuaa-sample"))[::15]
    with (folder / "list.csv").open("w") as file:
        write = csv.writer(file)
        write.writerow(["path", "label", "species", "subject", "session"])
        write.writerows([photo.path, photo.label, photo.species, photo.subject, photo.session] for photo in photos)
    options = ("--out", "detector", "--steps", 30, "--held-out", 0.3, "--json")
    done = run_here("liveness", "train", "list.csv", *options, cwd=folder)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["test"]["auc"] > 0.6
    assert set(found["test"]["apcer"]) == {"print"}
    return folder


@needs_data
def test_score_streams_a_line_each_and_goes_on_after_what_it_cannot_read(trained: Path, tmp_path: Path) -> None:
    face = read_image(next(photo.path for photo in read_photos(catalogue.fetch("nuaa-sample"))))
    Image.fromarray(face).save(tmp_path / "a.png")
    (tmp_path / "b.jpg").write_text("no image")
    Image.fromarray(np.hstack([face, face])).save(tmp_path / "c.png")
    Image.new("RGB", (300, 200), "grey").save(tmp_path / "d.png")
    with av.open(str(tmp_path / "e.mp4"), "w") as file:
        stream = file.add_stream("mpeg4", rate=2, options={"qscale": "2"})
        stream.width, stream.height, stream.pix_fmt = face.shape[1], face.shape[0], "yuv420p"
        for _ in range(3):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(face, format="rgb24")))
        file.mux(stream.encode())
    done = run_here("liveness", "score", tmp_path, "--model", "detector", "--every", 1, cwd=trained)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert [Path(line["image"]).name for line in lines] == ["a.png", "b.jpg", "c.png", "d.png", "e.mp4", "e.mp4"]
    assert [line["decision"] for line in lines[1:4]] == ["unknown"] * 3
    for line, words in zip(lines[1:4], ("b.jpg is no image", "several faces", "no face"), strict=True):
        assert words in line["reason"]
    assert lines[0]["score"] is not None
    assert [line["seconds"] for line in lines[4:]] == [0, 1]
    assert "b.jpg is no image" in done.stderr
    assert "1 could not be read" in done.stderr


@needs_data
def test_calibrate_says_what_came_of_it(trained: Path, tmp_path: Path) -> None:
    photos = read_photos(catalogue.fetch("nuaa-sample"))
    for photo in [photo for photo in photos if photo.label == "bona_fide" and photo.session == "3"][::12]:
        (tmp_path / str(photo.subject)).mkdir(exist_ok=True)
        (tmp_path / str(photo.subject) / photo.path.name).write_bytes(photo.path.read_bytes())
    done = run_here("liveness", "calibrate", tmp_path, "--model", "detector", "--out", "own", cwd=trained)
    assert done.returncode == 0, done.stderr
    assert "the pre-trained network's own threshold would have refused" in done.stdout
    assert (trained / "own" / "detector.json").is_file()


def test_simulate_writes_what_train_and_audit_read(tmp_path: Path) -> None:
    (tmp_path / "photos" / "anna").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photos" / "anna" / "a.png")
    Image.fromarray(pixels).save(tmp_path / "photos" / "b.jpg")
    done = run_here("liveness", "simulate", "photos", "--out", "simulated", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = read_photos(tmp_path / "simulated" / "manifest.csv")
    assert sorted((photo.species, photo.subject) for photo in found if photo.subject) == [
        ("bona_fide", "anna"),
        ("halftone", "anna"),
        ("replay", "anna"),
    ]
    assert len(found) == 6
    assert all(read_image(photo.path).shape == (40, 30, 3) for photo in found)
    assert read_image(tmp_path / "simulated" / "contact-sheet.png").shape[1] == 1280


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("score", "a.jpg", "--model", "none"), "There is no folder none"),
        (("train", "photos", "--out", "new"), "0 photos, none of which is bona_fide"),
        (("train", "photos", "--out", "new", "--test", "photos", "--leave-out", "session=3"), "Give one of them"),
        (("calibrate", "photos", "--model", "photos", "--out", "new", "--alpha", 2), "--alpha is 2.0"),
        (("score", "photos", "--model", "photos", "--every", "nan"), "--every is nan"),
        (("simulate", "photos", "--out", "new"), "There are no images or videos in photos"),
        (("train", "photos", "--out", "."), "is there already"),
    ],
)
def test_wrong_input_is_told_and_nothing_is_written(arguments: tuple[object, ...], words: str, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "readme.txt").touch()
    done = run_here("liveness", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert not (tmp_path / "new").exists()
