from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from modicum.core.small import digits, in_halves, in_quarters, labelled_files, read_images
from modicum.errors import DataError

image = pytest.importorskip("PIL.Image")


def write(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.fromarray(pixels).save(path)
    return path


def test_pixels_come_back_channels_first_and_grey_becomes_colour(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    files = [write(tmp_path / "a.png", colours), write(tmp_path / "b.png", colours[..., 0])]
    read = read_images(files)
    assert read.dtype == torch.uint8
    assert torch.equal(read[0], torch.from_numpy(colours).permute(2, 0, 1))
    assert torch.equal(read[1], torch.from_numpy(colours[..., 0]).expand(3, -1, -1))


def test_labels_are_the_places_of_the_classes(tmp_path: Path) -> None:
    for name in ("dog/2.png", "dog/1.png", "cat/1.png"):
        write(tmp_path / name, np.zeros((2, 2, 3), dtype=np.uint8))
    files, labels = labelled_files(tmp_path, ("dog", "cat"))
    assert [str(path.relative_to(tmp_path)) for path in files] == ["dog/1.png", "dog/2.png", "cat/1.png"]
    assert labels.tolist() == [0, 0, 1]


def test_a_class_without_images_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cat has no images"):
        labelled_files(tmp_path, ("cat",))


def test_a_file_that_is_no_image_or_has_another_size_is_named(tmp_path: Path) -> None:
    good = write(tmp_path / "good.png", np.zeros((2, 2, 3), dtype=np.uint8))
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(DataError, match=r"text.png cannot be read as an image"):
        read_images([good, tmp_path / "text.png"])
    wide = write(tmp_path / "wide.png", np.zeros((2, 3, 3), dtype=np.uint8))
    with pytest.raises(DataError, match=r"wide.png has 3 x 2 pixels, .*good.png has 2 x 2"):
        read_images([good, wide])


def test_digits_are_split_by_the_seed_and_into_all_of_them() -> None:
    images, labels = digits()
    assert images.shape == (1797, 1, 8, 8)
    assert (images.dtype, images.min(), images.max()) == (torch.float32, 0, 1)
    for split, parts in ((in_halves, [898, 899]), (in_quarters, [898, 449, 450])):
        first, again, other = (split(images, labels, seed) for seed in (0, 0, 1))
        assert [len(part) for part in first.inputs.values()] == parts
        assert all(torch.equal(part, again.inputs[name]) for name, part in first.inputs.items())
        assert not torch.equal(first.inputs["test"], other.inputs["test"])
        assert sorted(torch.cat(list(first.labels.values())).tolist()) == sorted(labels.tolist())


def test_quarters_have_the_same_classes() -> None:
    split = in_quarters(*digits(), 3)
    shares = [torch.bincount(labels) / len(labels) for labels in split.labels.values()]
    for share in shares[1:]:
        torch.testing.assert_close(share, shares[0], atol=0.003, rtol=0)
