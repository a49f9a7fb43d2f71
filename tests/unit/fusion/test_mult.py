from __future__ import annotations

import pickle

import numpy as np
import pytest
from tests.unit.fusion.made_up import reader

from modicum.errors import DataError

read_mult = reader("mult")

IDS = np.array([[b"abc", b"0.5", b"2.5"], [b"def", b"1.0", b"3.0"]])


def front(frames, width, lengths):
    array = np.zeros((len(lengths), frames, width))
    for sample, length in enumerate(lengths):
        array[sample, frames - length :] = 1 + sample
    return array


def write(tmp_path, *, protocol=5, **changed):
    part = {
        "text": front(5, 4, (5, 2)),
        "audio": front(9, 3, (8, 3)),
        "vision": front(7, 2, (4, 7)),
        "labels": np.array([-1.5, 2.0]).reshape(2, 1, 1),
        "id": IDS,
    }
    path = tmp_path / "mosi_data_noalign.pkl"
    path.write_bytes(pickle.dumps({"train": part | changed, "valid": part}, protocol))
    return path


def test_padding_at_the_front_is_taken_off(tmp_path):
    notes: list[str] = []
    train = read_mult(write(tmp_path), say=notes.append)["train"]
    assert {name: stream.lengths.tolist() for name, stream in train.streams.items()} == {
        "text": [5, 2],
        "audio": [8, 3],
        "video": [4, 7],
    }
    assert train.labels is not None
    assert train.labels.tolist() == [-1.5, 2.0]
    assert train.ids == ("abc_0.5_2.5", "def_1.0_3.0")
    assert train.groups == ("abc", "def")
    assert any("audio has padding at the front" in note for note in notes)


def test_aligned_streams_begin_together(tmp_path):
    audio = front(5, 3, (5, 2))
    audio[1, 3] = 0  # a word without audio
    streams = read_mult(write(tmp_path, audio=audio, vision=front(5, 2, (4, 2))))["train"].streams
    assert {tuple(stream.lengths.tolist()) for stream in streams.values()} == {(5, 2)}
    assert streams["audio"][1].tolist() == [[0, 0, 0], [2, 2, 2]]
    assert streams["video"][0][:2].tolist() == [[0, 0], [1, 1]]


def test_several_labels_a_sample_are_refused(tmp_path):
    with pytest.raises(DataError, match="labels has the shape \\(2, 4, 2\\)"):
        read_mult(write(tmp_path, labels=np.zeros((2, 4, 2))))


def test_a_label_off_the_scale_is_named(tmp_path):
    with pytest.raises(DataError, match=r"row 0, is -4\.0"):
        read_mult(write(tmp_path, labels=np.array([-4.0, 0.0]).reshape(2, 1, 1)))


def test_minus_infinity_in_the_audio_is_zero_and_counted(tmp_path):
    audio = front(9, 3, (8, 3))
    audio[0, 4, 1] = -np.inf
    assert read_mult(write(tmp_path, audio=audio))["train"].replaced == {"audio": 1}


def test_a_pickle_of_an_old_protocol_says_the_same(tmp_path):
    new, old = (read_mult(write(tmp_path, protocol=protocol))["train"] for protocol in (5, 2))
    assert new.ids == old.ids
    assert new.streams["audio"].values.tolist() == old.streams["audio"].values.tolist()


def test_without_ids_samples_are_numbered(tmp_path):
    path = write(tmp_path)
    content = pickle.loads(path.read_bytes())
    del content["train"]["id"]
    path.write_bytes(pickle.dumps(content))
    train = read_mult(path)["train"]
    assert (train.ids, train.groups) == (("0", "1"), ())
