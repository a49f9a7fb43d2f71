from __future__ import annotations

import h5py
import numpy as np
import pytest
from tests.unit.fusion.made_up import write_csd

from modicum.errors import DataError, UnsafeFileError
from modicum.fusion.readers.common import Reading
from modicum.fusion.readers.csd import Csd, Timed, cut, read_csd, read_csd_folder


def timed(features, times=None):
    features = np.array(features)
    times = [(place / 10, (place + 1) / 10) for place in range(len(features))] if times is None else times
    return Timed(intervals=np.array(times, dtype=np.float64), features=features)


def stream(**videos):
    return Csd(name="COVAREP", videos=videos)


def raw(path, **datasets):
    with h5py.File(path, "w") as file:
        video = file.create_group("COVAREP/data/abc")
        for name, value in datasets.items():
            video[name] = value
    return path


def test_what_was_written_is_read_again(tmp_path):  # CUBEMLP-C11
    frames = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    words = np.array([["so"], ["naïve"]])
    for features in (frames, words):
        given = Csd(name="A name", videos={"abc": timed(features)})
        write_csd(tmp_path / "a.csd", given)
        read = read_csd(tmp_path / "a.csd")
        assert read.name == given.name
        assert read.is_text == (features is words)
        np.testing.assert_array_equal(read.videos["abc"].features, features)
        np.testing.assert_array_equal(read.videos["abc"].intervals, given.videos["abc"].intervals)


def test_words_may_be_bytes_or_texts_of_any_length(tmp_path):
    times = [[0.0, 0.5]]
    for features in (np.array([[b"so"]]), np.array(["so"], dtype=h5py.string_dtype())):
        sequence = read_csd(raw(tmp_path / "words.csd", features=features, intervals=times))
        assert sequence.videos["abc"].features.tolist() == [["so"]]


@pytest.mark.parametrize(
    ("datasets", "message"),
    [
        ({"features": np.zeros((1, 2))}, "abc: intervals are missing"),
        ({"features": np.zeros((1, 2)), "intervals": [[0.0, np.nan]]}, "abc, frame 0 goes from 0.0 s to nan s"),
        ({"features": np.zeros((1, 2)), "intervals": [[1.0, 0.5]]}, "abc, frame 0 goes from 1.0 s to 0.5 s"),
        ({"features": np.zeros((3, 2)), "intervals": [[0.0, 1.0]]}, "abc: there are 1 intervals for features of shape"),
    ],
)
def test_a_video_whose_times_do_not_fit_is_named(tmp_path, datasets, message):
    with pytest.raises(DataError, match=message):
        read_csd(raw(tmp_path / "a.csd", **datasets))


def test_a_file_that_is_truncated_or_another_is_refused(tmp_path):
    path = tmp_path / "a.csd"
    write_csd(path, stream(abc=timed(np.zeros((500, 20), np.float32))))
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(DataError, match="not a complete HDF5 file"):
        read_csd(path)
    with h5py.File(path, "w") as file:
        file["root/other"] = 1
    with pytest.raises(DataError, match="has no 'data' in '/root'"):
        read_csd(path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("intervals", np.array([[b"0", b"1"]]), "abc: the intervals are not numeric"),
        ("features", np.zeros((1, 1), [("x", "f4")]), "features has neither values nor text"),
        ("features", np.zeros((1, 1, 1)), "features of shape \\(1, 1, 1\\)"),
        ("features/deep", np.zeros(1), "features is no array"),
    ],
)
def test_a_video_of_another_form_is_refused(tmp_path, name, value, message):
    given = {"features": np.zeros((1, 2)), "intervals": [[0.0, 1.0]]}
    given.pop(name.partition("/")[0])
    with pytest.raises(DataError, match=message):
        read_csd(raw(tmp_path / "a.csd", **given, **{name: value}))


def test_a_file_of_another_form_is_refused(tmp_path):
    for names, message in (
        (["x"], "/x is no group"),
        (["x/data"], "/x/data is no group"),
        (["x/data/abc"], "/x/data/abc is no group"),
        (["x/data/abc/features", "y/data"], "has 2 roots"),
    ):
        with h5py.File(tmp_path / "a.csd", "w") as file:
            for name in names:
                file[name] = np.zeros(2)
        with pytest.raises(DataError, match=message):
            read_csd(tmp_path / "a.csd")


def test_a_file_that_refers_to_others_or_is_too_large_is_refused(tmp_path):
    path = raw(tmp_path / "a.csd", features=np.zeros((9, 2)), intervals=np.zeros((9, 2)))
    with pytest.raises(UnsafeFileError, match="at most 200 are read"):
        read_csd(path, max_bytes=200)
    with h5py.File(path, "a") as file:
        del file["COVAREP/data/abc/features"]
        file["COVAREP/data/abc/features"] = h5py.ExternalLink("/etc/passwd", "/x")
    with pytest.raises(UnsafeFileError, match="refers from 'features' to another folder"):
        read_csd(path)


# Two segments of abc with three words and a pause; audio at 10 Hz; no video for def.
WORDS = Csd(
    name="words",
    videos={
        "abc": timed([["good"], ["so"], ["sp"], ["no"]], [(0.2, 0.4), (0.0, 0.2), (0.4, 0.5), (1.0, 1.2)]),
        "def": timed([["hm"]], [(0.0, 0.3)]),
    },
)
AUDIO = stream(abc=timed(np.arange(6.0)[:, None].astype(np.float32)), **{"def": timed([[7.0], [9.0]])})
LABELS = Csd(
    name="Opinion Segment Labels",
    videos={"abc": timed([[2.0], [-1.0]], [(0.0, 0.5), (0.9, 1.3)]), "def": timed([[0.5]], [(0.0, 1.0)])},
)


def test_segments_are_cut_and_frames_brought_to_the_words():
    notes: list[str] = []
    video = stream(abc=timed([[1.0, np.nan]] * 13))
    samples = cut({"audio": AUDIO, "video": video}, Reading(say=notes.append), words=WORDS, labels=LABELS)
    assert samples.ids == ("abc[0]", "abc[1]", "def[0]")
    assert samples.groups == ("abc", "abc", "def")
    assert samples.words == (("so", "good"), ("no",), ("hm",))
    assert samples.streams["audio"][0].tolist() == [[0.5], [2.5]]
    assert samples.streams["audio"].lengths.tolist() == [2, 0, 1]  # the audio ends before the second segment
    assert samples.streams["video"].lengths.tolist() == [2, 1, 0]
    assert samples.labels is not None
    assert samples.labels.tolist() == [2.0, -1.0, 0.5]
    assert samples.replaced == {"video": 13}
    assert any("video lacks 1 of 2 videos, such as 'def'" in note for note in notes)
    assert any("audio has no frame for 1 words" in note for note in notes)


def test_without_words_frames_stay_and_without_labels_a_video_is_a_sample():
    notes: list[str] = []
    samples = cut({"audio": AUDIO}, Reading(say=notes.append), labels=LABELS)
    assert samples.words is None
    assert samples.ids == ("abc[0]", "def[0]")
    assert samples.labels is not None
    assert samples.labels.tolist() == [2.0, 0.5]
    assert samples.streams["audio"][0].ravel().tolist() == [0, 1, 2, 3, 4]
    assert any("1 samples have no word and no frame, and are left out: 'abc[1]' first" in note for note in notes)
    whole = cut({"audio": AUDIO}, Reading(), words=WORDS)
    assert whole.ids == ("abc", "def")
    assert whole.words == (("so", "good", "no"), ("hm",))
    assert whole.labels is None


def test_a_label_off_the_scale_or_without_a_video_is_refused():
    labels = Csd(name="labels", videos={"abc": timed([[3.5]], [(0.0, 0.5)])})
    with pytest.raises(DataError, match=r"row 0, is 3\.5"):
        cut({"audio": AUDIO}, Reading(), labels=labels)
    with pytest.raises(DataError, match="'xyz' has labels, and is in no stream"):
        cut({"audio": AUDIO}, Reading(), labels=Csd(name="labels", videos={"xyz": timed([[1.0]])}))


def test_a_folder_is_read_by_what_its_files_hold(tmp_path):
    for name, sequence in {"covarep": AUDIO, "transcript": WORDS, "opinion_labels": LABELS}.items():
        write_csd(tmp_path / f"{name}.csd", sequence)
    notes: list[str] = []
    samples = read_csd_folder(tmp_path, Reading(say=notes.append))["all"]
    assert list(samples.streams) == ["covarep"]
    assert samples.words == (("so", "good"), ("no",), ("hm",))
    assert notes[:3] == ["covarep: a stream.", "opinion_labels: labels.", "transcript: words."]
    (tmp_path / "covarep.csd").unlink()
    with pytest.raises(DataError, match="has 0 streams, 1 files of labels and 1 of words"):
        read_csd_folder(tmp_path, Reading())


def test_an_array_without_a_shape_is_refused(tmp_path):  # case 21
    path = raw(tmp_path / "a.csd", features=h5py.Empty("f4"), intervals=np.ones((1, 2)))
    with pytest.raises(DataError, match="features is empty"):
        read_csd(path)


def test_frames_of_several_sizes_are_named_with_a_video(tmp_path):  # case 10
    streams = {"audio": stream(a=timed([[1.0]]), b=timed([[1.0, 2.0]]))}
    with pytest.raises(DataError, match="several sizes: 1 in 'a', 2 in 'b'"):
        cut(streams, Reading())
