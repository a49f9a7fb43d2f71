from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from modicum.core.catalogue import fetch
from modicum.errors import DataError
from modicum.fusion.readers.catalogue import read_mosi, windows
from modicum.fusion.recordings import Ragged, Recordings


@pytest.fixture(scope="module")
def mosi() -> dict[str, Recordings]:
    return read_mosi(fetch("mosi-features"))


@pytest.mark.data("mosi-features")
def test_counts_are_the_published_ones(mosi):  # CUBEMLP-C10
    train, test = mosi["train"], mosi["test"]
    assert (len(train), len(test)) == (1447, 752)
    assert (len(set(train.groups)), len(set(test.groups))) == (62, 31)
    assert not set(train.groups) & set(test.groups)
    assert (train.labels.sum(), test.labels.sum()) == (709, 467)
    for recordings in (train, test):
        assert {name: stream.size for name, stream in recordings.streams.items()} == {
            "text": 100,
            "audio": 73,
            "video": 100,
        }
        assert all((stream.lengths == 1).all() for stream in recordings.streams.values())
        assert recordings.replaced == {}


@pytest.mark.data("mosi-features")
def test_samples_come_in_the_order_of_the_transcripts(mosi):
    assert mosi["test"].ids[:2] == ("03bSnISJMiM_1", "03bSnISJMiM_10")
    assert mosi["test"].words is not None
    assert mosi["test"].words[0] == ("ANYHOW", "IT", "WAS", "REALLY", "GOOD")


@pytest.mark.data("mosi-features")
@pytest.mark.parametrize(
    ("streams", "accuracy"),
    [(("text",), 0.757), (("audio",), 0.557), (("video",), 0.515), (("text", "audio", "video"), 0.767)],
)
def test_logistic_regression_has_the_published_accuracy(mosi, streams, accuracy):  # CUBEMLP-C10
    # With this C the four numbers of the specification come out; it does not tell the settings it had.
    x = {split: np.concatenate([mosi[split].streams[name].values for name in streams], axis=1) for split in mosi}
    y = {split: mosi[split].labels for split in mosi}
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01)).fit(x["train"], y["train"])
    assert model.score(x["test"], y["test"]) == pytest.approx(accuracy, abs=0.0014)  # one utterance


def utterances(ids, *, lengths=None, groups=None):
    lengths = np.ones(len(ids), dtype=np.int64) if lengths is None else np.array(lengths)
    values = np.arange(1, lengths.sum() + 1, dtype=np.float32)[:, None]
    groups = tuple(name.rpartition("_")[0] for name in ids) if groups is None else groups
    return Recordings(ids=tuple(ids), streams={"text": Ragged(values=values, lengths=lengths)}, groups=groups)


def test_neighbours_are_frames_in_time_order_and_the_utterance_has_its_place():
    window = windows(utterances(["a_1", "a_10", "a_2", "b_1"]), 1, 2)
    frames = [window.streams["text"][sample].ravel().tolist() for sample in range(4)]
    assert frames == [[0, 1, 3, 2], [3, 2, 0, 0], [1, 3, 2, 0], [0, 4, 0, 0]]
    assert window.ids == ("a_1", "a_10", "a_2", "b_1")


def test_a_neighbour_without_the_stream_is_zero():
    window = windows(utterances(["a_1", "a_2", "a_3"], lengths=[1, 0, 1]), 1, 0)
    assert window.streams["text"].values.ravel().tolist() == [0, 1, 1, 0, 0, 2]


def test_a_window_of_the_utterance_alone_changes_nothing():
    given = utterances(["a_2", "a_1"])
    assert windows(given, 0, 0).streams["text"].values.tolist() == given.streams["text"].values.tolist()


@pytest.mark.parametrize(
    ("recordings", "message"),
    [
        (utterances(["a_1", "a_x"]), "'a_x' has no number"),
        (utterances(["a_1"], lengths=[2]), "several frames of text"),
        (utterances(["a_1"], groups=()), "have no groups"),
    ],
)
def test_what_has_no_neighbours_is_refused(recordings, message):
    with pytest.raises(DataError, match=message):
        windows(recordings, 1, 1)


def write(folder, *, labels=(1, 0), transcripts=('"a_1","SO GOOD","1","1"', '"a_2","NO","1","0"'), rows=(0, 1)):
    (folder / "transcripts.csv").write_text("\n".join(transcripts))
    for split in ("train", "test"):
        (folder / f"text_{split}.csv").write_text("".join(f'"{row}","0.5"\n' for row in rows))
        for name in ("text", "audio", "video"):
            (folder / name).mkdir(exist_ok=True)
            text = "".join(f'"{place}","0.25","{label}"\n' for place, label in enumerate(labels))
            (folder / name / f"{name}_{split}0.csv").write_text(text)


def test_rows_are_brought_to_the_order_of_the_transcripts(tmp_path):
    write(tmp_path, rows=(1, 0), labels=(0, 1))
    train = read_mosi(tmp_path)["train"]
    assert train.ids == ("a_1", "a_2")
    assert train.streams["audio"].values.tolist() == [[1, 0.25], [0, 0.25]]
    assert train.labels is not None
    assert train.labels.tolist() == [1, 0]


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    write(tmp_path, labels=(1, 1))
    with pytest.raises(DataError, match="text, train, row 1, has the label 1, and its transcript 0"):
        read_mosi(tmp_path)
    write(tmp_path, labels=(1, 0, 1))
    with pytest.raises(DataError, match="has 3 rows for 2 utterances"):
        read_mosi(tmp_path)
    write(tmp_path, rows=(0, 2))
    with pytest.raises(DataError, match="has rows up to 2 of 2 transcripts"):
        read_mosi(tmp_path)
    write(tmp_path, labels=(7, 0))
    with pytest.raises(DataError, match="row 0, has the label 7"):
        read_mosi(tmp_path)
    write(tmp_path, transcripts=('"a_1","SO GOOD","1","1"', '"a_2","NO","1","maybe"'))
    with pytest.raises(DataError, match=r"transcripts\.csv of .*, row 1, is .*, not \(id"):
        read_mosi(tmp_path)
    (tmp_path / "transcripts.csv").unlink()
    with pytest.raises(DataError, match=r"transcripts\.csv cannot be read"):
        read_mosi(tmp_path)
