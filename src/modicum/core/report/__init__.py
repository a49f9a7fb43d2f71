"""The report of a comparison: as data, on a terminal, as Markdown and as one HTML file.

Importing this loads neither rich, nor jinja2, nor matplotlib: each renderer does when it is called.
"""

from __future__ import annotations

from modicum.core.report.files import write
from modicum.core.report.markdown import markdown
from modicum.core.report.model import ArmResult, Difference, Environment, Report, Verdict, dump, load
from modicum.core.report.page import page
from modicum.core.report.terminal import table

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
