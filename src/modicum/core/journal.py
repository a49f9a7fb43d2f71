"""The record of finished jobs: a run that was killed goes on where it stopped, and nothing is lost.

One SQLite file in WAL mode, one row a finished job. The key of a row is the hash of everything that determines
the result, so a change of seed, option, code or library version is a new job, and an old row is never mistaken
for it. Several processes may work on one folder; the first result of a job stays. WAL needs a local disk: SQLite
does not support it over network file systems.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from modicum.errors import ConfigError, JournalError

__all__ = ["FILE_NAME", "Journal", "job_key"]

FILE_NAME = "journal.sqlite"
_APPLICATION = 0x6D6F6469  # "modi": SQLite keeps it in the header, so that a foreign database is noticed
_VERSION = 1
_PATIENCE = 60.0  # seconds to wait for another process that is writing
_HINT = "Restore it from a copy, or move it away: the next run then starts from nothing in that folder."


def job_key(description: Mapping[str, Any]) -> str:
    """Hash everything that determines a result.

    Args:
        description: plain JSON data; the order of keys does not matter.

    Returns:
        64 hexadecimal digits (SHA-256 of the canonical JSON).

    Example:
        >>> job_key({"arm": "sgd", "seed": 0}) == job_key({"seed": 0, "arm": "sgd"})
        True
    """
    canonical = json.dumps(description, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


class Journal:
    """Finished jobs of one folder, on disk.

    Args:
        folder: where the journal lies; made if it is missing.

    Raises:
        ConfigError: if the folder cannot be made or written.
        JournalError: if the file is damaged, empty or not a journal of this version. It is left as it is.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not self.path.exists():
                self._create()
        except OSError as error:
            raise ConfigError(
                f"The folder {folder} cannot be written ({error.strerror or error}).",
                hint="Name another one with --out, or change its permissions.",
            ) from error
        self._connection = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        with self._translated():
            (count,) = self._connection.execute("SELECT count(*) FROM jobs").fetchone()
        return int(count)

    def get(self, key: str) -> dict[str, Any] | None:
        """Look up the result of a finished job; None if it is not there.

        Raises:
            JournalError: if the row is not what was written.
        """
        with self._translated():
            row = self._connection.execute("SELECT result, digest FROM jobs WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        result, digest = row
        if hashlib.sha256(result.encode()).hexdigest() != digest:
            raise JournalError(f"The row {key[:12]} of {self.path} is not what was written.", hint=_HINT)
        return json.loads(result)

    def put(self, key: str, description: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        """Record a finished job, durably; if another process was first, its result stays."""
        text = json.dumps(result, sort_keys=True, allow_nan=False)
        row = (key, json.dumps(description, sort_keys=True), text, hashlib.sha256(text.encode()).hexdigest())
        with self._translated(), self._connection:
            self._connection.execute(
                "INSERT OR IGNORE INTO jobs (key, description, result, digest) VALUES (?, ?, ?, ?)", row
            )

    def close(self) -> None:
        """Close the file; the journal cannot be used afterwards."""
        self._connection.close()

    def _create(self) -> None:
        leftovers = [name for suffix in ("-wal", "-shm") if (name := Path(f"{self.path}{suffix}")).exists()]
        if leftovers:
            raise JournalError(f"{leftovers[0]} is there, but the journal that it belongs to is gone.", hint=_HINT)
        # Made aside and linked into place: nobody ever sees half a journal, and of two makers one wins.
        aside = self.path.with_name(f".{FILE_NAME}.{os.getpid()}")
        try:
            with closing(sqlite3.connect(aside)) as connection, connection:
                connection.execute(
                    "CREATE TABLE jobs (key TEXT PRIMARY KEY, description TEXT NOT NULL, result TEXT NOT NULL, "
                    "digest TEXT NOT NULL, finished TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP) STRICT, WITHOUT ROWID"
                )
                connection.execute(f"PRAGMA application_id = {_APPLICATION}")
                connection.execute(f"PRAGMA user_version = {_VERSION}")
            try:
                os.link(aside, self.path)
            except FileExistsError:
                return
        except sqlite3.OperationalError as error:
            raise OSError(str(error)) from error
        finally:
            aside.unlink(missing_ok=True)

    def _open(self) -> sqlite3.Connection:
        if self.path.stat().st_size == 0:
            raise JournalError(f"{self.path} is empty.", hint=_HINT)
        connection = sqlite3.connect(self.path, timeout=_PATIENCE)
        try:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if application != _APPLICATION:
                raise JournalError(f"{self.path} is a database, but not a journal of modicum.", hint=_HINT)
            if version != _VERSION:
                raise JournalError(f"{self.path} has version {version}, this modicum reads {_VERSION}.", hint=_HINT)
            (state,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if state != "ok":
                raise JournalError(f"{self.path} is damaged ({state}).", hint=_HINT)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
        except sqlite3.OperationalError as error:
            connection.close()
            raise ConfigError(
                f"{self.path} cannot be opened for writing ({error}).",
                hint="Name another folder with --out, change its permissions, or wait for the other process.",
            ) from error
        except sqlite3.DatabaseError as error:
            connection.close()
            raise JournalError(f"{self.path} is damaged ({error}).", hint=_HINT) from error
        except JournalError:
            connection.close()
            raise
        return connection

    @contextmanager
    def _translated(self) -> Generator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise JournalError(f"{self.path} cannot be used any more ({error}).", hint=_HINT) from error
