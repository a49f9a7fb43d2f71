from __future__ import annotations

import pickle

import numpy as np
import pytest
from tests.unit.fusion.made_up import reader

from modicum.errors import DataError

read_released = reader("released")


def item(words=("so", "good"), *, single=False, label=1.5, segment="abc[3]", seven=True):
    frames = len(words)
    vector = lambda number, width: np.full((frames, width), float(number))
    texts = [np.array(words), *(vector(number, 5) for number in range(1, 4)), np.full(5, 4.0), vector(5, 5)]
    audios = [vector(number, 2 + number) for number in range(1 if single else 3)]
    videos = [vector(number, 4 + number) for number in range(1 if single else 3)]
    labels = [np.array(label), 1, 5] if seven else [np.array(label), 1]
    return [[texts, audios, videos], *labels, segment]


def write(tmp_path, content, name="mosi_train.pkl"):
    path = tmp_path / name
    path.write_bytes(pickle.dumps(content))
    return path


def test_the_features_of_the_recipes_are_read(tmp_path):
    mosi = read_released(write(tmp_path, [item(), item(("no",), segment="abc[12]", label=-3.0)]))["train"]
    assert mosi.words == (("so", "good"), ("no",))
    assert {name: stream.size for name, stream in mosi.streams.items()} == {"audio": 2, "video": 4}
    assert mosi.ids == ("abc[3]", "abc[12]")
    assert mosi.labels is not None
    assert mosi.labels.tolist() == [1.5, -3.0]
    mosei = read_released(write(tmp_path, [item(single=True, seven=False)], "mosei_valid.pkl"))
    assert {name: stream.size for name, stream in mosei["valid"].streams.items()} == {"audio": 2, "video": 4}


def test_a_folder_has_a_file_for_each_split(tmp_path):
    for name in ("mosi_train.pkl", "mosi_valid.pkl", "mosi_test.pkl"):
        write(tmp_path, [item()], name)
    assert set(read_released(tmp_path)) == {"train", "valid", "test"}


def test_streams_that_have_not_a_frame_a_word_are_refused(tmp_path):
    wrong = item()
    wrong[0][1][0] = np.zeros((5, 2))
    with pytest.raises(DataError, match="row 0: audio has 5 frames for 2 words"):
        read_released(write(tmp_path, [wrong]))
