"""Photos in the layouts that people have, and splits in which nobody is on both sides."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from modicum.core import catalogue
from modicum.errors import DataError
from modicum.liveness.data import Label, Photo, check_split, leave_out, read_photos, split_by_subject


def touch(root: Path, *names: str) -> Path:
    """Make files; nobody opens them."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def some(label: Label, subjects: str, session: str = "1", domain: str = "a") -> list[Photo]:
    """Photos of subjects, one a letter."""
    return [Photo(Path(f"{label}{who}{session}"), label, label, who, session, domain) for who in subjects]


def test_folders_say_domain_part_label_and_species(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = ("one/train/real/a.jpg", "one/test/fake/print/b.PNG", "two/train/fake/c.jpg", "two/notes/d.jpg", "e.txt")
    touch(tmp_path, *names)
    found = {photo.path.name: (photo.label, photo.species, photo.domain) for photo in read_photos(tmp_path)}
    assert found == {
        "a.jpg": ("bona_fide", "bona_fide", "one"),
        "b.PNG": ("attack", "print", "one"),
        "c.jpg": ("attack", "attack", "two"),
    }
    (message,) = caplog.messages
    assert message.startswith("1 images are in no folder real or fake and were left out, such as ")
    assert message.endswith("d.jpg.")
    assert [photo.path.name for photo in read_photos(tmp_path, part="train")] == ["a.jpg", "c.jpg"]
    touch(tmp_path / "flat", "real/a.jpg", "fake/b.jpg")
    assert [photo.domain for photo in read_photos(tmp_path / "flat", part="train")] == [None, None]


def test_a_manifest_has_what_is_known(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "sub/b.jpg")
    rows = "path,label,species,subject,domain,session,x,y,w,h\n"
    (tmp_path / "list.csv").write_text(rows + "a.jpg,Bona Fide,,p1,cam,2,1,2,30,40\nsub/b.jpg,spoof,mask,,,,,,,\n")
    assert read_photos(tmp_path / "list.csv") == [
        Photo(tmp_path / "a.jpg", "bona_fide", "bona_fide", "p1", "2", "cam", (1, 2, 30, 40)),
        Photo(tmp_path / "sub/b.jpg", "attack", "mask"),
    ]


def test_the_polarity_of_0_and_1_has_to_be_said(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    path = tmp_path / "list.csv"
    path.write_text("path,label\na.jpg,0\nb.jpg,1\n")
    with pytest.raises(DataError, match=r"list\.csv, line 2 has the label 0, and nobody said whether 0 or 1 is real"):
        read_photos(path)
    assert [photo.label for photo in read_photos(path, real="1")] == ["attack", "bona_fide"]
    assert [photo.label for photo in read_photos(path, real="0")] == ["bona_fide", "attack"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,label\na.jpg,real\nb.jpg,maybe\n", r"line 3 has the label 'maybe'"),
        ("path,label\na.jpg,real\nnone.jpg,fake\n", r"line 3 names .*none\.jpg, which is no file"),
        ("path,label,x,y\na.jpg,real,1,2\nb.jpg,fake,,\n", r"line 2 has no complete box: 1, 2"),
        ("path,label,x,y,w,h\na.jpg,real,1,2,q,4\nb.jpg,fake,,,,\n", r"line 2 has no complete box"),
        ("path,label,x,y,w,h\na.jpg,real,1,2,inf,4\nb.jpg,fake,,,,\n", r"line 2 has no complete box"),
        ("path\na.jpg\n", "no column label"),
        ("path,label\na.jpg,real\nb.jpg,live\n", "2 photos, none of which is attack"),
    ],
)
def test_a_wrong_manifest_is_refused_and_its_line_named(text: str, words: str, tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        read_photos(tmp_path / "list.csv")


def test_a_manifest_in_json_lines_may_have_cells_of_any_kind(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    rows = '{"path": "a.jpg", "label": "real", "tags": ["x"]}\n{"path": "b.jpg", "label": "fake", "x": [1, 2]}\n'
    (tmp_path / "list.jsonl").write_text(rows)
    with pytest.raises(DataError, match=r"line 2 has no complete box: \[1, 2\]"):
        read_photos(tmp_path / "list.jsonl")
    (tmp_path / "list.jsonl").write_text(rows.replace('"x"', '"y"').replace(', "y": [1, 2]', ""))
    assert len(read_photos(tmp_path / "list.jsonl")) == 2


def test_flips_lists_name_persons(tmp_path: Path) -> None:
    frames = {
        "casia_real_train": ["casia/train/real/1_HR_1_frame0.png"],
        "casia_fake_test": ["casia/test/fake/1_3_frame0.png", "casia/test/fake/2_HR_4_frame1.png"],
        "msu_fake_train": [
            "msu/train/fake/attack_client002_android_SD_ipad_video_scene01_frame0.png",
            "msu/train/fake/attack_client003_laptop_SD_printed_photo_scene01_frame0.png",
        ],
        "oulu_fake_test": ["oulu/test/fake/1_1_36_2_frame0.png", "oulu/test/fake/1_1_36_5_frame0.png"],
        "replay_fake_test": [
            "replay/test/fake/fixed_attack_highdef_client009_session01_highdef_photo_adverse_frame0.png",
            "replay/test/fake/hand_attack_print_client009_session01_highdef_photo_adverse_frame0.png",
        ],
        "celeb_real_train": ["celeb/real/167_live_096546.jpg"],
        "oulu_real_shot": ["oulu/train/real/missing.png"],
    }
    (tmp_path / "txt").mkdir()
    for name, lines in frames.items():
        (tmp_path / "txt" / f"{name}.txt").write_text("\n".join(lines) + "\n")
        touch(tmp_path / "frame", *(line for line in lines if "missing" not in line))
    found = [(photo.subject, photo.label) for photo in read_photos(tmp_path)]
    assert found == [
        ("casia/test/1", "attack"),
        ("casia/test/2", "attack"),
        ("casia/train/1", "bona_fide"),
        (None, "bona_fide"),
        ("msu/002", "attack"),
        ("msu/003", "attack"),
        ("oulu/36", "attack"),
        ("oulu/36", "attack"),
        ("replay/009", "attack"),
        ("replay/009", "attack"),
    ]
    assert len(read_photos(tmp_path, part="train")) == 4
    touch(tmp_path / "frame", "oulu/odd.png")
    (tmp_path / "txt" / "oulu_real_test.txt").write_text("oulu/odd.png\n")
    with pytest.raises(DataError, match=r"odd\.png has no name of oulu"):
        read_photos(tmp_path)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file or folder"):
        read_photos(tmp_path / "nowhere")
    with pytest.raises(DataError, match="0 photos, none of which is bona_fide"):
        read_photos(tmp_path)


def test_nobody_is_on_both_sides() -> None:
    photos = some("bona_fide", "abcdefghij") + some("attack", "abcdefghij")
    train, test = split_by_subject(photos, test=0.4, seed=3)
    assert len({photo.subject for photo in test}) == 4
    assert not {photo.subject for photo in test} & {photo.subject for photo in train}
    assert Counter(photos) == Counter(train + test)
    assert split_by_subject(photos, seed=3) == (train, test)
    assert split_by_subject(photos, seed=4) != (train, test)
    with pytest.raises(DataError, match="The subject a is in both parts, and so are 1 others"):
        check_split(photos, some("attack", "ab"))
    unknown = [Photo(Path(name), "attack", "print") for name in "xy"]
    with pytest.raises(DataError, match="x is in both parts"):
        check_split(unknown, unknown)
    with pytest.raises(DataError, match="Nobody says who is shown on x and 0 other photos"):
        split_by_subject([*photos, Photo(Path("x"), "attack", "print")])
    with pytest.raises(DataError, match="1 subjects cannot be split"):
        split_by_subject(some("attack", "a"))


def test_a_session_that_is_left_out_is_tested_on_other_people() -> None:
    photos = [p for s in "12" for p in some("bona_fide", "abcde", s) + some("attack", "abcde", s)]
    train, test = leave_out(photos, "session", "2", test=0.4)
    assert {photo.session for photo in train} == {"1"}
    assert {photo.session for photo in test} == {"2"}
    assert len({photo.subject for photo in test}) == 2
    assert len({photo.subject for photo in train}) == 3
    with pytest.raises(DataError, match=r"leave out the domain a takes photos of it and of another; there is a\."):
        leave_out(photos, "domain", "a")
    other = some("bona_fide", "xy", domain="b") + some("attack", "xy", domain="b")
    assert leave_out(photos + other, "domain", "b")[1] == other  # other people already


@pytest.mark.data("nuaa-sample")
def test_nuaas_names_say_what_its_list_says() -> None:
    folder = catalogue.fetch("nuaa-sample")
    photos = read_photos(folder)
    rows = {row["path"]: row for row in csv.DictReader((folder / "list.csv").read_text().splitlines())}
    assert len(photos) == len(rows) == 1200
    for photo in photos:
        row = rows[photo.path.relative_to(folder).as_posix()]
        assert (photo.label == "bona_fide", photo.subject, photo.session) == (
            row["label"] == "real",
            row["subject"],
            row["session"],
        )
    assert Counter((photo.label, photo.session) for photo in photos) == {
        (label, session): 200 for label in ("bona_fide", "attack") for session in "123"
    }
