"""The tables of a report as columns of text; each renderer only lays them out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from modicum.core.method import Metric
from modicum.core.report import numbers, words
from modicum.core.report.model import ArmResult, Difference, Report, Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column: its heading and one cell a row."""

    heading: str  # name and unit
    cells: tuple[str, ...]  # as printed, from top to bottom
    numeric: bool = True  # whether the cells are numbers, which align at their right


@dataclass(frozen=True, kw_only=True, slots=True)
class SummaryRow:
    """One method arm of one report, in the short words of the summary."""

    report: Report  # that it belongs to
    arm: ArmResult  # the method arm
    difference: Difference  # of the arm to the baseline
    sentence: str  # the verdict in words

    @property
    def verdict(self) -> Verdict:
        """The verdict against the baseline."""
        return self.difference.verdict

    @property
    def change(self) -> str:
        """The difference with sign, unit and what was measured."""
        return numbers.change(self.difference.mean, self.report.metric)

    @property
    def certainty(self) -> str:
        """The interval and the p-value, or that there was one seed."""
        low, high, p_value = self.difference.low, self.difference.high, self.difference.p_value
        if p_value is None:
            return numbers.ONE_SEED
        return f"{numbers.interval(low, high, self.report.metric.digits)}, {numbers.p_value(p_value)}"

    @property
    def costs(self) -> tuple[str, ...]:
        """The costs, against those of the baseline."""
        return words.costs(self.arm, self.report)


def judged(report: Report) -> tuple[SummaryRow, ...]:
    """Give one row for each method arm of a report."""
    against = {difference.arm: difference for difference in report.against(report.baseline.name)}
    methods = [arm for arm in report.arms if arm.role == "method"]
    return tuple(
        SummaryRow(report=report, arm=arm, difference=against[arm.name], sentence=sentence)
        for arm, sentence in zip(methods, report.verdicts, strict=True)
    )


def summary(reports: Sequence[Report]) -> tuple[SummaryRow, ...]:
    """Give one row for each method arm of all reports."""
    return tuple(row for report in reports for row in judged(report))


def arm_columns(report: Report) -> tuple[Column, ...]:
    """Give the table of all arms: quality, the difference to the baseline, then costs and secondary metrics."""
    metric, arms = report.metric, report.arms
    against = {difference.arm: difference for difference in report.against(report.baseline.name)}
    differences = [against.get(arm.name) for arm in arms]
    return (
        Column(heading="arm", cells=tuple(arm.name for arm in arms), numeric=False),
        Column(
            heading=words.heading(metric),
            cells=tuple(numbers.spread(arm.mean, arm.deviation, metric.digits) for arm in arms),
        ),
        *_difference_columns(differences, metric),
        Column(heading="role", cells=tuple(arm.role for arm in arms), numeric=False),
        Column(heading="time a job", cells=tuple(numbers.seconds(arm.seconds) for arm in arms)),
        Column(heading="peak memory", cells=tuple(numbers.memory(arm.memory) for arm in arms)),
        *(_mean_column(own, [arm.costs.get(own.name) for arm in arms]) for own in report.costs),
        *(_mean_column(second, [arm.beside.get(second.name) for arm in arms]) for second in report.beside),
    )


def control_columns(report: Report) -> tuple[Column, ...]:
    """Give the table of each method arm against each control; without rows when there is no control."""
    baseline = report.baseline.name
    differences = [difference for difference in report.differences if difference.versus != baseline]
    return (
        Column(heading="arm", cells=tuple(each.arm for each in differences), numeric=False),
        Column(heading="against", cells=tuple(each.versus for each in differences), numeric=False),
        *_difference_columns(differences, report.metric),
    )


def seed_columns(report: Report) -> tuple[Column, ...]:
    """Give the primary metric of each arm (a row) on each seed (a column)."""
    return (
        Column(heading="arm", cells=tuple(arm.name for arm in report.arms), numeric=False),
        *(
            Column(
                heading=f"seed {seed}",
                cells=tuple(numbers.plain(arm.values[place], report.metric.digits) for arm in report.arms),
            )
            for place, seed in enumerate(report.seeds)
        ),
    )


def rows(columns: Sequence[Column]) -> Iterator[tuple[str, ...]]:
    """Read columns row by row."""
    return zip(*(column.cells for column in columns), strict=True)


def _difference_columns(differences: Sequence[Difference | None], metric: Metric) -> Iterator[Column]:
    heads = ("difference", "95 % interval", "p", "verdict")
    table = [_difference_cells(difference, metric.digits) for difference in differences]
    for place, head in enumerate(heads):
        yield Column(heading=head, cells=tuple(row[place] for row in table), numeric=head != "verdict")


def _difference_cells(difference: Difference | None, digits: int) -> tuple[str, str, str, str]:
    if difference is None:
        return numbers.ABSENT, numbers.ABSENT, numbers.ABSENT, numbers.ABSENT
    return (
        numbers.signed(difference.mean, digits),
        numbers.interval(difference.low, difference.high, digits),
        numbers.p_value(difference.p_value).removeprefix("p ").removeprefix("= "),
        difference.verdict,
    )


def _mean_column(metric: Metric, values: Sequence[float | None]) -> Column:
    return Column(
        heading=words.heading(metric),
        cells=tuple(numbers.ABSENT if value is None else numbers.plain(value, metric.digits) for value in values),
    )
