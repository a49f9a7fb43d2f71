"""The main job: arms times seeds, paired differences, intervals and costs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from statistics import fmean, median, stdev

from modicum.core.devices import check_device
from modicum.core.engine import Engine, open_engine
from modicum.core.environment import describe_environment
from modicum.core.jobs import Progress, Record, Task, finish
from modicum.core.method import Arm, Budget, Comparison, Job, Method
from modicum.core.paired import paired_difference
from modicum.core.report import ArmResult, Difference, Report, write
from modicum.core.verdict import judge, sentence
from modicum.errors import ConfigError

__all__ = ["compare", "resolve_options", "resolve_seeds"]

_ORDER = ("baseline", "method", "control")


def compare(
    subject: Method | Comparison,
    *,
    seeds: int | Sequence[int] = 3,
    budget: Budget = "demo",
    engine: str | Engine = "local",
    out: Path | str | None = None,
    device: str = "cpu",
    data: Path | str | None = None,
    options: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    command: str = "modicum.core.compare.compare(...)",
) -> Report:
    """Run every arm on the same seeds and report the paired differences.

    Args:
        subject: a method of the registry, or a comparison of your own.
        seeds: how many (0, 1, ...), or which.
        budget: "demo" or "full".
        engine: a name for `open_engine`, or an engine that is open already and stays so.
        out: folder for the journal and the report; a second run there repeats no finished job. None keeps nothing.
        device: torch device of the jobs.
        data: the user's own data, if the comparison takes any.
        options: settings of the comparison that differ from their defaults.
        progress: called with (jobs done, jobs in all, what was done).
        command: what made this report, as the reader could type it.

    Returns:
        The report, also written to ``out`` as JSON, Markdown and HTML.

    Raises:
        ConfigError: if an argument makes no sense, or ``out`` cannot be written.
        JobFailedError: if a job raised; the finished ones are in the journal.
        JournalError: if the journal in ``out`` is damaged.
    """
    if not isinstance(subject, Method | Comparison):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(
            f"compare() takes a method or a comparison, not {subject!r}.",
            hint="Get the method by its name: modicum.core.registry.load(name).",
        )
    if isinstance(engine, str) and "://" not in engine:  # the workers of a cluster have devices of their own
        check_device(device)
    out, data = None if out is None else Path(out), None if data is None else Path(data)
    comparison = subject.comparison if isinstance(subject, Method) else subject
    chosen = resolve_options(comparison, budget, options or {})
    if data is not None and not comparison.own_data:
        raise ConfigError(f"The comparison {comparison.method} takes no data of your own.", hint="Leave --data out.")
    numbers = resolve_seeds(seeds)
    arms = sorted(comparison.arms, key=lambda arm: _ORDER.index(arm.role))
    tasks = [
        Task(arm, Job(seed=seed, budget=budget, device=device, data=data, options=chosen))
        for seed in numbers
        for arm in arms
    ]
    with nullcontext(engine) if not isinstance(engine, str) else open_engine(engine) as running:
        records = finish(tasks, method=comparison.method, engine=running, folder=out, progress=progress)
    results = tuple(_arm_result(arm, [records[arm.name, seed] for seed in numbers]) for arm in arms)
    differences = tuple(_differences(comparison, results))
    report = Report(
        method=comparison.method,
        title=subject.title if isinstance(subject, Method) else comparison.method,
        question=comparison.question,
        metric=comparison.metric,
        beside=comparison.beside,
        costs=comparison.costs,
        budget=budget,
        data=str(data) if data else comparison.data.get(budget, ""),
        options=chosen,
        seeds=numbers,
        arms=results,
        differences=differences,
        verdicts=tuple(
            sentence(arm.name, differences, metric=comparison.metric, baseline=comparison.baseline.name)
            for arm in arms
            if arm.role == "method"
        ),
        sources=tuple(
            f"{source.authors} ({source.year}). {source.title}. {source.address}"
            for source in (subject.sources if isinstance(subject, Method) else ())
        ),
        environment=describe_environment(device=device, command=command),
    )
    if out is not None:
        write([report], out)
    return report


def resolve_seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """Turn a number of seeds, or the seeds themselves, into the seeds.

    Raises:
        ConfigError: if there is none, or one twice, or one is negative.
    """
    numbers = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if not numbers or len(set(numbers)) < len(numbers) or min(numbers) < 0:
        raise ConfigError(
            f"Seeds must be different whole numbers from 0 on, at least one, got {seeds}.",
            hint="Give a number of seeds, such as 3, or a list, such as 0,1,2.",
        )
    return numbers


def resolve_options(comparison: Comparison, budget: Budget, given: Mapping[str, str]) -> dict[str, str]:
    """Fill in the defaults of a comparison's options.

    Raises:
        ConfigError: if the comparison has no such option.
    """
    known = {option.name: option.default[budget] for option in comparison.options}
    if unknown := sorted(set(given) - set(known)):
        raise ConfigError(
            f"The comparison {comparison.method} has no option {unknown[0]!r}.",
            hint=f"Use one of: {', '.join(sorted(known))}." if known else "It has no options: leave it out.",
        )
    return {**known, **given}


def _arm_result(arm: Arm, records: Sequence[Record]) -> ArmResult:
    values = tuple(record["value"] for record in records)
    return ArmResult(
        name=arm.name,
        role=arm.role,
        summary=arm.summary,
        values=values,
        mean=fmean(values),
        deviation=stdev(values) if len(values) > 1 else None,
        seconds=median(record["seconds"] for record in records),
        memory=max(record["memory"] for record in records),
        beside={name: fmean(record["beside"][name] for record in records) for name in records[0]["beside"]},
        costs={name: fmean(record["costs"][name] for record in records) for name in records[0]["costs"]},
    )


def _differences(comparison: Comparison, results: Sequence[ArmResult]) -> Iterator[Difference]:
    baseline, *others = results
    methods = [arm for arm in others if arm.role == "method"]
    controls = [arm for arm in others if arm.role == "control"]
    for arm, versus in [(arm, baseline) for arm in others] + list(itertools.product(methods, controls)):
        paired = paired_difference(arm.values, versus.values, higher_is_better=comparison.metric.higher_is_better)
        yield Difference(
            arm=arm.name,
            versus=versus.name,
            values=paired.values,
            mean=paired.mean,
            low=paired.low,
            high=paired.high,
            p_value=paired.p_value,
            verdict=judge(paired),
        )
