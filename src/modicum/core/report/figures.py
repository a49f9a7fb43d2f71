# pyright: reportUnknownMemberType=false
# matplotlib's annotations leave its keyword arguments open.
"""The figures of a report: how sure a difference is, and what quality costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from modicum.core.method import Role
from modicum.core.report import numbers, words
from modicum.core.report.model import ArmResult, Difference, Report
from modicum.core.report.placing import Box, place_labels
from modicum.core.report.sheet import (
    LINE,
    MARGIN,
    WIDTH,
    axis,
    fold,
    legend,
    mark,
    padded,
    place,
    sheet,
    stroke,
    write,
)
from modicum.core.report.svg import INK, MARKS, MUTED, RULE, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_BAND = 26
_FOOT = 3.2 * LINE
_PANEL = 190
_PANEL_LEFT = 46
# Room for half of the outermost tick label.
_INSET = 18
_PANEL_FOOT = 4.2 * LINE
# Costs that span more than this are drawn on a logarithmic axis, or the cheap arms would fall into one point.
_WIDE_SPAN = 20


def forest(report: Report) -> str:
    """Draw the paired differences to the baseline, with their 95 % intervals and one dot a seed."""
    metric, baseline = report.metric, report.baseline.name
    return draw(
        partial(_forest_figure, report),
        title=f"{report.title}: paired differences in {metric.name} to {baseline}, better to the right",
        description=" ".join(words.describe_difference(each, metric) for each in report.against(baseline)),
        salt=f"forest {report.method} {report.budget} {report.environment.created}",
    )


def quality_against_cost(report: Report) -> str:
    """Draw the primary metric of every arm against its median seconds and the method's first own cost."""
    costs = ["time", *(cost.name for cost in report.costs[:1])]
    return draw(
        partial(_cost_figure, report),
        title=f"{report.title}: {report.metric.name} against {' and '.join(costs)}, better is up and cheaper is left",
        description=" ".join(words.describe_arm(arm, report) for arm in report.arms),
        salt=f"cost {report.method} {report.budget} {report.environment.created}",
    )


def _forest_figure(report: Report) -> Figure:
    differences = report.against(report.baseline.name)
    roles: dict[str, Role] = {arm.name: arm.role for arm in report.arms}
    names = [fold(difference.arm) for difference in differences]
    top = 2.2 * LINE
    bottom = top + sum(len(name) * LINE + _BAND for name in names)
    figure, page = sheet(bottom + _FOOT)
    legend(page, [roles[difference.arm] for difference in differences])
    rows = place(figure, left=_INSET, top=top, width=WIDTH - 2 * _INSET, height=bottom - top)
    ends = [end for each in differences for end in (*each.values, each.low, each.high) if end is not None]
    rows.set_xlim(*padded([0.0, *ends]))
    rows.set_ylim(bottom, top)
    rows.spines["left"].set_visible(False)
    rows.set_yticks([])
    axis(rows, "x")
    y = top
    for difference, name in zip(differences, names, strict=True):
        for line in name:
            y += LINE
            write(page, MARGIN, y - 4, line, bold=True)
        write(page, WIDTH - MARGIN, y - 4, numbers.signed(difference.mean, report.metric.digits), bold=True, right=True)
        _forest_row(rows, difference, y + 8, roles[difference.arm])
        y += _BAND
    write(page, MARGIN, bottom + _FOOT - 5, f"0 = {fold(report.baseline.name)[0]}", color=MUTED)
    write(page, WIDTH - MARGIN, bottom + _FOOT - 5, "better →", bold=True, right=True)
    return figure


def _forest_row(rows: Axes, difference: Difference, y: float, role: Role) -> None:
    stroke(rows, [0, 0], [y - 8, y + 12], color=INK)
    if difference.low is not None and difference.high is not None:
        stroke(rows, [difference.low, difference.high], [y, y], color=MARKS[role][1], width=2.5)
    for value in difference.values:
        rows.plot(value, y + 9, "o", color=MUTED, markersize=3.6, markeredgewidth=0, alpha=0.75, clip_on=False)
    mark(rows, difference.mean, y, role, size=9)


def _cost_figure(report: Report) -> Figure:
    panels: list[tuple[str, Mapping[str, float]]] = [
        ("median seconds a job", {arm.name: arm.seconds for arm in report.arms})
    ]
    panels += [
        (words.heading(own), {arm.name: arm.costs[own.name] for arm in report.arms if own.name in arm.costs})
        for own in report.costs[:1]
    ]
    names = [fold(arm.name) for arm in report.arms]
    quality = [*fold(f"↑ better: {words.heading(report.metric)}")]
    if not report.metric.higher_is_better:
        quality.append("(axis reversed: lower is better)")
    top = (2.6 + len(quality)) * LINE
    key = top + len(panels) * (_PANEL + _PANEL_FOOT) - 0.4 * LINE
    figure, page = sheet(key + sum(map(len, names)) * (LINE + 1) - 6)
    legend(page, [arm.role for arm in report.arms])
    _block(page, MARGIN, 2.8 * LINE, quality)
    for number, (name, costs) in enumerate(panels):
        y = top + number * (_PANEL + _PANEL_FOOT)
        _panel(place(figure, left=_PANEL_LEFT, top=y, width=WIDTH - _PANEL_LEFT - _INSET, height=_PANEL), report, costs)
        _block(page, _PANEL_LEFT, y + _PANEL + 2.3 * LINE, fold(f"← cheaper: {name}"))
    _key(page, report.arms, names, key)
    return figure


def _block(page: Axes, x: float, y: float, lines: Sequence[str]) -> None:
    for number, line in enumerate(lines):
        write(page, x, y + number * LINE, line, bold=True)


def _key(page: Axes, arms: Sequence[ArmResult], names: Sequence[Sequence[str]], y: float) -> None:
    for number, (arm, name) in enumerate(zip(arms, names, strict=True), start=1):
        write(page, MARGIN + 14, y, str(number), bold=True, right=True)
        mark(page, MARGIN + 24, y - 4, arm.role)
        for line in name:
            write(page, MARGIN + 36, y, line)
            y += LINE + 1


def _panel(axes: Axes, report: Report, costs: Mapping[str, float]) -> None:
    shown = {number: arm for number, arm in enumerate(report.arms, start=1) if arm.name in costs}
    lowest, highest = min(costs.values(), default=0.0), max(costs.values(), default=0.0)
    if lowest > 0 and highest > _WIDE_SPAN * lowest:
        axes.set_xscale("log")
        axes.set_xlim(lowest / 1.5, highest * 1.5)
    else:
        axes.set_xlim(*padded(list(costs.values())))
    low, high = padded([arm.mean for arm in report.arms])
    axes.set_ylim(*((low, high) if report.metric.higher_is_better else (high, low)))
    axis(axes, "x")
    axis(axes, "y")
    points = [(costs[arm.name], arm.mean) for arm in shown.values()]
    for (x, y), arm in zip(points, shown.values(), strict=True):
        mark(axes, x, y, arm.role)
    if shown:
        _number(axes, list(shown), points)


def _number(axes: Axes, labels: Sequence[int], points: Sequence[tuple[float, float]]) -> None:
    frame = axes.bbox
    room = Box(left=frame.x0 + 8, bottom=frame.y0 + 8, right=frame.x1 + _INSET - 8, top=frame.y1 + 2)
    on_sheet = [(float(x), float(y)) for x, y in axes.transData.transform(points)]
    spots = axes.transData.inverted().transform(place_labels(on_sheet, size=(14.0, 12.0), room=room))
    for label, point, (x, y) in zip(labels, points, spots, strict=True):
        stroke(axes, [point[0], x], [point[1], y], color=RULE)
        axes.text(x, y, str(label), color=INK, size=11, weight="bold", ha="center", va="center")
