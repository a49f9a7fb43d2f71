from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from modicum.errors import ConfigError, DataError, UnsafeFileError
from modicum.fusion.recordings import Ragged, Recordings
from modicum.fusion.storage import load_recordings, save_recordings

SUFFIXES = pytest.mark.parametrize("suffix", [".safetensors", ".npz"])


def splits():
    rng = np.random.default_rng(0)
    audio = Ragged.of([rng.normal(size=(frames, 3)) for frames in (4, 0, 1)], 3)
    absent = Ragged.of([[], [], []], 2)
    train = Recordings(
        ids=("a[0]", "b[1]", "ü"),
        streams={"audio": audio, "../video": absent},
        words=(("so", "naïve"), (), ("no",)),
        labels=np.array([0, 2, 1]),
        classes=("x", "y", "z"),
        groups=("a", "b", "ü"),
        replaced={"audio": 3},
    )
    plain = Recordings(ids=("c",), streams={"audio": Ragged.of([[[0.1, 0.2, 0.3]]], 3)})
    scored = Recordings(ids=("d",), streams=plain.streams, labels=np.array([[0.1, -0.2]], dtype=np.float32))
    return {"train": train, "valid": plain, "of my own": scored}


@SUFFIXES
def test_what_was_saved_is_loaded_to_the_last_bit(tmp_path, suffix):  # CUBEMLP-C11
    path = tmp_path / f"recordings{suffix}"
    save_recordings(path, splits())
    loaded = load_recordings(path)
    assert list(loaded) == list(splits())
    for name, given in splits().items():
        read = loaded[name]
        for part in ("ids", "words", "classes", "groups", "replaced"):
            assert getattr(read, part) == getattr(given, part)
        assert list(read.streams) == list(given.streams)
        for stream, ragged in given.streams.items():
            for part in ("values", "lengths"):
                saved, back = getattr(ragged, part), getattr(read.streams[stream], part)
                assert (saved.dtype, saved.shape, saved.tobytes()) == (back.dtype, back.shape, back.tobytes())
        if given.labels is None:
            assert read.labels is None
        else:
            assert read.labels is not None
            assert (read.labels.dtype, read.labels.tolist()) == (given.labels.dtype, given.labels.tolist())
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    save_recordings(str(path), splits())
    assert load_recordings(str(path)).keys() == loaded.keys()


@SUFFIXES
def test_a_damaged_file_is_refused(tmp_path, suffix):
    path = tmp_path / f"recordings{suffix}"
    save_recordings(path, splits())
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"not a complete|no complete"):
        load_recordings(path)


@SUFFIXES
def test_a_file_that_is_too_large_is_refused(tmp_path, suffix):
    path = tmp_path / f"recordings{suffix}"
    save_recordings(path, splits())
    with pytest.raises(UnsafeFileError, match="at most 100 are read"):
        load_recordings(path, max_bytes=100)


def test_another_file_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    save_file({"x": np.zeros(3)}, tmp_path / "a.safetensors")
    for name in ("a.npz", "a.safetensors"):
        with pytest.raises(DataError, match="holds no recordings"):
            load_recordings(tmp_path / name)
    for description, message in (
        ({"form": 2}, "has version 2 of the format"),
        ({"form": 1, "splits": [{"name": "train"}]}, r"is damaged \(0.ids: Field required"),
        ([], "has version None of the format"),
    ):
        save_file({"x": np.zeros(3)}, tmp_path / "b.safetensors", {"modicum-recordings": json.dumps(description)})
        with pytest.raises(DataError, match=message):
            load_recordings(tmp_path / "b.safetensors")


def test_the_suffix_and_the_place_must_be_right(tmp_path):
    with pytest.raises(ConfigError, match=r"ends in '\.csv'"):
        save_recordings(tmp_path / "a.csv", splits())
    with pytest.raises(ConfigError, match=r"ends in '\.csv'"):
        load_recordings(tmp_path / "a.csv")
    with pytest.raises(DataError, match="is no file"):
        load_recordings(tmp_path / "a.npz")
    for suffix in ("npz", "safetensors"):
        with pytest.raises(ConfigError, match="cannot be written"):
            save_recordings(tmp_path / "nowhere" / f"a.{suffix}", splits())


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("0.0.values", np.zeros((5, 3))),
        ("0.0.lengths", np.array([4, 0, 1.5])),
        ("0.labels", np.array(["good"] * 3)),
    ],
)
def test_arrays_of_other_numbers_are_refused(tmp_path, name, array):
    save_recordings(tmp_path / "a.npz", splits())
    with np.load(tmp_path / "a.npz") as file:
        np.savez(tmp_path / "b.npz", **{**file, name: array})
    with pytest.raises(DataError, match=f"{name} must be .*, got {array.dtype}"):
        load_recordings(tmp_path / "b.npz")
