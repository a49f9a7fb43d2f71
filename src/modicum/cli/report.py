"""``modicum report``: show again what a run found."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modicum.cli.common import Json, out, say
from modicum.errors import DataError

if TYPE_CHECKING:
    from modicum.core.report import Report


def report(
    folder: Annotated[Path, typer.Argument(help="Folder that modicum compare wrote.")], *, json: Json = False
) -> None:
    """Show the report of a finished run, and write its Markdown and HTML again."""
    from modicum.core.report import load

    try:
        reports = load(folder / "report.json")
    except DataError as error:
        hint = None if (folder / "report.json").exists() else _how_to_finish(folder)
        if hint is None:
            raise
        raise DataError(f"The comparison in {folder} is not finished.", hint=hint) from error
    show(reports, folder, json=json)


def show(reports: Sequence[Report], folder: Path, *, json: bool) -> None:
    """Write reports to a folder and print them."""
    from modicum.core.report import dump, table, write

    page = write(reports, folder)
    if json:
        typer.echo(dump(reports), nl=False)
    else:
        for entry in reports:
            out().print(table(entry))
    say(f"Report: {page}")


def _how_to_finish(folder: Path) -> str | None:
    """Give the command that goes on where a comparison without a report stopped; None if none has begun."""
    from modicum.core.journal import FILE_NAME, Journal
    from modicum.core.settings import as_text

    begun = next((path.parent for path in (folder / FILE_NAME, *folder.glob(f"*/{FILE_NAME}")) if path.is_file()), None)
    if begun is None:
        return None
    with Journal(begun) as journal:
        job = journal.example()
    if job is None or not {"arm", "budget", "settings"} <= job.keys():
        return None
    command = ["modicum", "compare", job["method"] if begun == folder else "all", "--budget", job["budget"]]
    command += ["--threads", str(job["threads"]), "--device", job["device"]]
    settings: dict[str, object] = (begun == folder and job["settings"]) or {}
    for name, value in settings.items():
        command += ["-o", f"{name}={as_text(value)}"]
    given = " and --data" if job["data"] else ""
    return f"Run it again, with the --seeds{given} that it had: {shlex.join([*command, '--out', str(folder)])}"
