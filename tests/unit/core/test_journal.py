from __future__ import annotations

import multiprocessing
import shutil
import sqlite3
from pathlib import Path

import pytest

from modicum.core.journal import FILE_NAME, Journal, job_key
from modicum.errors import ConfigError, JournalError


def fill(folder: Path, first: int, count: int) -> None:
    with Journal(folder) as journal:
        for number in range(first, first + count):
            journal.put(job_key({"n": number}), {"n": number}, {"value": number, "writer": first})


def test_a_finished_job_is_there_after_reopening(tmp_path: Path) -> None:
    fill(tmp_path, 0, 3)
    with Journal(tmp_path) as journal:
        assert len(journal) == 3
        assert journal.get(job_key({"n": 2})) == {"value": 2, "writer": 0}
        assert journal.get(job_key({"n": 3})) is None


def test_the_first_result_of_a_job_stays(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.put("k", {}, {"value": 1})
        journal.put("k", {}, {"value": 2})
        assert journal.get("k") == {"value": 1}


def test_floats_come_back_bit_for_bit(tmp_path: Path) -> None:
    values = [0.1 + 0.2, 1 / 3, 5e-324, -0.0, 1e308]
    with Journal(tmp_path) as journal:
        journal.put("k", {}, {"values": values})
        back = journal.get("k")
    assert back is not None
    assert [value.hex() for value in back["values"]] == [value.hex() for value in values]


def test_key_depends_on_everything_and_not_on_order() -> None:
    base = {"arm": "sgd", "seed": 0, "options": {"a": "1"}}
    assert job_key(base) == job_key(dict(reversed(base.items())))
    assert len({job_key({**base, "seed": seed}) for seed in range(10)} | {job_key(base)}) == 10
    assert job_key({**base, "options": {"a": "2"}}) != job_key(base)


def test_two_processes_on_one_folder_keep_every_row(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=fill, args=(tmp_path, first, 60)) for first in (0, 40)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    with Journal(tmp_path) as journal:
        assert len(journal) == 100
        for number in range(100):
            row = journal.get(job_key({"n": number}))
            assert row is not None
            assert row["value"] == number
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE_NAME]


@pytest.mark.parametrize("damage", ["empty", "text", "torn", "scribbled"])
def test_damage_is_an_error_and_the_file_is_left_alone(tmp_path: Path, damage: str) -> None:
    fill(tmp_path, 0, 400)
    path = tmp_path / FILE_NAME
    content = bytearray(path.read_bytes())
    match damage:
        case "empty":
            content = bytearray()
        case "text":
            content = bytearray(b"not a database, " * 1000)
        case "torn":
            content = content[: len(content) // 3]
        case _:
            content[4096:12288] = b"\xff" * 8192
    path.write_bytes(content)
    with pytest.raises(JournalError, match=r"Restore it from a copy, or move it away"):
        Journal(tmp_path)
    assert path.read_bytes() == content


def test_a_changed_row_is_noticed(tmp_path: Path) -> None:
    fill(tmp_path, 0, 1)
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    with connection:
        connection.execute("UPDATE jobs SET result = '{\"value\": 7}'")
    connection.close()
    with Journal(tmp_path) as journal, pytest.raises(JournalError, match="is not what was written"):
        journal.get(job_key({"n": 0}))


def test_a_foreign_database_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    with connection:
        connection.execute("CREATE TABLE jobs (key TEXT)")
    connection.close()
    with pytest.raises(JournalError, match="not a journal of modicum"):
        Journal(tmp_path)


def test_a_write_ahead_log_without_its_journal_is_damage(tmp_path: Path) -> None:
    (tmp_path / f"{FILE_NAME}-wal").write_bytes(b"rows that were not merged yet")
    with pytest.raises(JournalError, match="the journal that it belongs to is gone"):
        Journal(tmp_path)
    assert not (tmp_path / FILE_NAME).exists()


def test_a_file_in_place_of_the_folder_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"):
        Journal(tmp_path / "file" / "runs")


def test_rows_survive_a_copy_of_a_closed_folder(tmp_path: Path) -> None:
    fill(tmp_path / "a", 0, 2)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with Journal(tmp_path / "b") as journal:
        assert len(journal) == 2
