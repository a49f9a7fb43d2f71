"""The jobs of a comparison: described, run, recorded, and not run twice."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

from modicum.core.engine import Engine
from modicum.core.environment import code_digest, library_versions, source_of, tree_digest
from modicum.core.journal import Journal, job_key
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
    tasks: Sequence[Task], question: Record, *, engine: Engine, folder: Path | None, progress: Progress = silent
) -> dict[tuple[str, int], Record]:
    """Run the tasks of one question that the journal does not hold yet."""
    descriptions = [_describe(task, question, engine) for task in tasks]
    if folder is not None and any(source_of(task.arm.run) is None for task in tasks):
        warnings.warn(
            f"An arm was typed into a session: what its functions call is not part of what {folder} knows a job by. "
            "Name another folder after a change, or put the functions into a file.",
            stacklevel=3,
        )
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


def seeds_seen(question: Record, *, folder: Path, seeds: Sequence[int]) -> tuple[tuple[int, ...], set[int]]:
    """Note that a report on these seeds is made; give those of the first report on its question, and all with a job."""
    with Journal(folder) as journal:
        first = journal.look(job_key(question), seeds)
        jobs = journal.descriptions()
    return first, {it["seed"] for it in jobs if {name: it.get(name) for name in question} == question}


def question_of(task: Task) -> Record:
    """Say what a reader asks: the same after an edit of the code, on another device and by other arms and seeds."""
    return {
        "method": task.comparison.method,
        "budget": task.job.budget,
        "settings": as_json(task.job.settings),
        "data": tree_digest(task.job.data) if task.job.data else None,
    }


def _describe(task: Task, question: Record, engine: Engine) -> Record:
    # Everything that determines the result, and nothing that does not.
    return {
        **question,
        "arm": task.arm.name,
        "seed": task.job.seed,
        "device": task.job.device,
        "threads": engine.threads,
        "code": [code_digest(function) for function in (task.arm.run, task.comparison.setup) if function],
        "libraries": library_versions(),
    }


# What the setup of the latest seed gave in this process, by the hash of all that determines it, and what it took.
# An engine takes jobs seed by seed, so one is enough, and no more than one is kept in memory.
_latest: dict[str, tuple[Any, Cost]] = {}


def _execute(item: tuple[Task, str]) -> Record:
    task, key = item
    try:
        return _run(task, key)
    except Exception as error:
        error.add_note(f"This was the arm {task.arm.name} on seed {task.job.seed}.")
        raise


def _run(task: Task, key: str) -> Record:
    setup = task.comparison.setup
    if setup is None:
        measurement, cost = measured(lambda: task.arm.run(task.job))
    else:
        if key not in _latest:
            _latest.clear()
            _latest[key] = measured(functools.partial(setup, task.job))
        shared, before = _latest[key]
        measurement, own = measured(lambda: task.arm.run(task.job, shared))
        # Seconds are of the arm alone, which the setup would hide; memory is as if the arm had made it itself.
        cost = Cost(seconds=own.seconds, memory=max(before.memory, own.memory))
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
