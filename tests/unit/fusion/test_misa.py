from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
from tests.unit.fusion.made_up import reader

from modicum.errors import DataError, UnsafeFileError

read_misa = reader("misa")


def utterance(words, *, video=None, audio=None, label: object = 1.5, segment="abc[3]", actual=None):
    frames = len(words)
    video = np.full((frames, 2), 1.0) if video is None else video
    audio = np.full((frames, 3), 2.0) if audio is None else audio
    parts = (words, video, audio) if actual is None else (words, video, audio, actual)
    return parts, label, segment


def write(tmp_path, content, name="train.pkl"):
    path = tmp_path / name
    path.write_bytes(pickle.dumps(content))
    return path


def test_words_and_frames_are_read_and_the_name_of_the_file_tells_the_split(tmp_path):
    content = [utterance(["so", "good"], label=np.array([[2.4]])), utterance(["no"], label=-1.0, segment="abc[12]")]
    recordings = read_misa(write(tmp_path, content, "dev.pkl"))
    assert list(recordings) == ["valid"]
    valid = recordings["valid"]
    assert valid.words == (("so", "good"), ("no",))
    assert valid.streams["audio"].lengths.tolist() == [2, 1]
    assert (valid.streams["video"].size, valid.streams["audio"].size) == (2, 3)
    assert valid.streams["audio"].values[0, 0] == 2.0
    assert valid.ids == ("abc[3]", "abc[12]")
    assert valid.groups == ("abc", "abc")


def test_words_in_numbers_have_their_text_behind_the_frames_or_nowhere(tmp_path):
    numbers = np.array([4, 9])
    actual = read_misa(write(tmp_path, [utterance(numbers, actual=[b"so", b"good"])]))["train"]
    assert actual.words == (("so", "good"),)
    assert read_misa(write(tmp_path, [utterance(numbers)]))["train"].words is None


def test_of_the_seven_labels_of_mosei_the_first_is_the_sentiment(tmp_path):
    train = read_misa(write(tmp_path, [utterance(["so"], label=np.array([[-0.5, 9, 0, 0, 0, 0, 0]]))]))["train"]
    assert train.labels is not None
    assert train.labels.tolist() == [-0.5]


def test_a_file_may_have_all_splits_and_a_folder_a_file_for_each(tmp_path):
    content = [utterance(["so"])]
    assert list(read_misa(write(tmp_path, {"train": content, "dev": content}, "mosi.pkl"))) == ["train", "valid"]
    folder = tmp_path / "mosi"
    folder.mkdir()
    for name in ("train.pkl", "dev.pkl", "test.pkl"):
        write(folder, content, name)
    assert set(read_misa(folder)) == {"train", "valid", "test"}
    write(folder, content, "valid.pkl")
    with pytest.raises(DataError, match="one more file of 'valid'"):
        read_misa(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([utterance(["so", "good"], audio=np.zeros((3, 3)))], "row 0: audio has 3 frames for 2 words"),
        ([utterance(["so"]), utterance(["so"], video=np.zeros((1, 5)))], "row 1: video has 5 values a frame, and 2"),
        ([utterance(["so"]), utterance(["so"], label=3.5)], "row 1, is 3.5, which is not on the scale"),
        ([utterance(["so"]), (1, 2)], "row 1, is no utterance of this format"),
        ([utterance(["so"]), utterance([], video=np.zeros((0, 2)), audio=np.zeros((0, 3)))], "has no word"),
        ([], "is no list of utterances"),
    ],
)
def test_an_utterance_that_does_not_fit_is_named(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read_misa(write(tmp_path, content))


def test_code_is_refused_and_a_folder_without_files_too(tmp_path):
    with pytest.raises(DataError, match=r"no file whose name ends in \.pkl"):
        read_misa(tmp_path)
    with pytest.raises(UnsafeFileError, match="system"):
        read_misa(write(tmp_path, [os.system]))
