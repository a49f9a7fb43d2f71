from __future__ import annotations

from pathlib import Path

import pytest

from modicum.core.files import check_picture, replacing
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
