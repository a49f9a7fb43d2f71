"""The report of a comparison: as data, on a terminal, as Markdown and as one HTML file.

Importing this loads neither rich, nor jinja2, nor matplotlib: each renderer does when it is called.
"""

from __future__ import annotations

from modicum.core.report.render import markdown, page, table, write
from modicum.core.results import ArmResult, Difference, Environment, Report, Verdict, dump, load

__all__ = [
    "ArmResult",
    "Difference",
    "Environment",
    "Report",
    "Verdict",
    "dump",
    "load",
    "markdown",
    "page",
    "table",
    "write",
]
