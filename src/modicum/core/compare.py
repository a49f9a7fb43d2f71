"""The main job: arms times seeds, paired differences, intervals and costs."""

from __future__ import annotations

import itertools
import operator
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median, stdev

import numpy as np
import numpy.typing as npt

from modicum.core.devices import check_device
from modicum.core.engine import Engine, open_engine
from modicum.core.environment import describe_environment
from modicum.core.intervals import FEWEST, crossed_interval, holm, mean_interval
from modicum.core.jobs import Record, Task, finish
from modicum.core.method import UNWRITABLE, Arm, Budget, Comparison, Job, Method, Metric
from modicum.core.progress import Progress, silent
from modicum.core.registry import load
from modicum.core.report import ArmResult, Difference, Report, Verdict, write
from modicum.core.report import load as load_reports
from modicum.core.report.words import verdict_sentence
from modicum.core.settings import as_texts
from modicum.errors import ConfigError, DataError

__all__ = ["compare", "resolve_seeds"]

_ORDER = ("baseline", "method", "control")
_SIGNIFICANT = 0.05
_ITEM_DIGITS = 6  # that are kept of the score of a test item


def compare(
    subject: Method | Comparison | str,
    *,
    seeds: int | Sequence[int] = 3,
    budget: Budget = "demo",
    engine: str | Engine = "local",
    out: Path | str | None = None,
    device: str = "cpu",
    data: Path | str | None = None,
    options: Mapping[str, object] | None = None,
    progress: Progress | None = None,
    command: str | None = None,
) -> Report:
    """Run every arm on the same seeds and report the paired differences.

    Args:
        subject: a method of the registry or its short name, or a comparison of your own.
        seeds: how many (0, 1, ...), or which.
        budget: "demo" or "full".
        engine: a name for `open_engine`, or an engine that is open already and stays so.
        out: folder for the journal and the report; a second run there repeats no finished job. None keeps nothing.
        device: torch device of the jobs.
        data: the user's own data, if the comparison takes any.
        options: settings of the comparison that differ from their defaults, as values or as text.
        progress: called with (jobs done, jobs in all, what was done).
        command: what made this report, as the reader could type it; the running script when None.

    Returns:
        The report, also written to ``out`` as JSON, Markdown and HTML.

    Raises:
        ConfigError: if an argument makes no sense, or ``out`` cannot be written.
        JobFailedError: if a job raised; the finished ones are in the journal.
        JournalError: if the journal in ``out`` is damaged.
    """
    if isinstance(subject, str):
        subject = load(subject)
    if not isinstance(subject, Method | Comparison):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(
            f"compare() takes a method or a comparison, not {subject!r}.",
            hint="Give the name of a method, such as nsgd, or a modicum.Comparison.",
        )
    if isinstance(engine, str) and "://" not in engine:  # the workers of a cluster have devices of their own
        check_device(device)
    out, data = None if out is None else Path(out), None if data is None else Path(data)
    comparison = subject.comparison if isinstance(subject, Method) else subject
    settings = comparison.settings_for(budget, options)
    comparison = (comparison.variant and comparison.variant(settings)) or comparison
    if data is not None and not comparison.own_data:
        raise ConfigError(f"The comparison {comparison.method} takes no data of your own.", hint="Leave --data out.")
    numbers = resolve_seeds(seeds)
    arms = sorted(comparison.arms, key=lambda arm: _ORDER.index(arm.role))
    tasks = [
        Task(comparison, arm, Job(seed=seed, budget=budget, device=device, data=data, settings=settings))
        for seed in numbers
        for arm in arms
    ]
    with nullcontext(engine) if not isinstance(engine, str) else open_engine(engine) as running:
        records = finish(tasks, engine=running, folder=out, progress=progress or silent)
    results = tuple(_arm_result(comparison, arm, [records[arm.name, seed] for seed in numbers]) for arm in arms)
    differences = paired_differences(_pairs(results), comparison.metric)
    report = Report(
        method=comparison.method,
        title=subject.title if isinstance(subject, Method) else comparison.method,
        question=comparison.question,
        metric=comparison.metric,
        secondary=comparison.secondary,
        costs=comparison.costs,
        budget=budget,
        data=_writable(str(data)) if data else comparison.data.get(budget, ""),
        options={name: _writable(value) for name, value in as_texts(settings).items()},
        seeds=numbers,
        arms=results,
        differences=differences,
        verdicts=tuple(
            verdict_sentence(arm.name, differences, metric=comparison.metric, baseline=comparison.baseline.name)
            for arm in arms
            if arm.role == "method"
        ),
        sources=tuple(
            f"{source.authors} ({source.year}). {source.title}. {source.address}"
            for source in (subject.sources if isinstance(subject, Method) else ())
        ),
        environment=describe_environment(device=device, command=_writable(command or _running())),
        planned=len(numbers),
    )
    if out is not None:
        report = replace(report, planned=_planned(report, out / "report.json"))
        write([report], out)
    return report


def resolve_seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """Turn a number of seeds, or the seeds themselves, into the seeds.

    Raises:
        ConfigError: if there is none, or one twice, or one is no integer from 0 on.
    """
    hint = "Give a number of seeds, such as 3, or a list, such as 0,1,2."
    try:
        numbers = tuple(range(seeds)) if isinstance(seeds, int) else tuple(map(operator.index, seeds))
    except TypeError as error:
        raise ConfigError(f"Seeds must be integers, got {seeds!r}.", hint=hint) from error
    if not numbers:
        raise ConfigError(f"A comparison needs at least one seed, got {seeds}.", hint=hint)
    if len(set(numbers)) < len(numbers) or min(numbers) < 0:
        raise ConfigError(f"Seeds must be different integers from 0 on, got {seeds}.", hint=hint)
    return numbers


def _arm_result(comparison: Comparison, arm: Arm, records: Sequence[Record]) -> ArmResult:
    values = tuple(record["value"] for record in records)
    secondary = _by_name(comparison.secondary, records, "secondary")
    return ArmResult(
        name=arm.name,
        role=arm.role,
        summary=arm.summary,
        values=values,
        mean=fmean(values),
        std=stdev(values) if len(values) > 1 else None,
        seconds=median(record["seconds"] for record in records),
        memory=max(record["memory"] for record in records),
        secondary={name: fmean(each) for name, each in secondary.items()},
        costs={name: fmean(each) for name, each in _by_name(comparison.costs, records, "costs").items()},
        secondary_values=secondary,
        diverged=sum(record["diverged"] for record in records),
        items=_mean_items([record["items"] for record in records]),
    )


def _mean_items(found: Sequence[Sequence[float | None]]) -> tuple[float, ...]:
    if len({len(items) for items in found}) > 1:  # each seed has its own
        return ()
    scores = np.array(found, float)  # NaN where a seed does not test an item
    tested = scores[:, ~np.isnan(scores).all(axis=0)]
    return tuple(np.nanmean(tested, axis=0).round(_ITEM_DIGITS).tolist())


def _by_name(metrics: Sequence[Metric], records: Sequence[Record], kind: str) -> dict[str, tuple[float, ...]]:
    found = [record[kind] for record in records]
    names = [metric.name for metric in metrics if all(metric.name in each for each in found)]
    return {name: tuple(each[name] for each in found) for name in names}


def _planned(report: Report, earlier: Path) -> int:
    """Give how many of the seeds the first report of the same comparison in this folder had, too."""
    try:
        (before,) = load_reports(earlier)
    except (DataError, ValueError):  # there is none, or one that this version does not read
        return report.planned
    asked = ("method", "question", "metric", "budget", "data", "options")
    if any(getattr(before, name) != getattr(report, name) for name in asked):
        return report.planned
    return min(before.planned, len({*before.seeds} & {*report.seeds}))


def _running() -> str:
    """Say what the reader can do to run this again: the script, or the call that was typed into a session."""
    main = sys.modules["__main__"]
    if hasattr(sys, "ps1") or "ipykernel" in sys.modules or not getattr(main, "__file__", None):
        return "modicum.compare(...)  # in a Python session"
    spec = getattr(main, "__spec__", None)
    program = ["-m", spec.name.removesuffix(".__main__")] if spec else sys.argv[:1]
    return shlex.join(["python", *program, *sys.argv[1:]])


def _writable(text: str) -> str:
    return UNWRITABLE.sub("\ufffd", text)


def _pairs(results: Sequence[ArmResult]) -> list[tuple[ArmResult, ArmResult]]:
    baseline, *others = results
    methods, controls = ([arm for arm in others if arm.role == role] for role in ("method", "control"))
    return [*((arm, baseline) for arm in others), *itertools.product(methods, controls)]


def paired_differences(pairs: Sequence[tuple[ArmResult, ArmResult]], metric: Metric) -> tuple[Difference, ...]:
    """Compare arms seed by seed, positive if the first of a pair is better; p-values are adjusted for all pairs."""
    sign = 1.0 if metric.higher_is_better else -1.0
    values = [sign * (np.array(arm.values, float) - np.array(versus.values, float)) for arm, versus in pairs]
    several = bool(values) and len(values[0]) > 1
    found = [(None, None, None)] * len(values)
    if several:
        items = [(np.array(arm.items), np.array(versus.items)) for arm, versus in pairs]
        found = [
            crossed_interval(each, sign * (own - other)) if len(own) == len(other) > 1 else mean_interval(each)
            for each, (own, other) in zip(values, items, strict=True)
        ]
    adjusted = holm([p for *_, p in found if p is not None]) if several else [None] * len(values)
    return tuple(
        Difference(
            arm=arm.name,
            versus=versus.name,
            values=tuple(each.tolist()),
            mean=float(each.mean()),
            median=float(np.median(each)),
            low=low,
            high=high,
            p_value=p_value,
            adjusted=by_holm,
            verdict=_judge(each, low, high, p_value, by_holm, metric.margin),
        )
        for (arm, versus), each, (low, high, p_value), by_holm in zip(pairs, values, found, adjusted, strict=True)
    )


def _judge(
    values: npt.NDArray[np.float64],
    low: float | None,
    high: float | None,
    p_value: float | None,
    adjusted: float | None,
    margin: float | None,
) -> Verdict:
    if low is None or high is None or p_value is None or adjusted is None:
        return "too few seeds"
    if len(values) < FEWEST:  # intervals of fewer are too narrow where differences are skewed
        return "too few seeds" if p_value <= _SIGNIFICANT else "no difference shown"
    if adjusted <= _SIGNIFICANT:
        return "better" if values.mean() > 0 else "worse"
    if margin is not None and -margin < low and high < margin:
        return "equivalent"
    return "no difference shown"
