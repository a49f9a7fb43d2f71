"""Where the command line writes: results on stdout, everything else on stderr."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from modicum.core.jobs import Progress

__all__ = ["Json", "out", "progress_bar", "say", "stoppable"]

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout; messages go to stderr.")]


def out() -> Console:
    """Give the console of results."""
    from rich.console import Console

    return Console(highlight=False)


def say(message: str) -> None:
    """Tell the user something that is not the result."""
    typer.echo(message, err=True)


@contextmanager
def progress_bar(title: str) -> Generator[Progress]:
    """Show a bar on stderr while jobs run; nothing if stderr is no terminal.

    Args:
        title: of what is going on.

    Yields:
        A function to call with (jobs done, jobs in all, what was done).
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[last]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(title, total=None, last="")

        def tell(done: int, total: int, text: str) -> None:
            bar.update(task, completed=done, total=total, last=text)

        yield tell


@contextmanager
def stoppable(left: str) -> Generator[None]:
    """Turn Ctrl-C into a sentence and status 1.

    Args:
        left: what there is after it, as a sentence.

    Yields:
        Nothing.

    Raises:
        Exit: with status 1, after Ctrl-C.
    """
    try:
        yield
    except KeyboardInterrupt:
        say(f"Stopped. {left}")
        raise typer.Exit(1) from None
