"""What a report says in sentences: directions, methods of inference, and numbers for those who cannot see a figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import get_args

from modicum.core.method import Metric
from modicum.core.report import numbers
from modicum.core.report.model import ArmResult, Difference, Report, Verdict


def heading(metric: Metric) -> str:
    """Name a metric with its unit: "test accuracy (%)"."""
    return f"{metric.name} ({metric.unit})" if metric.unit else metric.name


def direction(metric: Metric) -> str:
    """Say which way a metric is better."""
    return "higher is better" if metric.higher_is_better else "lower is better"


def how_made(report: Report) -> str:
    """Say in one line how the differences, intervals and p-values of a report were made."""
    metric = report.metric
    sign = f"A positive difference is better: {metric.name} of the arm minus that of {report.baseline.name}"
    if not metric.higher_is_better:
        sign = f"A positive difference is better: {metric.name} of {report.baseline.name} minus that of the arm"
    if len(report.seeds) == 1:
        return f"{sign} ({direction(metric)}). One seed: no interval and no p-value can be given."
    return (
        f"{sign} ({direction(metric)}), paired by seed over {len(report.seeds)} seeds. "
        "± is the sample standard deviation. Intervals: 95 % bootstrap of the mean difference. "
        "p: two-sided sign-flip test of the pairs, not corrected for several arms."
    )


def describe_difference(difference: Difference, metric: Metric) -> str:
    """Say one difference in words, numbers and verdict included."""
    return f"{measure_difference(difference, metric)}, {difference.verdict}."


def measure_difference(difference: Difference, metric: Metric) -> str:
    """Say the numbers of one difference, without judging them."""
    change = numbers.change(difference.mean, metric)
    if difference.p_value is None:
        return f"{difference.arm} against {difference.versus}: {change} (one seed)"
    interval = numbers.interval(difference.low, difference.high, metric.digits)
    p_value = numbers.p_value(difference.p_value)
    return f"{difference.arm} against {difference.versus}: {change} (95 % interval {interval}, {p_value})"


def describe_arm(arm: ArmResult, report: Report) -> str:
    """Say the quality and the costs of one arm in words, numbers included."""
    parts = [
        f"{report.metric.name} {numbers.quantity(arm.mean, report.metric)}",
        f"{numbers.seconds(arm.seconds)} a job",
    ]
    parts += [
        f"{own.name} {numbers.quantity(arm.costs[own.name], own)}" for own in report.costs if own.name in arm.costs
    ]
    return f"{arm.name} ({arm.role}): {', '.join(parts)}."


def costs(arm: ArmResult, report: Report) -> tuple[str, ...]:
    """Say what an arm costs against the baseline: multiples of time and memory, then the method's own costs."""
    base = report.baseline
    parts = [
        f"{numbers.ratio(arm.seconds, base.seconds)} the time",
        f"{numbers.ratio(arm.memory, base.memory)} the memory",
    ]
    for own in report.costs:
        if own.name in arm.costs and own.name in base.costs:
            here, there = (numbers.quantity(each.costs[own.name], own) for each in (arm, base))
            parts.append(f"{own.name}: {here}, not {there}" if here != there else f"{own.name}: {here}, the same")
    return tuple(parts)


def overall(verdicts: Sequence[Verdict]) -> str:
    """Count the verdicts of all method arms against their baselines, in one sentence."""
    if len(verdicts) == 1:
        return f"One method arm against its baseline: {verdicts[0]}."
    found = Counter(verdicts)
    parts = [f"{found[verdict]} {verdict}" for verdict in get_args(Verdict) if found[verdict]]
    return f"{len(verdicts)} method arms, each against its baseline: {', '.join(parts)}."
