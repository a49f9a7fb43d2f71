"""A report as Markdown, in the dialect of GitHub."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from modicum.core.report import words
from modicum.core.report.cells import Column, arm_columns, control_columns, judged, rows, seed_columns, summary
from modicum.core.report.model import Report

# An underscore inside a word means nothing to Markdown, and names of options are full of them.
_SPECIAL = re.compile(r"[\\`*\[\]<>|#~$&]|(?<![^\W_])_|_(?![^\W_])")


def markdown(reports: Sequence[Report]) -> str:
    """Write reports as Markdown: a summary of all method arms, then a section for each report.

    Args:
        reports: the answers, in the order in which they are to be read.

    Returns:
        Text that ends with a line break.
    """
    heads = ("method", "question", "verdict", "difference", "95 % interval, p", "cost, against the baseline")
    judgements = summary(reports)
    table = [
        (
            f"{row.report.title}: {row.arm.name}",
            row.report.question,
            row.verdict,
            row.change,
            row.certainty,
            "; ".join(row.costs),
        )
        for row in judgements
    ]
    lines = ["# Comparisons", "", words.overall([row.verdict for row in judgements]), "", *_grid(heads, table)]
    for report in reports:
        lines += ["", *_section(report)]
    return "\n".join(lines) + "\n"


def _section(report: Report) -> Iterator[str]:
    yield from (f"## {_escaped(report.title)}", "", _escaped(report.question), "")
    yield from (f"- **{row.verdict}**: {_escaped(row.sentence)}" for row in judged(report))
    yield from ("", *_table(arm_columns(report)), "", _escaped(words.how_made(report)))
    if (controls := control_columns(report))[0].cells:
        yield from ("", "### Against the controls", "", *_table(controls))
    yield from ("", f"### {_escaped(words.heading(report.metric))} on each seed", "", *_table(seed_columns(report)))
    yield from ("", "### Made from", "", *_made_from(report))


def _made_from(report: Report) -> Iterator[str]:
    machine = report.environment
    yield f"- Budget: {report.budget}"
    if report.data:
        yield f"- Data: {_escaped(report.data)}"
    yield from (f"- Option {_escaped(name)}: {_escaped(value)}" for name, value in report.options.items())
    yield from (f"- Source: {_escaped(source)}" for source in report.sources)
    software = f"modicum {machine.modicum}, Python {machine.python}, torch {machine.torch}, numpy {machine.numpy}"
    yield f"- Software: {_escaped(software)}"
    yield _escaped(
        f"- Machine: {machine.platform}, {machine.processor}, {machine.cores} cores, device {machine.device}"
    )
    yield f"- Commit: {machine.commit or 'unknown'}"
    yield f"- Created: {machine.created}"
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", machine.command)), default=0))
    yield from ("", f"{fence}sh", machine.command, fence)


def _table(columns: Sequence[Column]) -> Iterator[str]:
    return _grid([column.heading for column in columns], rows(columns), numeric=[column.numeric for column in columns])


def _grid(heads: Sequence[str], table: Iterable[Sequence[str]], *, numeric: Sequence[bool] = ()) -> Iterator[str]:
    yield _line(heads)
    yield "|" + "|".join(" ---: " if right else " --- " for right in numeric or [False] * len(heads)) + "|"
    yield from map(_line, table)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_escaped, cells))} |"


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))
