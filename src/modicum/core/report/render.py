"""The renderers of a report: tables on a terminal, Markdown as GitHub reads it, one HTML page, and their files."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from modicum.core.files import make_folder, replacing
from modicum.core.report import words
from modicum.core.report.figures import forest, quality_against_cost
from modicum.core.report.words import Column, arm_columns, control_columns, method_rows, rows, seed_columns
from modicum.core.results import Report, Verdict, dump

if TYPE_CHECKING:
    from markupsafe import Markup
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.table import Table

_STYLE: dict[Verdict, str] = {
    "better": "bold green",
    "worse": "bold red",
    "equivalent": "bold cyan",
    "no difference shown": "bold cyan",
    "too few seeds": "bold yellow",
}
_SYMBOLS: dict[Verdict, str] = {
    "better": "▲",
    "worse": "▼",
    "equivalent": "=",
    "no difference shown": "~",
    "too few seeds": "?",
}
_HEADING_WIDTH = 12
# An underscore inside a word means nothing to Markdown, and names of options are full of them.
_SPECIAL = re.compile(r"[\\`*\[\]<>|#~$&]|(?<![^\W_])_|_(?![^\W_])")
_ADDRESS = re.compile(
    r"https?://[^\s<>\"]*[^\s<>\".,;:)\]]|arXiv:\d{4}\.\d{4,5}(?:v\d+)?|doi:10\.\d{4,}/[^\s<>\"]*[^\s<>\".,;:)\]]"
)
_RESOLVERS = {"arXiv:": "https://arxiv.org/abs/", "doi:": "https://doi.org/"}


def table(report: Report) -> RenderableType:
    """Lay a report out for ``rich.console.Console.print``, on a terminal of any width.

    Columns that do not fit next to the others go to a further table below.
    """
    from rich.console import Group
    from rich.text import Text

    return Group(
        Text(_for_terminal(report.question), style="bold"),
        _Tables(arm_columns(report)),
        *(Text(_for_terminal(caution), style="yellow") for caution in words.cautions(report)),
        *(
            Text.assemble((row.verdict, _STYLE[row.verdict]), f": {_for_terminal(row.sentence)}")
            for row in method_rows(report)
        ),
        Text(_for_terminal(words.how_made(report)), style="dim"),
    )


def plain_table(report: Report) -> str:
    """Give the text of `table` for a width of 120."""
    from rich.console import Console

    console = Console(width=120, color_system=None, force_terminal=False, force_jupyter=False)
    with console.capture() as captured:
        console.print(table(report))
    return captured.get().rstrip()


class _Tables:
    """Columns, cut into as many tables as the width of the terminal asks for."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = columns

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        from rich.cells import cell_len

        widest_text = max(16, 3 * options.max_width // 10)

        def width(column: Column) -> int:
            widest = max(map(cell_len, (*column.cells, *_broken(column.heading))))
            return 2 + (widest if column.numeric else min(widest, widest_text))

        first, *others = self.columns
        group = [first]
        for column in others:
            if len(group) > 1 and sum(map(width, (*group, column))) > options.max_width:
                yield from ("", _one_table(group, widest_text))
                group = [first]
            group.append(column)
        yield from ("", _one_table(group, widest_text), "")


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


def markdown(reports: Sequence[Report]) -> str:
    """Write reports as Markdown: a summary of all method arms, then a section for each report."""
    heads = ("method", "question", "verdict", "difference", "95 % interval, corrected p", "cost, against the baseline")
    all_rows = [(report, row) for report in reports for row in method_rows(report)]
    cells = [
        (
            f"{report.title}: {row.arm.name}",
            report.question,
            row.verdict,
            row.change,
            row.certainty,
            "; ".join(row.costs),
        )
        for report, row in all_rows
    ]
    overall = words.overall([row.verdict for _, row in all_rows])
    lines = ["# Comparisons", "", overall, "", *_grid(heads, cells)]
    for report in reports:
        lines += ["", *_section(report)]
    return "\n".join(lines) + "\n"


def _section(report: Report) -> Iterator[str]:
    yield from (f"## {_escaped(report.title)}", "", _escaped(report.question), "")
    if told := words.cautions(report):
        yield from (_escaped(" ".join(told)), "")
    yield from (f"- **{row.verdict}**: {_escaped(row.sentence)}" for row in method_rows(report))
    yield from ("", *_columns(arm_columns(report)), "", _escaped(words.how_made(report)))
    if (controls := control_columns(report))[0].cells:
        yield from ("", "### Against the controls", "", *_columns(controls))
    if (secondary := words.exploratory_columns(report))[0].cells:
        yield from ("", "### Secondary metrics, exploratory", "", words.EXPLORATORY, "", *_columns(secondary))
    yield from ("", f"### {_escaped(words.heading(report.metric))} on each seed", "", *_columns(seed_columns(report)))
    yield from ("", "### Made from", "", f"- Budget: {report.budget}")
    if report.data:
        yield f"- Data: {_escaped(report.data)}"
    yield from (f"- Option {_escaped(name)}: {_escaped(value)}" for name, value in report.options.items())
    yield from (f"- Source: {_escaped(source)}" for source in report.sources)
    made = report.environment
    software = f"modicum {made.modicum}, Python {made.python}, torch {made.torch}, numpy {made.numpy}"
    machine = f"{made.platform}, {made.processor}, {made.cores} cores, device {made.device}"
    yield from (f"- Software: {_escaped(software)}", f"- Machine: {_escaped(machine)}")
    yield from (f"- Commit: {made.commit or 'unknown'}", f"- Created: {made.created}")
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", made.command)), default=0))
    yield from ("", f"{fence}sh", made.command, fence)


def _columns(columns: Sequence[Column]) -> Iterator[str]:
    return _grid([column.heading for column in columns], rows(columns), numeric=[column.numeric for column in columns])


def _grid(heads: Sequence[str], cells: Iterable[Sequence[str]], *, numeric: Sequence[bool] = ()) -> Iterator[str]:
    first, *others = [f"| {' | '.join(map(_escaped, row))} |" for row in (heads, *cells)]
    rule = "|".join(" ---: " if right else " --- " for right in numeric or [False] * len(heads))
    yield from (first, f"|{rule}|", *others)


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))


def page(reports: Sequence[Report]) -> str:
    """Write reports as one HTML document, which loads nothing, runs no script and adapts to phones, dark and paper."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("modicum.core.report", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    verdicts = [row.verdict for report in reports for row in method_rows(report)]
    slugs = [re.sub(r"[^a-z0-9]+", "-", report.method.lower()).strip("-") for report in reports]
    return environment.get_template("page.html.jinja").render(
        sections=[
            (f"{number}-{slug}", report) for number, (slug, report) in enumerate(zip(slugs, reports, strict=True), 1)
        ],
        verdicts=verdicts,
        symbols=_SYMBOLS,
        linked=_linked,
        words=words,
        forest=_drawn(forest),
        quality_against_cost=_drawn(quality_against_cost),
    )


def _drawn(figure: Callable[[Report], str]) -> Callable[[Report], Markup]:
    from markupsafe import Markup

    return lambda report: Markup(figure(report))  # noqa: S704 - the figure has escaped every text


def _linked(source: str) -> Markup:
    from markupsafe import Markup, escape

    linked, end = Markup(), 0
    for found in _ADDRESS.finditer(source):
        shown = target = found.group()
        for scheme, resolver in _RESOLVERS.items():
            target = resolver + target.removeprefix(scheme) if target.startswith(scheme) else target
        linked += escape(source[end : found.start()]) + Markup('<a href="{}">{}</a>').format(target, shown)
        end = found.end()
    return linked + escape(source[end:])


def write(reports: Sequence[Report], folder: Path) -> Path:
    """Write reports as ``report.json``, ``report.md`` and ``report.html``, and give the path of the page.

    Raises:
        ConfigError: if the folder cannot be made or written. Files that were there are then still complete.
    """
    texts = {"report.json": dump(reports), "report.md": markdown(reports), "report.html": page(reports)}
    make_folder(folder)
    with ExitStack() as written:  # all of them are written before the first takes its name
        for name, text in texts.items():
            written.enter_context(replacing(folder / name)).write(text)
    return folder / "report.html"
