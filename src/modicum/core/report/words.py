"""A report in words: numbers, sentences and the columns of its tables, which each renderer only lays out.

In one module, so that a terminal, a page and a figure agree to the last digit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from modicum.core.intervals import FEWEST, alike, mean_interval
from modicum.core.method import Metric
from modicum.core.results import ArmResult, Difference, Report, Verdict

ABSENT = "–"
ONE_VALUE = "one value"  # of one seed, or of all alike
EXPLORATORY = (
    "Differences to the baseline, positive is better. They were not asked for: they give ideas and no verdicts, and "
    "their intervals are not corrected for their number."
)
_AGAINST_CONTROLS: dict[Verdict, str] = {
    "better": "Better than control:",
    "worse": "Worse than control:",
    "equivalent": "Equivalent to control:",
    "no difference shown": "No difference shown to control:",
    "too few seeds": "Too few seeds to tell it from control:",
}


def plain(value: float, digits: int) -> str:
    """Print a number with thousands separated, a true minus, and no minus before a rounded zero."""
    return f"{value:z,.{digits}f}".replace("-", "−")


def signed(value: float, digits: int) -> str:
    """Print a difference with its sign."""
    # A sign survives rounding: it shows on which side of zero an interval that ends at 0.000 really ends.
    return plain(0.0, digits) if value == 0 else f"{value:+,.{digits}f}".replace("-", "−")


def quantity(value: float, metric: Metric) -> str:
    """Print a value of a metric with its unit: "91.2 %"."""
    return f"{plain(value, metric.digits)} {metric.unit}".rstrip()


def change(value: float, metric: Metric) -> str:
    """Print a difference with sign and unit; differences of percentages are in points: "+1.2 points"."""
    return f"{signed(value, metric.digits)} {'points' if metric.unit == '%' else metric.unit}".rstrip()


def interval(low: float | None, high: float | None, digits: int) -> str:
    """Print the two ends of an interval: "−0.003 to +0.021"."""
    return ONE_VALUE if low is None or high is None else f"{signed(low, digits)} to {signed(high, digits)}"


def p_value(p: float | None) -> str:
    """Print a p-value: "0.25", "< 0.001"."""
    if p is None:
        return ONE_VALUE
    # The smallest p-value of five pairs is 0.0625, which should be recognisable.
    return "< 0.001" if p < 0.001 else f"{round(p, 4):.3g}"


def ratio(value: float, baseline: float) -> str:
    """Print a cost as a multiple of the baseline's: "1.3 ×"."""
    if baseline <= 0:
        return ABSENT
    return f"{value / baseline:.2f} ×" if value < 9.995 * baseline else f"{value / baseline:,.0f} ×"


def seconds(value: float) -> str:
    """Print a duration: "42 ms", "0.42 s", "4.2 s", "12 s", "3 min 5 s", "2 h 10 min"."""
    if value < 0.0995:
        return f"{value * 1000:.2g} ms" if value else "0 s"
    if value < 9.95:
        return f"{value:.2f} s" if value < 0.995 else f"{value:.1f} s"
    rounded = round(value)
    if rounded < 3600:
        return f"{rounded} s" if rounded < 60 else f"{rounded // 60} min {rounded % 60} s"
    minutes = round(value / 60)
    return f"{minutes // 60:,} h {minutes % 60} min"


def heading(metric: Metric) -> str:
    """Name a metric with its unit: "test accuracy (%)"."""
    return f"{metric.name} ({metric.unit})" if metric.unit else metric.name


def direction(metric: Metric) -> str:
    """Say which way a metric is better."""
    return "higher is better" if metric.higher_is_better else "lower is better"


def how_made(report: Report) -> str:
    """Say in one line how the differences, intervals and p-values of a report were made."""
    metric = report.metric
    first, second = ("the arm", report.baseline.name)[:: 1 if metric.higher_is_better else -1]
    sign = f"A positive difference is better: {metric.name} of {first} minus that of {second} ({direction(metric)})"
    if len(report.seeds) == 1:
        return f"{sign}. One seed: no interval and no p-value can be given."
    pairs = len(report.differences)
    words = (
        f"{sign}, paired by seed over {len(report.seeds)} seeds. ± is the sample standard deviation. Intervals: 95 %, "
        f"of the mean; the wider of Student's t and, from {FEWEST} seeds on, the studentised bootstrap. They hold "
        "unless differences are very skewed: a run in ten that fails can escape them. p: of the same tests, two-sided, "
        f"corrected by Holm's method for the {pairs} pair{'s' if pairs > 1 else ''} of this report."
    )
    if number := max(len(arm.items) for arm in report.arms):
        given = [arm.name for arm in report.arms if arm.items]
        whose = "in all arms" if len(given) == len(report.arms) else f"in {', '.join(given)}"
        words += (
            f" The seeds test {number:,} items, the same {whose}: intervals and p of pairs of these count their "
            "spread, too."
        )
    if metric.margin is not None:
        words += f" Differences within {quantity(metric.margin, metric)} do not matter."
    return words


def cautions(report: Report) -> tuple[str, ...]:
    """Say what a reader must know before the verdicts: few seeds, seeds chosen after a look, seeds without effect."""
    told: list[str] = []
    if (count := len(report.seeds)) < FEWEST:
        seeds = "One seed" if count == 1 else f"{count} seeds"
        told.append(f"{seeds}: there is no verdict on fewer than {FEWEST}.")
    changes: list[str] = []
    if report.planned < count:
        changes.append(f"Seeds added after the first report in this folder: {count - report.planned}")
    if report.left_out:
        changes.append(f"Seeds that were run in this folder and are left out: {report.left_out}")
    if changes:
        told.append(f"{'. '.join(changes)}. Where seeds are chosen until a difference shows, p is too small.")
    if count > 1 and any(difference.low is None for difference in report.differences):
        told.append(
            "Where it says one value, both arms give the same on all seeds: that difference is of these data alone, "
            "and what it is on others is not known."
        )
    return tuple(told)


def certainty(difference: Difference, digits: int) -> str:
    """Print the interval and the adjusted p-value, or that there was one seed."""
    p = p_value(difference.adjusted)
    if difference.adjusted is None:
        return p
    return f"{interval(difference.low, difference.high, digits)}, corrected p {p if p.startswith('<') else f'= {p}'}"


def measure_difference(difference: Difference, metric: Metric) -> str:
    """Say the numbers of one difference, without judging them."""
    sure = certainty(difference, metric.digits)
    said = sure if difference.p_value is None else f"95 % interval {sure}"
    return f"{difference.arm} against {difference.versus}: {change(difference.mean, metric)} ({said})"


def verdict_sentence(arm: str, differences: Sequence[Difference], *, metric: Metric, baseline: str) -> str:
    """Say how a method arm did against the baseline, whose verdict every renderer puts before it, and the controls."""
    own = {difference.versus: difference for difference in differences if difference.arm == arm}
    words = f"{measure_difference(own.pop(baseline), metric)}."
    for verdict, text in _AGAINST_CONTROLS.items():
        if names := [name for name, difference in own.items() if difference.verdict == verdict]:
            words += f" {text} {', '.join(names)}."
    return words


def describe_arm(arm: ArmResult, report: Report) -> str:
    """Say the quality and the costs of one arm in words, numbers included."""
    parts = [f"{report.metric.name} {quantity(arm.mean, report.metric)}", f"{seconds(arm.seconds)} a job"]
    parts += [f"{own.name} {quantity(arm.costs[own.name], own)}" for own in report.costs if own.name in arm.costs]
    return f"{arm.name} ({arm.role}): {', '.join(parts)}."


def costs(arm: ArmResult, report: Report) -> tuple[str, ...]:
    """Say what an arm costs against the baseline: multiples of time and memory, then the method's own costs."""
    base = report.baseline
    parts = [f"{ratio(arm.seconds, base.seconds)} the time", f"{ratio(arm.memory, base.memory)} the memory"]
    for own in report.costs:
        if own.name in arm.costs and own.name in base.costs:
            here, there = (quantity(each.costs[own.name], own) for each in (arm, base))
            parts.append(f"{own.name}: {here}, not {there}" if here != there else f"{own.name}: {here}, the same")
    return tuple(parts)


def overall(verdicts: Sequence[Verdict]) -> str:
    """Count the verdicts of all method arms against their baselines, in one sentence."""
    if len(verdicts) == 1:
        return f"One method arm against its baseline: {verdicts[0]}."
    found = Counter(verdicts)
    parts = [f"{found[verdict]} {verdict}" for verdict in get_args(Verdict) if found[verdict]]
    return f"{len(verdicts)} method arms, each against its baseline: {', '.join(parts)}."


@dataclass(frozen=True, kw_only=True, slots=True)
class MethodRow:
    """One method arm of a report, as verdicts and summaries name it."""

    arm: ArmResult
    difference: Difference  # to the baseline
    sentence: str  # the verdict in words
    change: str  # the difference with sign and unit
    certainty: str  # the interval and the p-value
    costs: tuple[str, ...]  # against those of the baseline

    @property
    def verdict(self) -> Verdict:
        """The verdict against the baseline."""
        return self.difference.verdict


def method_rows(report: Report) -> tuple[MethodRow, ...]:
    """Give one row for each method arm of a report."""
    against = {difference.arm: difference for difference in report.against(report.baseline.name)}
    methods = [arm for arm in report.arms if arm.role == "method"]
    return tuple(
        MethodRow(
            arm=arm,
            difference=against[arm.name],
            sentence=sentence,
            change=change(against[arm.name].mean, report.metric),
            certainty=certainty(against[arm.name], report.metric.digits),
            costs=costs(arm, report),
        )
        for arm, sentence in zip(methods, report.verdicts, strict=True)
    )


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its heading with the unit, and one cell a row, as printed."""

    heading: str
    cells: Sequence[str]
    numeric: bool = True  # numbers align at their right


def arm_columns(report: Report) -> tuple[Column, ...]:
    """Give the table of all arms: quality, the difference to the baseline, then costs and secondary metrics."""
    metric, arms = report.metric, report.arms
    against = {difference.arm: difference for difference in report.against(report.baseline.name)}
    quality = [
        plain(arm.mean, metric.digits)
        + (f" ± {plain(std, metric.digits)}" if (std := arm.std) is not None else "")
        + (f", {arm.diverged} diverged" if arm.diverged else "")
        for arm in arms
    ]
    return (
        Column("arm", [arm.name for arm in arms], numeric=False),
        Column(heading(metric), quality),
        *_difference_columns([against.get(arm.name) for arm in arms], metric.digits),
        Column("role", [arm.role for arm in arms], numeric=False),
        Column("time a job", [seconds(arm.seconds) for arm in arms]),
        Column("peak memory", [f"{arm.memory:,.0f} MiB" for arm in arms]),
        *(_mean_column(own, [arm.costs.get(own.name) for arm in arms]) for own in report.costs),
        *(_mean_column(second, [arm.secondary.get(second.name) for arm in arms]) for second in report.secondary),
    )


def control_columns(report: Report) -> tuple[Column, ...]:
    """Give the table of each method arm against each control; without rows when there is no control."""
    differences = [difference for difference in report.differences if difference.versus != report.baseline.name]
    return (
        Column("arm", [each.arm for each in differences], numeric=False),
        Column("against", [each.versus for each in differences], numeric=False),
        *_difference_columns(differences, report.metric.digits),
    )


def exploratory_columns(report: Report) -> tuple[Column, ...]:
    """Give the differences of the secondary metrics to the baseline, which nothing judges."""
    table: list[tuple[str, str, str, str]] = []
    for metric in report.secondary if len(report.seeds) > 1 else ():
        base = report.baseline.secondary_values.get(metric.name)
        for arm in report.arms:
            own = arm.secondary_values.get(metric.name)
            if base and own and arm.role != "baseline":
                gain = np.subtract(own, base) * (1 if metric.higher_is_better else -1)
                low, high, _ = (None, None, None) if alike(own) and alike(base) else mean_interval(gain)
                shown = signed(float(gain.mean()), metric.digits), interval(low, high, metric.digits)
                table.append((heading(metric), arm.name, *shown))
    heads = ("metric", "arm", "difference", "95 % interval")
    return tuple(Column(head, [row[index] for row in table], numeric=index > 1) for index, head in enumerate(heads))


def seed_columns(report: Report) -> tuple[Column, ...]:
    """Give the primary metric of each arm (a row) on each seed (a column)."""
    digits = report.metric.digits
    seeds = enumerate(report.seeds)
    return (
        Column("arm", [arm.name for arm in report.arms], numeric=False),
        *(Column(f"seed {seed}", [plain(arm.values[index], digits) for arm in report.arms]) for index, seed in seeds),
    )


def rows(columns: Sequence[Column]) -> Iterator[tuple[str, ...]]:
    """Read columns row by row."""
    return zip(*(column.cells for column in columns), strict=True)


def _difference_columns(differences: Sequence[Difference | None], digits: int) -> tuple[Column, ...]:
    table = [
        (
            signed(each.mean, digits),
            signed(each.median, digits),
            interval(each.low, each.high, digits),
            p_value(each.adjusted),
            each.verdict,
        )
        if each
        else (ABSENT,) * 5
        for each in differences
    ]
    heads = ("difference", "median", "95 % interval", "corrected p", "verdict")
    return tuple(
        Column(head, [row[index] for row in table], numeric=head != "verdict") for index, head in enumerate(heads)
    )


def _mean_column(metric: Metric, values: Sequence[float | None]) -> Column:
    return Column(heading(metric), [ABSENT if value is None else plain(value, metric.digits) for value in values])
