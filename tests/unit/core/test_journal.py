from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
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


WRITER = """
import os, signal, sys
from pathlib import Path
from modicum.core.journal import Journal, job_key
journal = Journal(Path(sys.argv[1]))
for n in range(50):
    journal.put(job_key({"n": n}), {"n": n}, {"value": n})
print("written", flush=True)
sys.stdin.read()
"""


@contextmanager
def writer(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has written 50 rows and holds the journal open, until it is killed."""
    command = [sys.executable, "-c", WRITER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "written\n"
        yield running
        running.kill()


def test_after_a_kill_every_finished_job_is_in_the_file_itself(tmp_path: Path) -> None:
    with writer(tmp_path / "killed"):
        pass
    (tmp_path / "copy").mkdir()
    shutil.copy(tmp_path / "killed" / FILE_NAME, tmp_path / "copy")  # alone, as a careless copy is
    for folder in ("copy", "killed"):
        with Journal(tmp_path / folder) as journal:
            assert len(journal) == 50
    assert [path.name for path in (tmp_path / "copy").iterdir()] == [FILE_NAME]


def test_a_journal_that_was_moved_away_after_a_kill_is_begun_anew(tmp_path: Path) -> None:
    with writer(tmp_path):
        pass
    (tmp_path / FILE_NAME).rename(tmp_path / "away")
    fill(tmp_path, 0, 1)
    with Journal(tmp_path) as journal:
        assert len(journal) == 1


def test_a_second_process_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    with writer(tmp_path) as first:
        with pytest.raises(ConfigError, match="Another process works on the folder"):
            Journal(tmp_path)
        first.kill()  # no lock outlives a kill
        first.wait()
        with Journal(tmp_path) as journal:
            assert len(journal) == 50


def test_a_full_disk_is_told_as_one_and_the_same_run_goes_on(tmp_path: Path) -> None:
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from modicum.core.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n"
        "    for n in range(10_000): journal.put(str(n), {}, {'value': 'x' * 1000})\n"
        "except Exception as error: print(f'{len(journal)} {n} {type(error).__name__}: {error}')\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=60)
    kept, tried, message = done.stdout.split(" ", 2)
    assert int(kept) == int(tried) > 10
    assert "JournalError" in message
    assert "Make room on that disk and run the same again" in message
    assert "damaged" not in message
    with Journal(tmp_path) as journal:
        assert len(journal) == int(kept)


def test_a_leftover_of_a_killed_process_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / f".{FILE_NAME}.{os.getpid()}").write_bytes(b"half a journal")
    fill(tmp_path, 0, 1)
    with Journal(tmp_path) as journal:
        assert len(journal) == 1


@pytest.mark.parametrize("kind", ["folder", "dangling link"])
def test_what_is_no_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / FILE_NAME
    path.mkdir() if kind == "folder" else path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(JournalError, match="is no file"):
        Journal(tmp_path)
    assert not (tmp_path / "nowhere").exists()


def test_a_file_system_without_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    fill(tmp_path / "new", 0, 2)
    fill(tmp_path / "new", 2, 1)
    assert [path.name for path in (tmp_path / "new").iterdir()] == [FILE_NAME]
    with Journal(tmp_path / "new") as journal:
        assert len(journal) == 3


def test_a_run_that_ends_before_its_first_job_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Journal(tmp_path / "runs" / "demo"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    fill(tmp_path, 0, 1)
    with pytest.raises(ZeroDivisionError), Journal(tmp_path):
        raise ZeroDivisionError
    with Journal(tmp_path) as journal:
        assert len(journal) == 1


@pytest.mark.parametrize("damage", ["empty", "text", "torn", "scribbled", "schema"])
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
        case "schema":
            content[content.index(b"CREATE TABLE jobs") + 3] = 0xFF
        case _:
            content[4096:12288] = b"\xff" * 8192
    path.write_bytes(content)
    with pytest.raises(JournalError, match=r"Restore it from a copy, or move it away"):
        Journal(tmp_path)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("UPDATE jobs SET result = '{}' WHERE key = 'k'", "The row k of .* is not what was written"),
        ("UPDATE jobs SET key = 'j' WHERE key = 'k'", "The row j of .* is not what was written"),
        ("DELETE FROM jobs WHERE key = 'k'", "has 3 rows, which are not all"),
    ],
)
def test_a_changed_or_lost_row_is_noticed(tmp_path: Path, change: str, message: str) -> None:
    fill(tmp_path, 0, 3)
    with Journal(tmp_path) as journal:
        journal.put("k", {}, {"value": 1})
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection, connection:
        connection.execute(change)
    with pytest.raises(JournalError, match=message):
        Journal(tmp_path)


def test_a_foreign_database_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    with connection:
        connection.execute("CREATE TABLE jobs (key TEXT)")
    connection.close()
    with pytest.raises(JournalError, match="not a journal of modicum"):
        Journal(tmp_path)


def test_a_part_without_its_journal_is_damage(tmp_path: Path) -> None:
    (tmp_path / f"{FILE_NAME}-journal").write_bytes(b"pages as they were before")
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
