"""A report as tables on a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from modicum.core.report import words
from modicum.core.report.cells import Column, arm_columns, judged, rows
from modicum.core.report.model import Report

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.table import Table


_STYLE = {
    "better": "bold green",
    "worse": "bold red",
    "no difference shown": "bold cyan",
    "too few seeds": "bold yellow",
}
_HEADING_WIDTH = 12
_PADDING = 2


def table(report: Report) -> RenderableType:
    """Lay a report out for a terminal of any width.

    Args:
        report: the answer to one comparison.

    Returns:
        A renderable for ``rich.console.Console.print``: the question, one row an arm, the verdicts and how the
        numbers were made. Columns that do not fit beside the others go to a further table below.
    """
    from rich.console import Group
    from rich.text import Text

    verdicts = [
        Text.assemble((row.verdict, _STYLE[row.verdict]), f": {_for_terminal(row.sentence)}") for row in judged(report)
    ]
    return Group(
        Text(_for_terminal(report.question), style="bold"),
        _Tables(arm_columns(report)),
        *verdicts,
        Text(_for_terminal(words.how_made(report)), style="dim"),
    )


class _Tables:
    """Columns, cut into as many tables as the width of the terminal asks for."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = columns

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        first, *others = self.columns
        widest_text = max(16, 3 * options.max_width // 10)
        room = options.max_width - _width(first, widest_text)
        for group in _packed(others, room, widest_text):
            yield ""
            yield _one_table([first, *group], widest_text)
        yield ""


def _packed(columns: Sequence[Column], room: int, widest_text: int) -> Iterator[list[Column]]:
    group: list[Column] = []
    for column in columns:
        if group and sum(_width(each, widest_text) for each in (*group, column)) > room:
            yield group
            group = []
        group.append(column)
    yield group


def _width(column: Column, widest_text: int) -> int:
    from rich.cells import cell_len

    widest = max(map(cell_len, (*column.cells, *_broken(column.heading))))
    return _PADDING + (widest if column.numeric else min(widest, widest_text))


def _broken(heading: str) -> list[str]:
    return textwrap.wrap(heading, _HEADING_WIDTH) or [""]


def _one_table(columns: Sequence[Column], widest_text: int) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for column in columns:
        drawn.add_column(
            Text("\n".join(map(_for_terminal, _broken(column.heading)))),
            justify="right" if column.numeric else "left",
            vertical="top",
            overflow="fold",
            max_width=None if column.numeric else widest_text,
        )
    for row in rows(columns):
        drawn.add_row(*(Text(_for_terminal(cell)) for cell in row))
    return drawn


def _for_terminal(text: str) -> str:
    # A pipe on an old code page has ± and ×, but neither a true minus nor a dash.
    return text.translate({ord("−"): "-", ord("–"): "-"})
