"""The record of finished jobs: a run that was killed goes on where it stopped, and nothing is lost.

One SQLite file, one row a finished job, each committed to the file itself before `Journal.put` returns: there is no
write-ahead log that a copy could leave out. The key of a row is the hash of everything that determines the result, so
a change of seed, option, code or library version is a new job, and an old row is never mistaken for it. The file knows
how many rows it has, and a row its digest: what is lost or changed is noticed when the journal is opened.

One process at a time works on a folder: it holds SQLite's lock of the file, which ends with the process.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import sqlite3
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from modicum.errors import ConfigError, JournalError, ModicumError

FILE_NAME = "journal.sqlite"
_APPLICATION = 0x6D6F6469  # "modi": SQLite keeps it in the header, so that a foreign database is noticed
_VERSION = 3
_PATIENCE = 2.0  # seconds: a process that is about to end may still hold the lock
_HINT = "Restore it from a copy, or move it away: the next run then starts from nothing in that folder."
_TABLES = """
CREATE TABLE jobs (
    key TEXT PRIMARY KEY, description TEXT NOT NULL, result TEXT NOT NULL, digest TEXT NOT NULL,
    finished TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) STRICT, WITHOUT ROWID;
CREATE TABLE total (jobs INTEGER NOT NULL) STRICT;
INSERT INTO total (jobs) VALUES (0);
"""
# Made when the first report is: journals of before have none.
_LOOKS = "CREATE TABLE IF NOT EXISTS looks (question TEXT PRIMARY KEY, seeds TEXT NOT NULL) STRICT"


def job_key(description: Mapping[str, Any]) -> str:
    """Hash everything that determines a result."""
    canonical = json.dumps(description, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


class Journal:
    """Finished jobs of one folder, on disk."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self._made = [each for each in (folder, *folder.parents) if not each.exists()]
        self._new = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not os.path.lexists(self.path):
                self._new = self._create()
        except OSError as error:
            raise ConfigError(
                f"The folder {folder} cannot be written ({error.strerror or error}).",
                hint="Name another one with --out, or change its permissions.",
            ) from error
        if not self.path.is_file():
            raise JournalError(f"{self.path} is no file.", hint=_HINT)
        if self.path.stat().st_size == 0:
            raise JournalError(f"{self.path} is empty.", hint=_HINT)
        with self._translated():
            # Never makes a file; and a writer of another process is waited for as long as _PATIENCE.
            address = f"{self.path.absolute().as_uri()}?mode=rw"
            self._connection = sqlite3.connect(address, uri=True, timeout=_PATIENCE)
        try:
            with self._translated():
                self._lock_and_check()
        except ModicumError:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None and self._new and not self._count():
            self.path.unlink()
            self.close()
            with suppress(OSError):  # somebody else's file is in it
                for folder in self._made:
                    folder.rmdir()
        self.close()

    def __len__(self) -> int:
        with self._translated():
            return self._count()

    def get(self, key: str) -> dict[str, Any] | None:
        """Look up the result of a finished job; None if it is not there."""
        with self._translated():
            row = self._connection.execute("SELECT result FROM jobs WHERE key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def descriptions(self) -> list[dict[str, Any]]:
        """Give the descriptions of the finished jobs."""
        with self._translated():
            rows = self._connection.execute("SELECT description FROM jobs").fetchall()
        return [json.loads(description) for (description,) in rows]

    def look(self, question: str, seeds: Sequence[int]) -> tuple[int, ...]:
        """Note the seeds of a report that is made, and give those of the first one on the same question."""
        with self._translated(), self._connection:
            self._connection.execute(_LOOKS)
            self._connection.execute("INSERT OR IGNORE INTO looks VALUES (?, ?)", (question, json.dumps(list(seeds))))
            (first,) = self._connection.execute("SELECT seeds FROM looks WHERE question = ?", (question,)).fetchone()
        return tuple(json.loads(first))

    def put(self, key: str, description: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        """Record a finished job, durably; a first result stays."""
        row = (key, json.dumps(description, sort_keys=True), json.dumps(result, sort_keys=True, allow_nan=False))
        with self._translated(), self._connection:
            self._connection.execute(
                "INSERT OR IGNORE INTO jobs (key, description, result, digest) VALUES (?, ?, ?, ?)",
                (*row, _digest(*row)),
            )
            self._connection.execute("UPDATE total SET jobs = jobs + changes()")

    def close(self) -> None:
        """Close the file; the journal cannot be used afterwards."""
        with suppress(sqlite3.Error):
            # Back to a shared lock, or SQLite leaves its emptied rollback journal next to the file.
            self._connection.execute("PRAGMA locking_mode = NORMAL")
            self._count()
        self._connection.close()

    def _create(self) -> bool:
        for suffix in ("-journal", "-wal"):
            left = Path(f"{self.path}{suffix}")
            if left.is_file() and left.read_bytes()[:8].strip(b"\0"):  # SQLite clears the head when a row is finished
                raise JournalError(f"{left} is there, but the journal that it belongs to is gone.", hint=_HINT)
        # Written under another name and linked into place: nobody ever sees half a journal, and of two makers one wins.
        part = self.path.with_name(f".{FILE_NAME}.{secrets.token_hex(8)}")
        try:
            with self._translated(), closing(sqlite3.connect(part)) as connection:
                connection.executescript(
                    f"BEGIN;{_TABLES}PRAGMA application_id = {_APPLICATION};PRAGMA user_version = {_VERSION};COMMIT;"
                )
            try:
                os.link(part, self.path)
            except OSError as error:
                if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.ENOSYS}:
                    raise
                self.path.open("x").close()  # on a file system without links (exFAT) it is empty for a moment
                part.replace(self.path)
        except FileExistsError:
            return False
        finally:
            part.unlink(missing_ok=True)
        return True

    def _lock_and_check(self) -> None:
        connection = self._connection
        # Before the first read, so that a half-written row of a killed process is taken back under our lock.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE").execute("COMMIT")
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if application != _APPLICATION:
            raise JournalError(f"{self.path} is a database, but not a journal of modicum.", hint=_HINT)
        if version != _VERSION:
            raise JournalError(f"{self.path} has version {version}, this modicum reads {_VERSION}.", hint=_HINT)
        (state,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if state != "ok":
            raise JournalError(f"{self.path} is damaged ({state}).", hint=_HINT)
        found = 0
        for key, description, result, digest in connection.execute("SELECT key, description, result, digest FROM jobs"):
            found += 1
            if _digest(key, description, result) != digest:
                raise JournalError(f"The row {key[:12]} of {self.path} is not what was written.", hint=_HINT)
        totals = connection.execute("SELECT jobs FROM total").fetchall()
        if totals != [(found,)]:
            raise JournalError(f"{self.path} has {found} rows, which are not all that were written.", hint=_HINT)
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA synchronous = EXTRA")

    def _count(self) -> int:
        (count,) = self._connection.execute("SELECT count(*) FROM jobs").fetchone()
        return int(count)

    @contextmanager
    def _translated(self) -> Generator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _as_error(error, self.path) from error
        except UnicodeDecodeError as error:  # a damaged text, or an error message that quotes one
            raise JournalError(f"{self.path} is damaged ({error}).", hint=_HINT) from error


def _digest(*fields: str) -> str:
    return hashlib.sha256(json.dumps(fields).encode()).hexdigest()


def _as_error(error: sqlite3.Error, path: Path) -> ModicumError:
    match getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return ConfigError(
                f"Another process works on the folder {path.parent}.",
                hint="Wait until it has ended, then run the same again; or name another folder.",
            )
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR:
            return JournalError(
                f"{path} cannot be written ({error}).",
                hint="Make room on that disk and run the same again: the finished jobs before it are kept.",
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return ConfigError(
                f"The folder {path.parent} cannot be written ({error}).",
                hint="Name another one with --out, or change its permissions.",
            )
        case _:
            return JournalError(f"{path} is damaged ({error}).", hint=_HINT)
