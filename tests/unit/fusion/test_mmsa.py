from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
from tests.unit.fusion.made_up import reader

from modicum.errors import DataError, UnsafeFileError
from modicum.fusion.readers import open_recordings

read_mmsa = reader("mmsa")
SIZES = {"text": (6, 4), "audio": (8, 3), "vision": (5, 2)}
LENGTHS = {"text": (6, 3), "audio": (7, 2), "vision": (5, 1)}


def padded(name, *, front=False, size=None):
    frames, width = SIZES[name]
    frames = size or frames
    array = np.zeros((2, frames, width))
    for sample, length in enumerate(LENGTHS[name]):
        real = slice(frames - length, frames) if front else slice(0, length)
        array[sample, real] = np.random.default_rng(sample).normal(size=array[sample, real].shape)
    return array


def split(*, front=False, size=None, **changed):
    mask = np.arange(size or 6) < np.array(LENGTHS["text"])[:, None]
    part = {
        "raw_text": ["it was good", "no"],
        "id": ["abc$_$1", "abc$_$12"],
        "text": padded("text", size=size) + 0.5,  # as with BERT, padding is not zero
        "text_bert": np.stack([mask * 7, mask, 0 * mask], axis=1).astype(np.float32),
        "audio": padded("audio", front=front, size=size),
        "vision": padded("vision", front=front, size=size),
        "regression_labels": np.array([1.4, -3.0]),
        "regression_labels_T": np.array([0.4, 0.6]),
    }
    return {key: value for key, value in (part | changed).items() if value is not None}


def write(tmp_path, **splits):
    path = tmp_path / "unaligned.pkl"
    path.write_bytes(pickle.dumps(splits))
    return path


def test_an_unaligned_file_gives_each_stream_its_own_length(tmp_path):
    notes: list[str] = []
    part = split(audio_lengths=[7, 2], vision_lengths=np.array([5, 1]))
    recordings = read_mmsa(write(tmp_path, train=part, valid=part, test=part), say=notes.append)
    train = recordings["train"]
    assert list(recordings) == ["train", "valid", "test"]
    assert {name: stream.lengths.tolist() for name, stream in train.streams.items()} == {
        "text": [6, 3],
        "audio": [7, 2],
        "video": [5, 1],
    }
    np.testing.assert_array_equal(train.streams["audio"][1], part["audio"][1, :2].astype(np.float32))
    assert train.ids == ("abc$_$1", "abc$_$12")
    assert train.groups == ("abc", "abc")
    assert train.words == (("it", "was", "good"), ("no",))
    assert train.labels is not None
    assert train.labels.tolist() == [np.float32(1.4), -3.0]
    assert any("train: audio has padding at the back" in note for note in notes)


def test_without_lengths_padding_is_found_on_either_side(tmp_path):
    for front in (False, True):
        notes: list[str] = []
        part = split(front=front)
        train = read_mmsa(write(tmp_path, train=part), say=notes.append)["train"]
        assert train.streams["audio"].lengths.tolist() == [7, 2]
        real = part["audio"][1, 6:] if front else part["audio"][1, :2]
        np.testing.assert_array_equal(train.streams["audio"][1], real.astype(np.float32))
        assert any(f"audio has padding at the {'front' if front else 'back'}" in note for note in notes)


def test_zeros_on_the_other_side_of_the_padding_are_frames(tmp_path):
    part = split()
    part["audio"][1, 0] = 0
    audio = read_mmsa(write(tmp_path, train=part))["train"].streams["audio"]
    assert audio.lengths.tolist() == [7, 2]
    assert not audio[1][0].any()


def test_frames_of_an_aligned_file_stay_with_their_word(tmp_path):
    part = split(size=6)  # of the text, 6 and 3 pieces
    part["audio"] = padded("vision", size=6)
    part["vision"] = np.ones((2, 6, 2))
    part["vision"][:, 0] = 0
    part["vision"][1, 2:] = 0  # the text of this sample has 3 pieces, the video 2
    streams = read_mmsa(write(tmp_path, train=part))["train"].streams
    assert {tuple(stream.lengths.tolist()) for stream in streams.values()} == {(6, 3)}
    assert streams["video"][1].tolist() == [[0, 0], [1, 1], [0, 0]]


def test_a_stream_of_zeros_is_absent_whatever_its_length_says(tmp_path):
    part = split(audio_lengths=[7, 2], vision_lengths=[5, 1])
    part["vision"][1] = 0
    assert read_mmsa(write(tmp_path, train=part))["train"].streams["video"].lengths.tolist() == [5, 0]


def test_values_that_are_not_finite_are_zero_and_counted(tmp_path):
    notes: list[str] = []
    part = split()
    part["audio"][0, 0] = -np.inf
    train = read_mmsa(write(tmp_path, train=part), say=notes.append)["train"]
    assert not train.streams["audio"][0][0].any()
    assert train.replaced == {"audio": 3}
    assert any("3 values of audio are not finite" in note for note in notes)


def test_word_pieces_may_be_float_and_are_integers(tmp_path):
    assert read_mmsa(write(tmp_path, train=split()))["train"].streams["text"].lengths.tolist() == [6, 3]
    wrong = np.full((2, 3, 6), 0.5)
    with pytest.raises(DataError, match="values that are not integers"):
        read_mmsa(write(tmp_path, train=split(text_bert=wrong)))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"id": None}, "has no 'id'"),
        ({"audio": np.zeros((2, 3))}, "audio has the shape \\(2, 3\\), not 3 axes"),
        ({"audio": np.ones((3, 8, 3))}, "different numbers of samples in its streams"),
        ({"audio": [["a"]]}, "holds no numeric array"),
        ({"audio_lengths": [7]}, "2 samples and 1 lengths"),
        ({"audio_lengths": [7, 9]}, "row 1, has 9 frames by its length, and room for 8"),
        ({"text_bert": np.zeros((2, 3, 5))}, "a mask of \\(2, 5\\)"),
        ({"regression_labels": np.array([0.0, 3.2])}, "row 1, is 3.2\\d*, which is not on the scale from -3.0 to 3.0"),
        ({"regression_labels": np.array([0.0, np.nan])}, "row 1, is nan"),
        ({"regression_labels": np.array([1.0])}, "There are 2 samples, but labels has 1"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path, changed, message):
    with pytest.raises(DataError, match=message):
        read_mmsa(write(tmp_path, train=split(**changed)))


def test_an_empty_utterance_is_named(tmp_path):
    part = split(raw_text=["it was good", ""])
    part["text_bert"][1] = part["audio"][1] = part["vision"][1] = 0
    with pytest.raises(DataError, match="'abc\\$_\\$12' \\(row 1\\) has no word"):
        read_mmsa(write(tmp_path, train=part))


def test_a_pickle_without_splits_or_with_code_is_refused(tmp_path):
    with pytest.raises(DataError, match="none is a split"):
        read_mmsa(write(tmp_path, other=split()))
    with pytest.raises(UnsafeFileError, match="system"):
        read_mmsa(write(tmp_path, train=os.system))


def test_splits_are_known_in_any_spelling_and_what_is_left_out_is_said(tmp_path):  # case 09
    notes: list[str] = []
    part = split()
    assert list(read_mmsa(write(tmp_path, Training=part, validation=part, TEST=part))) == ["train", "valid", "test"]
    assert list(read_mmsa(write(tmp_path, train=part, test_2=part), say=notes.append)) == ["train"]
    assert any("'test_2' is no split, and left out" in note for note in notes)
    with pytest.raises(DataError, match="has the parts 'val' and 'dev', both of valid"):
        read_mmsa(write(tmp_path, train=part, val=part, dev=part))


def test_labels_above_the_scale_are_clipped_if_asked_for(tmp_path):  # case 17
    path, notes = write(tmp_path, train=split(regression_labels=np.array([11 / 3, 1]))), list[str]()
    with pytest.raises(DataError, match=r"row 0, is 3.66.*: the sample 'abc\$_\$1'. .*--clip-labels"):
        open_recordings(path)
    opened = open_recordings(path, clip_labels=True)
    labels = opened.splits["train"].labels
    assert labels is not None
    assert labels.tolist() == [3, 1]
    assert any("1 labels were not on the scale" in note for note in [*opened.notes, *notes])


def test_ids_are_kept_and_no_video_is_guessed_from_a_number(tmp_path):  # case 17
    opened = open_recordings(write(tmp_path, train=split(id=["clip_0001", "clip_0002"])))
    assert opened.splits["train"].groups == opened.splits["train"].ids == ("clip_0001", "clip_0002")
    assert any("no id says a video" in note for note in opened.notes)


def test_lengths_that_are_none_are_found_and_others_that_are_no_integers_refused(tmp_path):  # cases 17 and 21
    train = read_mmsa(write(tmp_path, train=split(audio_lengths=[None, None])))["train"]
    assert train.streams["audio"].lengths.tolist() == [7, 2]
    for wrong in ({"a": 1}, [None, 2]):
        with pytest.raises(DataError, match=r"The lengths of .* are no integers"):
            read_mmsa(write(tmp_path, train=split(audio_lengths=wrong)))


def test_a_file_may_lack_a_modality_or_its_labels(tmp_path):
    opened = open_recordings(
        write(tmp_path, train=split(vision=None, regression_labels=None, regression_labels_T=None))
    )
    assert (opened.format, list(opened.splits["train"].streams)) == ("mmsa", ["text", "audio"])
    assert opened.splits["train"].labels is None
    assert any("has no vision" in note for note in opened.notes)
