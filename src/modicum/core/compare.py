"""The main job: arms times seeds, paired differences, intervals and costs."""

from __future__ import annotations

import itertools
import operator
import shlex
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median, stdev
from typing import get_args

import numpy as np
import numpy.typing as npt

from modicum.core.devices import check_device
from modicum.core.engine import Engine, open_engine
from modicum.core.environment import describe_environment
from modicum.core.intervals import FEWEST, alike, crossed_interval, holm, mean_interval
from modicum.core.jobs import Record, Task, finish, question_of, seeds_seen
from modicum.core.method import UNWRITABLE, Arm, Budget, Comparison, Job, Method, Metric
from modicum.core.progress import Progress, silent
from modicum.core.registry import load
from modicum.core.report import ArmResult, Difference, Report, Verdict, write
from modicum.core.report.words import verdict_sentence
from modicum.core.settings import as_texts
from modicum.errors import ConfigError

__all__ = ["compare", "resolve_seeds"]

_ORDER = ("baseline", "method", "control")
_SIGNIFICANT = 0.05
_ITEM_DIGITS = 6  # that are kept of the score of a test item
_MOST_SEEDS = 10_000


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
    if budget not in get_args(Budget):
        raise ConfigError(f"There is no budget {budget!r}.", hint="Use demo or full.")
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
        question = question_of(tasks[0])
        records = finish(tasks, question, engine=running, folder=out, progress=progress or silent)
    _check_items(numbers, arms, records)
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
        first, tried = seeds_seen(question, folder=out, seeds=numbers)
        report = replace(report, planned=len({*first} & {*numbers}), left_out=len(tried - {*numbers}))
        write([report], out)
    return report


def resolve_seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """Turn a number of seeds, or the seeds themselves, into the seeds.

    Raises:
        ConfigError: if there is none, or one twice, or one is no integer from 0 on, or there are more than 10,000.
    """
    hint = "Give a number of seeds, such as 3, or a list, such as 0,1,2."
    count = seeds if isinstance(seeds, int) else len(seeds)
    if count > _MOST_SEEDS or isinstance(seeds, bool):
        raise ConfigError(f"The number of seeds is 1 to {_MOST_SEEDS:,}, got {count}.", hint=hint)
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
    for name in {name for record in records for name in record["secondary"]} - secondary.keys():
        count = sum(name in record["secondary"] for record in records)
        warnings.warn(
            f"The arm {arm.name} gives {name!r} on {count} of {len(records)} seeds: the report leaves it out.",
            stacklevel=3,
        )
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


def _check_items(seeds: Sequence[int], arms: Sequence[Arm], records: Mapping[tuple[str, int], Record]) -> None:
    """Refuse items that are not those of the other arms: they would be paired with others."""
    for seed in seeds:
        tested = {
            arm.name: [item is not None for item in records[arm.name, seed]["items"]]
            for arm in arms
            if records[arm.name, seed]["items"]
        }
        for name, own in tested.items():
            first = next(iter(tested))
            if own != tested[first]:
                raise ConfigError(
                    f"On seed {seed} the arms {first} and {name} do not test the same items: {sum(tested[first])} of "
                    f"{len(tested[first])} and {sum(own)} of {len(own)} have a score.",
                    hint="Give the same items in the same order in all arms, and NaN where the seed does not test one.",
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
    found = [_interval(arm, versus, each, sign) for (arm, versus), each in zip(pairs, values, strict=True)]
    corrected = iter(holm([p for *_, p in found if p is not None]))
    adjusted = [None if p is None else next(corrected) for *_, p in found]
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
            verdict=_judge(each, low, high, by_holm, metric.margin),
        )
        for (arm, versus), each, (low, high, p_value), by_holm in zip(pairs, values, found, adjusted, strict=True)
    )


def _interval(
    arm: ArmResult, versus: ArmResult, values: npt.NDArray[np.float64], sign: float
) -> tuple[float, float, float] | tuple[None, None, None]:
    """Give interval and p-value of a difference; None where there is one value, of one seed or of all alike."""
    if len(values) < 2:
        return None, None, None
    if len(arm.items) == len(versus.items) > 1:
        return crossed_interval(values, sign * (np.array(arm.items) - np.array(versus.items)))
    if all(alike(each) for one in (arm, versus) for each in (one.values, *one.secondary_values.values())):
        return None, None, None  # the seed changes neither: copies of one value
    return mean_interval(values)


def _judge(
    values: npt.NDArray[np.float64],
    low: float | None,
    high: float | None,
    adjusted: float | None,
    margin: float | None,
) -> Verdict:
    if low is None or high is None or adjusted is None:
        return "too few seeds"
    if len(values) < FEWEST:  # intervals of fewer are too narrow where differences are skewed
        return "too few seeds"
    if adjusted <= _SIGNIFICANT:
        return "better" if values.mean() > 0 else "worse"
    # An interval without width is of items on which the arms never differed: of rare ones it says nothing.
    if margin is not None and -margin < low < high < margin:
        return "equivalent"
    return "no difference shown"
