"""The jobs of a comparison: described, run, recorded, and not run twice."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

from modicum.core.engine import Engine
from modicum.core.environment import code_digest, library_versions, tree_digest
from modicum.core.journal import job_key
from modicum.core.measure import Cost, measured
from modicum.core.method import Arm, Comparison, Job, Measurement
from modicum.core.progress import Progress, silent
from modicum.core.recorded import Record, run_recorded
from modicum.core.settings import as_json
from modicum.errors import ConfigError, JobFailedError, ModicumError


@dataclass(frozen=True, slots=True)
class Task:
    """An arm of a comparison, and what it is passed."""

    comparison: Comparison
    arm: Arm
    job: Job


def finish(
    tasks: Sequence[Task], *, engine: Engine, folder: Path | None, progress: Progress = silent
) -> dict[tuple[str, int], Record]:
    """Run the tasks that the journal does not hold yet."""
    descriptions = [_describe(task, engine) for task in tasks]
    jobs = [
        (
            f"{task.arm.name}, seed {task.job.seed}",
            entry,
            (task, job_key({**entry, "arm": None, "code": entry["code"][-1]})),
        )
        for task, entry in zip(tasks, descriptions, strict=True)
    ]
    records, failures = run_recorded(_execute, jobs, engine=engine, folder=folder, progress=progress)
    _latest.clear()
    if failures:
        error = _failed(failures, total=len(jobs), folder=folder)
        raise error from failures[0][1]
    return {(task.arm.name, task.job.seed): record or {} for task, record in zip(tasks, records, strict=True)}


def _describe(task: Task, engine: Engine) -> Record:
    # Everything that determines the result, and nothing that does not.
    job = task.job
    return {
        "method": task.comparison.method,
        "arm": task.arm.name,
        "seed": job.seed,
        "budget": job.budget,
        "device": job.device,
        "settings": as_json(job.settings),
        "data": tree_digest(job.data) if job.data else None,
        "threads": engine.threads,
        "code": [code_digest(function) for function in (task.arm.run, task.comparison.setup) if function],
        "libraries": library_versions(),
    }


# What the setup of the latest seed gave in this process, by the hash of all that determines it, and what it took.
# An engine takes jobs seed by seed, so one is enough, and no more than one is kept in memory.
_latest: dict[str, tuple[Any, Cost]] = {}


def _execute(item: tuple[Task, str]) -> Record:
    task, key = item
    setup = task.comparison.setup
    if setup is None:
        measurement, cost = measured(lambda: task.arm.run(task.job))
    else:
        if key not in _latest:
            _latest.clear()
            _latest[key] = measured(functools.partial(setup, task.job))
        shared, before = _latest[key]
        measurement, own = measured(lambda: task.arm.run(task.job, shared))
        # As if the arm had made it itself: what it took must not depend on which arm a worker happens to run first.
        cost = Cost(seconds=before.seconds + own.seconds, memory=max(before.memory, own.memory))
    if not isinstance(measurement, Measurement):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise JobFailedError(
            f"The arm {task.arm.name} returned {type(measurement).__name__}, not a Measurement.",
            hint="Return modicum.core.method.Measurement(value=...) from its run function.",
        )
    for kind in ("secondary", "costs"):
        found, declared = getattr(measurement, kind), [metric.name for metric in getattr(task.comparison, kind)]
        if unknown := sorted(set(found) - set(declared)):
            raise ConfigError(
                f"The arm {task.arm.name} measures {', '.join(map(repr, unknown))} in {kind}, which the comparison "
                f"does not declare; it declares {', '.join(map(repr, declared)) or 'none'}.",
                hint=f"Declare it, Comparison({kind}=(Metric(name={unknown[0]!r}),)), or correct its name in the arm.",
            )
    return {
        "value": float(measurement.value),
        "diverged": bool(measurement.diverged),
        "secondary": {name: float(number) for name, number in measurement.secondary.items()},
        "costs": {name: float(number) for name, number in measurement.costs.items()},
        "items": [None if isnan(number) else float(number) for number in measurement.items],
        "seconds": cost.seconds,
        "memory": cost.memory,
    }


def _failed(failures: Sequence[tuple[str, BaseException]], *, total: int, folder: Path | None) -> JobFailedError:
    name, error = failures[0]
    reason, hint = f"{type(error).__name__}: {error}.", "Run it with --engine inline to see where it fails."
    if isinstance(error, ModicumError):
        reason, hint = error.what, error.hint
    if folder is not None:
        hint += f" The other results are kept in {folder}: the same command repeats only what failed."
    return JobFailedError(f"{len(failures)} of {total} jobs failed; the first ({name}) with: {reason}", hint=hint)
