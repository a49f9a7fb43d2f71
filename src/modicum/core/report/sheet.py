# pyright: reportUnknownMemberType=false
# matplotlib's annotations leave its keyword arguments open.
"""A sheet in user units to draw on, and the few strokes that the figures are made of."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from modicum.core.method import Role
from modicum.core.report.svg import INK, MARKS, MUTED, PAPER, RULE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# In user units, of which the SVG backend draws 72 an inch. A phone shows a figure at nearly this width.
WIDTH = 340
MARGIN = 3
LINE = 15
_LETTERS = 38


def sheet(height: float) -> tuple[Figure, Axes]:
    """Make a figure and, over all of it, axes that count user units from the upper left corner."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72)
    page = place(figure, left=0, top=0, width=WIDTH, height=height)
    page.set_axis_off()
    page.set_xlim(0, WIDTH)
    page.set_ylim(height, 0)
    return figure, page


def place(figure: Figure, *, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes at a place that is given in user units from the upper left corner."""
    whole = figure.get_figheight() * 72
    axes = figure.add_axes((left / WIDTH, 1 - (top + height) / whole, width / WIDTH, height / whole))
    axes.spines[["right", "top"]].set_visible(False)
    return axes


def write(
    axes: Axes, x: float, y: float, text: str, *, color: str = INK, bold: bool = False, right: bool = False
) -> None:
    """Write one line of text that starts, or ends, at a point."""
    axes.text(
        x,
        y,
        text,
        color=color,
        size=11.5,
        weight="bold" if bold else "normal",
        ha="right" if right else "left",
        parse_math=False,
    )


def mark(axes: Axes, x: float, y: float, role: Role, *, size: float = 8) -> None:
    """Put the mark of a role at a point; its thin rim keeps it apart from what lies below."""
    shape, colour = MARKS[role]
    axes.plot(x, y, shape, color=colour, markersize=size, markeredgecolor=PAPER, markeredgewidth=1, clip_on=False)


def stroke(axes: Axes, xs: Sequence[float], ys: Sequence[float], *, color: str, width: float = 1) -> None:
    """Draw a line, below all marks."""
    axes.plot(xs, ys, color=color, linewidth=width, zorder=1, clip_on=False)


def legend(page: Axes, roles: Iterable[Role]) -> None:
    """Explain the marks of roles at the top of a sheet."""
    x = float(MARGIN)
    for role in sorted(set(roles), key=list(MARKS).index):
        mark(page, x + 5, 14, role)
        write(page, x + 14, 18, role, color=MUTED)
        x += 34 + 7 * len(role)


def axis(axes: Axes, which: Literal["x", "y"]) -> None:
    """Give an axis few and plain ticks."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

    axes.tick_params(axis=which, which="both", color=RULE, labelcolor=MUTED, labelsize=10.5, width=1)
    axes.spines[:].set_color(RULE)
    line = axes.xaxis if which == "x" else axes.yaxis
    if line.get_scale() == "linear":
        line.set_major_locator(MaxNLocator(nbins=5))
    else:
        line.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=7))
        line.set_major_formatter(StrMethodFormatter("{x:,g}"))
        line.set_minor_formatter(NullFormatter())


def padded(values: Sequence[float]) -> tuple[float, float]:
    """Give limits that hold all values with some air around them."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    air = 0.08 * (high - low) or 0.5 * abs(high) or 0.5
    return low - air, high + air


def fold(text: str) -> list[str]:
    """Break a text into the lines, at most two, that it takes on a sheet."""
    return textwrap.wrap(text, _LETTERS, max_lines=2, placeholder="…") or [""]
