from __future__ import annotations

import os
import pickle

import h5py
import numpy as np
import pytest

from modicum.core.catalogue import fetch
from modicum.errors import ConfigError, DataError, UnsafeFileError
from modicum.fusion.readers.opening import FORMATS, open_recordings
from modicum.fusion.storage import save_recordings

FRAMES = np.ones((2, 4, 3))
MMSA = {
    "raw_text": ["so", "no"],
    "id": ["a$_$1", "a$_$2"],
    "text": FRAMES,
    "audio": FRAMES[:, :2],
    "vision": FRAMES,
    "regression_labels": np.zeros(2),
}
MULT = {"text": FRAMES, "audio": FRAMES, "vision": FRAMES, "labels": np.zeros((2, 1, 1))}
MISA = [((["so"], FRAMES[0, :1], FRAMES[0, :1]), 1.0, "a[0]")]
RELEASED = [[[[np.array(["so"])] * 6, [FRAMES[0, :1]] * 3, [FRAMES[0, :1]] * 3], 1.0, 1, 5, "a[0]"]]
PICKLES = {"mmsa": {"train": MMSA}, "mult": {"train": MULT}, "misa": MISA, "released": RELEASED}


def write(path, content):
    path.write_bytes(pickle.dumps(content))
    return path


@pytest.mark.parametrize("name", PICKLES)
def test_each_pickle_is_recognised_by_what_is_in_it(tmp_path, name):
    opened = open_recordings(write(tmp_path / "my_train.pkl", PICKLES[name]))
    assert opened.format == name
    assert list(opened.splits) == ["train"]
    assert len(opened.splits["train"]) == (2 if name in {"mmsa", "mult"} else 1)
    assert open_recordings(tmp_path / "my_train.pkl", name).format == name


@pytest.mark.parametrize("name", ["misa", "released"])
def test_a_folder_of_pickles_is_read_by_their_splits(tmp_path, name):
    for split in ("train", "test"):
        write(tmp_path / f"{split}.pkl", PICKLES[name])
    assert set(open_recordings(tmp_path).splits) == {"train", "test"}
    write(tmp_path / "valid.pkl", PICKLES["misa" if name == "released" else "released"])
    with pytest.raises(DataError, match="files of several formats"):
        open_recordings(tmp_path)


def test_what_the_reader_found_is_told(tmp_path):
    opened = open_recordings(write(tmp_path / "a.pkl", {"train": MMSA}))
    assert any("text has no padding" in note for note in opened.notes)


def test_sequences_are_read_alone_or_from_a_folder(tmp_path):
    with h5py.File(tmp_path / "covarep.csd", "w") as file:
        file["COVAREP/data/a/features"] = np.ones((2, 3))
        file["COVAREP/data/a/intervals"] = np.array([[0.0, 1.0], [1.0, 2.0]])
    for place in (tmp_path, tmp_path / "covarep.csd"):
        opened = open_recordings(place)
        assert opened.format == "csd"
        assert opened.splits["all"].streams["covarep"].lengths.tolist() == [2]


def test_a_folder_of_scores_and_features_is_read(tmp_path):
    (tmp_path / "train_split.csv").write_text("Participant_ID,PHQ_Score\n300,4\n")
    (tmp_path / "mfcc").mkdir()
    np.save(tmp_path / "mfcc" / "300.npy", np.ones((3, 2)))
    opened = open_recordings(tmp_path)
    assert opened.format == "avec"
    assert opened.splits["train"].streams["mfcc"].lengths.tolist() == [3]


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_converted_file_is_read_as_what_it_was_converted_from(tmp_path, suffix):
    given = open_recordings(write(tmp_path / "a.pkl", {"train": MMSA})).splits
    save_recordings(tmp_path / f"a{suffix}", given)
    opened = open_recordings(tmp_path / f"a{suffix}")
    assert opened.format == "modicum"
    assert opened.splits["train"].ids == given["train"].ids
    assert opened.splits["train"].streams["audio"].values.tolist() == given["train"].streams["audio"].values.tolist()


@pytest.mark.data("mosi-features")
def test_the_folder_of_the_catalogue_is_recognised():
    opened = open_recordings(fetch("mosi-features"))
    assert opened.format == "mosi"
    assert {name: len(split) for name, split in opened.splits.items()} == {"train": 1447, "test": 752}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2, 3], "is a pickle of a list that no reader knows"),
        ({"train": [1]}, "is a pickle of a dict that no reader knows"),
        ({}, "is a pickle of a dict that no reader knows"),
        ({"train": {"x": 1}}, "is a pickle of tables with 'x'"),
    ],
)
def test_what_no_reader_knows_is_refused_with_what_they_know(tmp_path, content, message):
    with pytest.raises(DataError, match=message) as caught:
        open_recordings(write(tmp_path / "a.pkl", content))
    assert all(f"{name} (" in caught.value.hint for name in FORMATS)


def test_other_files_and_folders_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(DataError, match=r"ends in '\.txt'"):
        open_recordings(tmp_path / "a.txt")
    with pytest.raises(DataError, match="is a folder without a file that is known"):
        open_recordings(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        open_recordings(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="no format 'mmsdk'"):
        open_recordings(tmp_path, "mmsdk")  # pyright: ignore[reportArgumentType]


def test_code_in_a_pickle_is_refused(tmp_path):
    with pytest.raises(UnsafeFileError, match="system"):
        open_recordings(write(tmp_path / "a.pkl", {"train": os.system}))


JUNK = (
    None,
    3,
    "x",
    b"x",
    [],
    (),
    {},
    [[]],
    np.zeros(()),
    np.zeros(2),
    np.array([None, "x"], dtype=object),
    [FRAMES, 1],
)


def places(content, path=()):
    """Give the way to each part of a content."""
    yield path
    if isinstance(content, dict | list | tuple):
        for key, part in content.items() if isinstance(content, dict) else enumerate(content):
            yield from places(part, (*path, key))


def replaced(content, path, junk):
    if not path:
        return junk
    changed = dict(content) if isinstance(content, dict) else list(content)
    changed[path[0]] = replaced(content[path[0]], path[1:], junk)
    return tuple(changed) if isinstance(content, tuple) else changed


@pytest.mark.parametrize("name", PICKLES)
def test_a_part_that_is_something_else_is_read_or_refused_but_never_trips_the_reader(tmp_path, name):
    file, outcomes = tmp_path / "train.pkl", set()
    for path in places(PICKLES[name]):
        for junk in JUNK:
            write(file, replaced(PICKLES[name], path, junk))
            try:
                outcomes.add(type(open_recordings(file, name)))
            except DataError as error:
                outcomes.add(type(error))
    assert DataError in outcomes
