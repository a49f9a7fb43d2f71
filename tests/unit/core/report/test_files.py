from __future__ import annotations

from pathlib import Path

import pytest

from modicum.core.report import Report, dump, load, markdown, page, write
from modicum.errors import ConfigError


def test_three_files_are_written_and_the_page_is_named(large: Report, small: Report, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "demo"
    assert write([large, small], folder) == folder / "report.html"
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "report.json", "report.md"]
    assert load(folder / "report.json") == (large, small)
    assert (folder / "report.md").read_bytes().decode() == markdown([large, small])
    assert (folder / "report.html").read_bytes().decode() == page([large, small])


def test_a_report_that_is_there_is_replaced(large: Report, small: Report, tmp_path: Path) -> None:
    write([large], tmp_path)
    write([small], tmp_path)
    assert load(tmp_path / "report.json") == (small,)


def test_a_reader_of_the_old_file_never_sees_a_part_of_the_new_one(
    large: Report, small: Report, tmp_path: Path
) -> None:
    # A second name for the old file: it stays whole only if the new one is put in its place, not written over it.
    write([large], tmp_path)
    still_open = tmp_path / "still open"
    still_open.hardlink_to(tmp_path / "report.html")
    write([small], tmp_path)
    assert still_open.read_bytes().decode() == page([large])


def test_a_file_in_place_of_the_folder_is_an_error_that_names_it(small: Report, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    with pytest.raises(ConfigError, match=r"The folder .*taken cannot be made"):
        write([small], taken)
    assert taken.read_text() == "mine"


def test_a_write_that_fails_leaves_no_unfinished_file(small: Report, tmp_path: Path) -> None:
    (tmp_path / "report.md").mkdir()
    with pytest.raises(ConfigError, match=r"report\.md is no file that can be replaced"):
        write([small], tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_page_that_cannot_be_drawn_touches_no_file(small: Report, tmp_path: Path) -> None:
    from dataclasses import replace

    write([small], tmp_path)
    with pytest.raises(ValueError, match="zip"):
        write([replace(small, verdicts=())], tmp_path)
    assert (tmp_path / "report.json").read_text() == dump([small])
