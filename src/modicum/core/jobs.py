"""The jobs of a comparison: described, run, recorded, and not run twice."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from modicum.core.engine import Engine
from modicum.core.environment import code_digest, library_versions, tree_digest
from modicum.core.journal import Journal, job_key
from modicum.core.measure import measured
from modicum.core.method import Arm, Job, Measurement
from modicum.core.progress import Progress, silent
from modicum.errors import ConfigError, InputError, JobFailedError, ModicumError

Record: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Task:
    """An arm, what it is told, and the names of its secondary metrics and costs."""

    arm: Arm
    job: Job
    beside: tuple[str, ...] = ()
    costs: tuple[str, ...] = ()


def finish(
    tasks: Sequence[Task], *, method: str, engine: Engine, folder: Path | None, progress: Progress = silent
) -> dict[tuple[str, int], Record]:
    """Run the tasks that the journal does not hold yet."""
    descriptions = [_describe(task, method, engine) for task in tasks]
    described = {job_key(entry): (entry, task) for entry, task in zip(descriptions, tasks, strict=True)}
    failures: list[tuple[Task, BaseException]] = []
    with nullcontext() if folder is None else Journal(folder) as journal:
        records = {key: record for key in described if journal is not None and (record := journal.get(key)) is not None}
        progress(len(records), len(described), "from the journal" if records else "")
        missing = [key for key in described if key not in records]
        for end in engine.run(_execute, [described[key][1] for key in missing]):
            key = missing[end.index]
            description, task = described[key]
            if isinstance(end.error, InputError):
                raise end.error
            if end.error is not None:
                failures.append((task, end.error))
                continue
            records[key] = _record(journal, key, description, end.value or {})
            progress(len(records), len(described), f"{task.arm.name}, seed {task.job.seed}")
    if failures:
        error = _failed(failures, total=len(described), folder=folder)
        raise error from failures[0][1]
    return {(task.arm.name, task.job.seed): records[key] for key, (_, task) in described.items()}


def _describe(task: Task, method: str, engine: Engine) -> Record:
    # Everything that determines the result, and nothing that does not.
    job = task.job
    return {
        "method": method,
        "arm": task.arm.name,
        "seed": job.seed,
        "budget": job.budget,
        "device": job.device,
        "options": dict(job.options),
        "data": tree_digest(job.data) if job.data else None,
        "threads": engine.threads,
        "code": code_digest(task.arm.run),
        "libraries": library_versions(),
    }


def _execute(task: Task) -> Record:
    measurement, cost = measured(lambda: task.arm.run(task.job))
    if not isinstance(measurement, Measurement):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise JobFailedError(
            f"The arm {task.arm.name} returned {type(measurement).__name__}, not a Measurement.",
            hint="Return modicum.core.method.Measurement(value=...) from its run function.",
        )
    for kind, found, declared in (
        ("beside", measurement.beside, task.beside),
        ("costs", measurement.costs, task.costs),
    ):
        if unknown := sorted(set(found) - set(declared)):
            raise ConfigError(
                f"The arm {task.arm.name} measures {', '.join(map(repr, unknown))} in {kind}, which the comparison "
                f"does not declare; it declares {', '.join(map(repr, declared)) or 'none'}.",
                hint=f"Declare it, Comparison({kind}=(Metric(name={unknown[0]!r}),)), or correct its name in the arm.",
            )
    return {
        "value": float(measurement.value),
        "beside": {name: float(number) for name, number in measurement.beside.items()},
        "costs": {name: float(number) for name, number in measurement.costs.items()},
        "seconds": cost.seconds,
        "memory": cost.memory,
    }


def _record(journal: Journal | None, key: str, description: Record, record: Record) -> Record:
    if journal is None:
        return record
    journal.put(key, description, record)
    # Another process may have been first in this folder; then both report its record.
    return journal.get(key) or record


def _failed(failures: Sequence[tuple[Task, BaseException]], *, total: int, folder: Path | None) -> JobFailedError:
    task, error = failures[0]
    reason, hint = f"{type(error).__name__}: {error}.", "Run it with --engine inline to see where it fails."
    if isinstance(error, ModicumError):
        reason, hint = error.what, error.hint
    if folder is not None:
        hint += f" The other results are kept in {folder}: the same command repeats only what failed."
    return JobFailedError(
        f"{len(failures)} of {total} jobs failed; the first ({task.arm.name}, seed {task.job.seed}) with: {reason}",
        hint=hint,
    )
