from __future__ import annotations

import numpy as np
import pytest
from tests.unit.fusion.made_up import reader

from modicum.errors import DataError, UnsafeFileError
from modicum.fusion.readers.avec import read_features, read_phq

read_avec = reader("avec")
SEMICOLONS = "name;frameTime;a;b\n'300';0.0;1.5;2\n'300';0.01;nan;-inf\n"
OPENFACE = "frame, timestamp, confidence, success, x\n1, 0.0, 0.98, 1, 0.25\n2, 0.033, 0.97, 1, 0.5\n"


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def folder(tmp_path):
    write(tmp_path / "labels" / "train_split.csv", "Participant_ID,Gender,PHQ_Score\n300,1,4\n3001,0,24\n")
    write(tmp_path / "labels" / "dev_split.csv", "Participant_ID;PHQ8_Score\n301;0\n")
    write(tmp_path / "egemaps" / "300_egemaps.csv", SEMICOLONS)
    write(tmp_path / "egemaps" / "3001_egemaps.csv", SEMICOLONS.replace("1.5", "7"))
    write(tmp_path / "egemaps" / "301_egemaps.csv", SEMICOLONS)
    write(tmp_path / "face" / "300.csv", OPENFACE)
    np.save(tmp_path / "face" / "301.npy", np.ones((3, 1)))
    return tmp_path


def test_scores_are_read_by_either_name(tmp_path):
    assert read_phq(write(tmp_path / "a.csv", "Participant_ID,PHQ_Score\n300,4\n")) == {"300": 4.0}
    assert read_phq(write(tmp_path / "b.csv", "ids;Gender;PHQ8_Score\n300;1;24\n")) == {"300": 24.0}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("300,25\n", r"row 2: 25\.0 is not on the scale of the PHQ-8 from 0 to 24"),
        ("300,4\n301,-1\n", r"row 3: -1\.0 is not on the scale"),
        ("300,nan\n", "row 2: nan is not on the scale"),
        ("300,many\n", "row 2, has the score 'many'"),
        ("300,1\n300,2\n", "row 3: '300' comes twice"),
        ("300\n", "line 2 has 1 cells, expected 2"),
    ],
)
def test_a_score_that_cannot_be_is_named_with_its_row(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        read_phq(write(tmp_path / "a.csv", "Participant_ID,PHQ_Score\n" + rows))


def test_a_missing_column_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no column 'PHQ_Score' or 'PHQ8_Score' or .*; it has 'Participant_ID', 'x'"):
        read_phq(write(tmp_path / "a.csv", "Participant_ID,x\n300,1\n"))


def test_features_are_read_in_each_of_their_forms(tmp_path):
    named = read_features(write(tmp_path / "a.csv", SEMICOLONS))
    assert named[0].tolist() == [1.5, 2.0]
    assert np.isnan(named[1, 0])
    assert read_features(write(tmp_path / "bare.csv", SEMICOLONS.partition("\n")[2])).shape == (2, 2)
    assert read_features(write(tmp_path / "face.csv", OPENFACE)).tolist() == [[0.25], [0.5]]
    np.save(tmp_path / "a.npy", np.ones((3, 2)))
    assert read_features(tmp_path / "a.npy").shape == (3, 2)


def test_features_that_are_none_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"no numeric table \(.*'x'.*row 1"):
        read_features(write(tmp_path / "a.csv", "n;t;a\n1;2;3\n1;2;x\n"))
    with pytest.raises(DataError, match="has 2 columns, and 2 of them are no features"):
        read_features(write(tmp_path / "b.csv", "frame,timestamp\n1,2\n"))
    with pytest.raises(DataError, match="cannot be read"):
        read_features(tmp_path / "nowhere.csv")
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UnsafeFileError, match="pickled objects"):
        read_features(tmp_path / "a.npy")


def test_a_folder_is_read_by_split_and_who_lacks_a_file_lacks_the_stream(tmp_path):
    notes: list[str] = []
    splits = read_avec(folder(tmp_path), say=notes.append)
    assert set(splits) == {"train", "valid"}
    train = splits["train"]
    assert train.ids == ("300", "3001")
    assert train.labels is not None
    assert train.labels.tolist() == [4.0, 24.0]
    assert train.streams["egemaps"].lengths.tolist() == [2, 2]
    assert train.streams["egemaps"].values.tolist() == [[1.5, 2], [0, 0], [7, 2], [0, 0]]
    assert train.streams["face"].lengths.tolist() == [2, 0]
    assert train.replaced == {"egemaps": 4}
    assert splits["valid"].streams["face"].values.tolist() == [[1], [1], [1]]
    assert any("1 of 2 have no face, such as '3001'" in note for note in notes)


def test_a_folder_that_does_not_fit_is_refused(tmp_path):
    with pytest.raises(DataError, match="0 files of scores and 0 streams"):
        read_avec(tmp_path)
    with pytest.raises(DataError, match="is no folder"):
        read_avec(write(tmp_path / "a.csv", ""))
    folder(tmp_path)
    write(tmp_path / "face" / "3001.csv", "1,2,3,4,5,6\n")
    with pytest.raises(DataError, match=r"face has frames of \[1, 6\] values"):
        read_avec(tmp_path)
    write(tmp_path / "dev.csv", "Participant_ID,PHQ_Score\n300,4\n")
    with pytest.raises(DataError, match="are both of valid"):
        read_avec(tmp_path)
    (tmp_path / "dev.csv").unlink()
    (tmp_path / "face" / "3001.csv").unlink()
    (tmp_path / "egemaps" / "3001_egemaps.csv").unlink()
    with pytest.raises(DataError, match=r"'3001' \(row 1\) has no word"):
        read_avec(tmp_path)
    (tmp_path / "face" / "300.csv").unlink()
    with pytest.raises(DataError, match=r"nobody has 'face/\{id\}\*'"):
        read_avec(tmp_path)


def test_columns_are_left_out_by_their_names_alone(tmp_path):
    """COVAREP and FORMANT have no row of names, and all of their columns are features (case 08)."""
    assert read_features(write(tmp_path / "a.csv", "1,2,3,4,5\n6,7,8,9,10\n")).shape == (2, 5)
    assert read_features(write(tmp_path / "b.csv", "a,b,c,d,e,f\n1,2,3,4,5,6\n")).shape == (1, 6)
    assert read_features(write(tmp_path / "c.csv", ",frame,Time,x\n0,1,2,3\n")).tolist() == [[3]]
    assert read_features(write(tmp_path / "d.csv", "x;y\n1;2\n")).tolist() == [[1, 2]]


def test_any_line_end_is_read(tmp_path):
    (tmp_path / "a.csv").write_bytes(OPENFACE.replace("\n", "\r").encode())
    assert read_features(tmp_path / "a.csv").tolist() == [[0.25], [0.5]]
    (tmp_path / "b.csv").write_bytes(b"ids;PHQ8_Score\r300;24\r")
    assert read_phq(tmp_path / "b.csv") == {"300": 24.0}


def daic(folder):
    """DAIC-WOZ as it is downloaded, in small."""
    for split, name in {"train": "303", "dev": "302"}.items():
        write(folder / f"{split}_split_Depression_AVEC2017.csv", f"Participant_ID,PHQ8_Binary,PHQ8_Score\n{name},0,4\n")
    write(folder / "test_split_Depression_AVEC2017.csv", "participant_ID,Gender\n300,0\n")
    for name in ("300", "302", "303"):
        row = ",".join(map(str, range(74)))
        write(folder / f"{name}_P" / f"{name}_COVAREP.csv", f"{row}\n{row}\n")
        write(folder / f"{name}_P" / f"{name}_FORMANT.csv", "1,2,3,4,5\n")
        write(folder / f"{name}_P" / f"{name}_CLNF_AUs.txt", OPENFACE)
        write(folder / f"{name}_P" / f"{name}_TRANSCRIPT.csv", "start_time\tstop_time\tspeaker\tvalue\n")
    return folder


def test_daic_woz_is_read_as_it_is_downloaded(tmp_path):
    notes: list[str] = []
    splits = read_avec(daic(tmp_path), say=notes.append)
    assert {name: part.ids for name, part in splits.items()} == {"train": ("303",), "valid": ("302",), "test": ("300",)}
    sizes = {name: stream.size for name, stream in splits["train"].streams.items()}
    assert sizes == {"covarep": 74, "formant": 5, "clnf_aus": 1}
    assert splits["test"].labels is None
    assert any("has no scores: its participants have no labels" in note for note in notes)
    write(tmp_path / "full_test_split.csv", "Participant_ID,PHQ_Binary,PHQ_Score\n300,0,7\n")
    notes.clear()
    labels = read_avec(tmp_path, say=notes.append)["test"].labels
    assert labels is not None
    assert labels.tolist() == [7]
    assert any("is left out: it has no scores" in note for note in notes)
    assert read_avec(tmp_path)["train"].streams["clnf_aus"].values.tolist() == [[0.25], [0.5]]


def test_files_of_scores_are_known_by_either_spelling(tmp_path):
    for name, person in {"training_labels": 1, "Development_labels": 2, "test_labels": 3}.items():
        write(tmp_path / f"{name}.csv", f"Participant_ID,PHQ_Score\n{person},{person}\n")
        write(tmp_path / "egemaps" / f"{person}_P.csv", "1,2\n")
    splits = read_avec(tmp_path)
    assert {name: part.ids for name, part in splits.items()} == {"train": ("1",), "valid": ("2",), "test": ("3",)}
