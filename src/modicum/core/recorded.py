"""The one door to engine and journal: run the jobs that a folder does not hold yet, and record each as it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from modicum.core.engine import Engine
from modicum.core.journal import Journal, job_key
from modicum.core.progress import Progress, silent
from modicum.errors import InputError

Record: TypeAlias = dict[str, Any]
Item = TypeVar("Item")


def run_recorded(
    function: Callable[[Item], Record],
    jobs: Sequence[tuple[str, Record, Item]],
    *,
    engine: Engine,
    folder: Path | None,
    progress: Progress = silent,
    failure: Callable[[BaseException], Record | None] = lambda _error: None,
    retry_failed: bool = False,
) -> tuple[list[Record | None], list[tuple[str, BaseException]]]:
    """Give the record of each job (name, description, item), and what jobs without a record raised, by name."""
    # An error of the input ends the run at once: the others would say the same. Of other errors, ``failure`` may make
    # a record, which is one with the key "failed".
    raised: list[tuple[str, BaseException]] = []
    with nullcontext() if folder is None else Journal(folder) as journal:
        found = [_find(journal, description, retry_failed=retry_failed) for _, description, _ in jobs]
        records = [record for _, record in found]
        missing = [index for index, record in enumerate(records) if record is None]
        done = len(jobs) - len(missing)
        progress(done, len(jobs), "from the journal" if done else "")
        for end in engine.run(function, [jobs[index][2] for index in missing]):
            index, record = missing[end.index], end.value
            name = jobs[index][0]
            if isinstance(end.error, InputError):
                raise end.error
            if end.error is not None:
                record = failure(end.error)
            if record is None:
                raised.append((name, end.error or RuntimeError("it gave no record")))
                continue
            if journal is not None:
                key, description = job_key(found[index][0]), found[index][0]
                journal.put(key, description, record)
                # Another process may have been first in this folder; then both report its record.
                record = journal.get(key) or record
            records[index] = record
            done += 1
            progress(done, len(jobs), f"{name}: {record['failed']}" if "failed" in record else name)
    return records, raised


def _find(journal: Journal | None, description: Record, *, retry_failed: bool) -> tuple[Record, Record | None]:
    # A record is never changed: another try of a job that failed is another job.
    while True:
        record = None if journal is None else journal.get(job_key(description))
        if journal is None or record is None or "failed" not in record:
            return description, record
        following = {**description, "attempt": description["attempt"] + 1}
        if journal.get(job_key(following)) is None:
            return (following, None) if retry_failed else (description, record)
        description = following
