from __future__ import annotations

from pathlib import Path

import pytest

from modicum.core.files import check_picture, check_target, replacing
from modicum.errors import ConfigError


def test_a_file_is_replaced_when_all_of_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with replacing(path) as file:
        file.write("new\r\nä\n")
        assert path.read_text() == "old"
    assert path.read_bytes() == "new\r\nä\n".encode()
    assert [*tmp_path.iterdir()] == [path]


def test_an_error_half_way_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as file:
        file.write(str(1 / 0))
    assert path.read_text() == "old"
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("place", ["no/file.txt", "taken/file.txt", "."])
def test_a_place_that_cannot_be_written_is_named(place: str, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    with (
        pytest.raises(ConfigError, match=r"(cannot be written|is no file that can be replaced)"),
        replacing(tmp_path / place),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize("name", ["space.gif", "space", "png", "space.png.txt"])
def test_a_name_that_no_picture_has_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"A picture is a \.png, \.svg, \.pdf file, got {name}\."):
        check_picture(Path(name))


@pytest.mark.parametrize("name", ["space.png", "space.svg", "a.b/space.pdf"])
def test_a_picture_has_one_of_three_endings(name: str) -> None:
    check_picture(Path(name))


def test_two_writers_of_one_file_do_not_meet_and_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    path, other = tmp_path / "file.txt", tmp_path / "other"
    other.write_text("untouched")
    (tmp_path / ".part-file.txt").symlink_to(other)  # the name that parts had once
    with replacing(path) as first, replacing(path) as second:
        first.write("first")
        second.write("second")
    assert path.read_text() == "first"  # the one that ended last
    assert other.read_text() == "untouched"


@pytest.mark.parametrize(
    ("target", "folder", "words"),
    [
        ("taken", True, "is no folder"),
        ("there", False, "is a folder"),
        ("no/file", False, "cannot be written"),
        ("taken/new", True, "cannot be written"),
    ],
)
def test_a_target_that_cannot_be_written_is_found_before_the_work(
    target: str, folder: bool, words: str, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file")
    (tmp_path / "there").mkdir()
    with pytest.raises(ConfigError, match=words):
        check_target(tmp_path / target, folder=folder)


@pytest.mark.parametrize(
    ("target", "folder", "words"),
    [
        ("there/../taken", False, "--out .* is a file that is read"),
        ("link", False, "is a file that is read"),
        ("hard", False, "is a file that is read"),
        ("there", True, "is a folder that is read"),
        ("there/new/er", True, "a folder that is read"),
        ("there/in", False, "a folder that is read"),  # though it links to what is outside
        ("way/new", False, "a folder that is read"),
    ],
)
def test_a_target_that_is_read_is_refused(target: str, folder: bool, words: str, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    (tmp_path / "free").write_text("another")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "in").symlink_to(tmp_path / "free")
    (tmp_path / "link").symlink_to(tmp_path / "taken")
    (tmp_path / "hard").hardlink_to(tmp_path / "taken")
    (tmp_path / "way").symlink_to(tmp_path / "there")
    inputs = [None, "-", "a text in quotes " * 1000, tmp_path / "gone", tmp_path / "taken", str(tmp_path / "there")]
    with pytest.raises(ConfigError, match=words):
        check_target(tmp_path / target, option="--out", folder=folder, inputs=inputs)
    check_target(tmp_path / "free", inputs=inputs)
    check_target(tmp_path, folder=True, inputs=inputs)  # holds what is read


@pytest.mark.parametrize(("target", "folder"), [("new", False), ("taken", False), ("a/b/c", True), ("there", True)])
def test_looking_at_a_target_leaves_nothing(target: str, folder: bool, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    (tmp_path / "there").mkdir()
    check_target(tmp_path / target, folder=folder)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["taken", "there"]
