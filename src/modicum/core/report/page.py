"""A report as one HTML file that needs nothing beside itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from modicum.core.report import words
from modicum.core.report.cells import arm_columns, control_columns, judged, rows, seed_columns, summary
from modicum.core.report.figures import forest, quality_against_cost
from modicum.core.report.model import Report, Verdict

if TYPE_CHECKING:
    from markupsafe import Markup


_SYMBOLS: dict[Verdict, str] = {"better": "▲", "worse": "▼", "no difference shown": "=", "too few seeds": "?"}
_ADDRESS = re.compile(
    r"https?://[^\s<>\"]*[^\s<>\".,;:)\]]|arXiv:\d{4}\.\d{4,5}(?:v\d+)?|doi:10\.\d{4,}/[^\s<>\"]*[^\s<>\".,;:)\]]"
)
_RESOLVERS = {"arXiv:": "https://arxiv.org/abs/", "doi:": "https://doi.org/"}


def page(reports: Sequence[Report]) -> str:
    """Write reports as one HTML document.

    Args:
        reports: the answers, in the order in which they are to be read.

    Returns:
        The document. It loads nothing, runs no script, and adapts to phones, dark mode and paper.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("modicum.core.report", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    judgements = summary(reports)
    return environment.get_template("page.html.jinja").render(
        sections=[(f"{number}-{_slug(report.method)}", report) for number, report in enumerate(reports, start=1)],
        judgements=judgements,
        overall=words.overall([row.verdict for row in judgements]),
        symbols=_SYMBOLS,
        linked=_linked,
        judged=judged,
        arm_columns=arm_columns,
        control_columns=control_columns,
        seed_columns=seed_columns,
        rows=rows,
        words=words,
        forest=_drawn(forest),
        quality_against_cost=_drawn(quality_against_cost),
    )


def _drawn(figure: Callable[[Report], str]) -> Callable[[Report], Markup]:
    from markupsafe import Markup

    # matplotlib and ElementTree have escaped every text of the figure.
    return lambda report: Markup(figure(report))  # noqa: S704


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


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
