# pyright: reportUnknownMemberType=false
# matplotlib's annotations leave its keyword arguments open.
"""The figures of a report, as SVG for its page: how sure a difference is, and what quality costs."""

from __future__ import annotations

import io
import itertools
import re
import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from modicum.core.method import Role
from modicum.core.report import words
from modicum.core.results import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# matplotlib knows no CSS. It draws in colours that nobody would choose, and they are exchanged in the text.
_INK, _MUTED, _RULE, _PAPER = "#000001", "#000002", "#000003", "#000004"
_MARKS: dict[Role, tuple[str, str]] = {
    "baseline": ("s", "#000005"),
    "method": ("o", "#000006"),
    "control": ("D", "#000007"),
}
_CSS = {
    _INK: "currentColor",
    _MUTED: "var(--muted, currentColor)",
    _RULE: "var(--rule, #8a857c)",
    _PAPER: "var(--paper, #ffffff)",
    "#000005": "var(--baseline, #5a5750)",
    "#000006": "var(--method, #0b57a4)",
    "#000007": "var(--control, #94420a)",
}
_STYLE = {
    "svg.fonttype": "none",
    "font.size": 11,
    "text.color": _INK,
    "text.parse_math": False,
    "axes.edgecolor": _RULE,
    "axes.labelcolor": _INK,
    "axes.labelsize": 11.5,
    "axes.labelweight": "bold",
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.xmargin": 0.08,
    "axes.ymargin": 0.1,
    **dict.fromkeys(("xtick.color", "ytick.color"), _RULE),
    **dict.fromkeys(("xtick.labelcolor", "ytick.labelcolor"), _MUTED),
    "legend.frameon": False,
    "legend.labelcolor": _INK,
    "legend.handletextpad": 0.2,
    "legend.borderpad": 0,
    "lines.markeredgecolor": _PAPER,
}
_WIDTH = 340  # in units of the SVG, 72 an inch: a phone shows a figure at nearly this width
_LINE = 15
_LETTERS = 38  # on a line
# Costs that span more than this are drawn on a logarithmic axis, or the cheap arms would fall into one point.
_WIDE_SPAN = 20


def forest(report: Report) -> str:
    """Draw the paired differences to the baseline, with their 95 % intervals and one dot a seed."""
    metric, baseline = report.metric, report.baseline.name
    differences = report.against(baseline)

    def draw() -> Figure:
        from matplotlib.figure import Figure

        roles: dict[str, Role] = {arm.name: arm.role for arm in report.arms}
        names = [_folded(each.arm) for each in differences]
        # From top to bottom in units of the SVG: each name has its lines, below it the interval and the seeds.
        marks = np.cumsum([_LINE * (name.count("\n") + 1) + 26 for name in names]) - 18
        bottom = marks[-1] + 18
        figure = Figure((_WIDTH / 72, (bottom + 62) / 72), dpi=72, layout="constrained")
        axes = figure.subplots()
        for each, name, y in zip(differences, names, marks, strict=True):
            shape, colour = _MARKS[roles[each.arm]]
            for text, x, side in ((name, 0, "left"), (words.signed(each.mean, metric.digits), 1, "right")):
                axes.text(x, y - 8, text, transform=axes.get_yaxis_transform(), ha=side, weight="bold", in_layout=False)
            axes.plot([0, 0], [y - 6, y + 13], color=_INK, linewidth=1)
            if each.low is not None and each.high is not None:
                axes.plot([each.low, each.high], [y, y], color=colour, linewidth=2.5)
            seeds = [y + 9] * len(each.values)
            axes.plot(each.values, seeds, "o", color=_MUTED, markersize=3.6, markeredgewidth=0, alpha=0.75)
            axes.plot(each.mean, y, shape, color=colour, markersize=9)
        axes.set_ylim(bottom, 0)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.locator_params(axis="x", nbins=5)
        axes.set_xlabel(_folded(f"0 = {baseline}, better →"), loc="right")
        shown: list[Role] = [role for role in _MARKS if role in {roles[each.arm] for each in differences}]
        figure.legend(_handles(shown), shown, loc="outside upper left", ncols=len(shown))
        return figure

    return _svg(
        draw,
        title=f"{report.title}: paired differences in {metric.name} to {baseline}, better to the right",
        description=" ".join(f"{words.measure_difference(each, metric)}, {each.verdict}." for each in differences),
        salt=f"forest {report.method} {report.budget} {report.environment.created}",
    )


def quality_against_cost(report: Report) -> str:
    """Draw the primary metric of every arm against its median seconds and the method's first own cost."""
    costs = ["time", *(cost.name for cost in report.costs[:1])]
    return _svg(
        lambda: _cost_figure(report),
        title=f"{report.title}: {report.metric.name} against {' and '.join(costs)}, better is up and cheaper is left",
        description=" ".join(words.describe_arm(arm, report) for arm in report.arms),
        salt=f"cost {report.method} {report.budget} {report.environment.created}",
    )


def _cost_figure(report: Report) -> Figure:
    from matplotlib.figure import Figure

    panels: list[tuple[str, Mapping[str, float]]] = [
        ("median seconds a job", {arm.name: arm.seconds for arm in report.arms})
    ]
    panels += [
        (words.heading(own), {arm.name: arm.costs[own.name] for arm in report.arms if own.name in arm.costs})
        for own in report.costs[:1]
    ]
    key = [_folded(f"{number} {arm.name} ({arm.role})") for number, arm in enumerate(report.arms, 1)]
    height = 240 * len(panels) + 40 + 17 * sum(name.count("\n") + 1 for name in key)
    figure = Figure((_WIDTH / 72, height / 72), dpi=72, layout="constrained")
    better = _folded(f"↑ better: {words.heading(report.metric)}")
    if not report.metric.higher_is_better:
        better += "\n(axis reversed: lower is better)"
    all_axes: list[Axes] = list(figure.subplots(len(panels), squeeze=False)[:, 0])
    all_axes[0].set_title(better, loc="left")
    for axes, (name, costs) in zip(all_axes, panels, strict=True):
        axes.set_xlabel(_folded(f"← cheaper: {name}"), loc="left")
        _plot_panel(axes, report, costs)
    figure.legend(_handles([arm.role for arm in report.arms]), key, loc="outside lower left")
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # the numbers are put where the marks now are
    for axes, (_, costs) in zip(all_axes, panels, strict=True):
        _number(axes, {n: (costs[arm.name], arm.mean) for n, arm in enumerate(report.arms, 1) if arm.name in costs})
    return figure


def _plot_panel(axes: Axes, report: Report, costs: Mapping[str, float]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    for arm in report.arms:
        if arm.name in costs:
            shape, colour = _MARKS[arm.role]
            axes.plot(costs[arm.name], arm.mean, shape, color=colour, markersize=8, clip_on=False)
    if not report.metric.higher_is_better:
        axes.invert_yaxis()
    axes.locator_params(nbins=5)
    lowest, highest = min(costs.values(), default=0.0), max(costs.values(), default=0.0)
    if lowest > 0 and highest > _WIDE_SPAN * lowest:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=7))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())


def _number(axes: Axes, points: Mapping[int, tuple[float, float]]) -> None:
    """Write each number next to its mark, as near as the other marks and numbers allow."""
    from matplotlib.transforms import IdentityTransform

    pixels = IdentityTransform()
    marks = axes.transData.transform(np.reshape(list(points.values()), (-1, 2)))
    taken = list(marks)
    for number, mark in zip(points, marks, strict=True):
        taken.append(_free_spot(mark, taken, axes))
        x, y = taken[-1]
        axes.plot([mark[0], x], [mark[1], y], color=_RULE, linewidth=1, zorder=1, transform=pixels)
        axes.text(x, y, str(number), transform=pixels, ha="center", va="center", weight="bold")


def _free_spot(mark: Any, taken: Sequence[Any], axes: Axes) -> Any:
    angles = np.pi / 8 * np.arange(1, 17)
    circle = np.column_stack([np.cos(angles), np.sin(angles)])
    spots = (mark + radius * step for radius in itertools.count(12.0, 5.0) for step in circle)
    inside = (spot for spot in spots if axes.bbox.contains(*spot) or np.hypot(*(spot - mark)) > _WIDTH)
    return next(spot for spot in inside if np.hypot(*(spot - taken).T).min() > 11.5)


def _handles(roles: Sequence[Role]) -> list[Any]:
    from matplotlib.lines import Line2D

    return [Line2D([], [], color=_MARKS[role][1], marker=_MARKS[role][0], linestyle="", markersize=8) for role in roles]


def _folded(text: str) -> str:
    # Letters from Chinese on are as wide as two.
    return textwrap.fill(
        text, _LETTERS // (1 + any(letter > "\u2e80" for letter in text)), max_lines=2, placeholder="…"
    )


def _svg(figure: Callable[[], Figure], *, title: str, description: str, salt: str) -> str:
    from matplotlib import style

    buffer = io.StringIO()
    with style.context({**_STYLE, "svg.hashsalt": salt}, after_reset=True), warnings.catch_warnings():
        # The reader's browser sets the text: that matplotlib's own font lacks a letter does not matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font|constrained_layout not applied")
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure().savefig(buffer, format="svg", transparent=True, metadata=metadata)
    head, _, drawn = buffer.getvalue().partition("<svg")[2].partition(">")
    # Styles and identifiers would be those of the whole page, and its font is the one to take.
    theirs = r"<style.*?</style>|<!--.*?-->|(?<=<g) id=\"[^\"]*\"| clip-path=\"[^\"]*\"|font-family: [^;\"]*;?\s*"
    drawn = re.sub(theirs, "", drawn, flags=re.DOTALL)
    for colour, css in _CSS.items():
        drawn = drawn.replace(colour, css)
    view = re.search(r'viewBox="[^"]*"', head)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {view and view[0]} role="img" stroke-linejoin="round">'
        f"<title>{escape(title)}</title><desc>{escape(description)}</desc>{drawn.replace('xlink:href', 'href')}"
    )
