"""Where the command line writes: results on stdout, everything else on stderr."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from modicum.core.jobs import Progress


STOPPED = 130  # 128 and the number of SIGINT, as shells have it
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout; messages go to stderr.")]


def out() -> Console:
    """Give the console of results."""
    from rich.console import Console

    return Console(highlight=False)


def say(message: str) -> None:
    """Tell the user something that is not the result."""
    typer.echo(message, err=True)


@contextmanager
def progress_bar(title: str, *, every: float = 60.0) -> Generator[Progress]:
    """Show a bar on stderr while jobs run; a line now and then if stderr is no terminal."""
    if not sys.stderr.isatty():
        with _progress_lines(title, every) as lines:
            yield lines
        return
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
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None, last="")

        def tell(done: int, total: int, text: str) -> None:
            bar.update(task, completed=done, total=total, last=text)

        yield tell


@contextmanager
def _progress_lines(title: str, every: float) -> Generator[Progress]:
    # From a thread of its own: one job may take hours, and its reader wants to know that it still runs.
    began, state, ended = time.monotonic(), ["begun"], threading.Event()

    def say_now_and_then() -> None:
        while not ended.wait(every):
            say(f"{title}: {state[0]}, {(time.monotonic() - began) / 60:.0f} min")

    def tell(done: int, total: int, text: str) -> None:
        state[0] = f"{done} of {total}" + (f", {text}" if text else "")

    thread = threading.Thread(target=say_now_and_then, daemon=True)
    thread.start()
    try:
        yield tell
    finally:
        ended.set()
        thread.join()


@contextmanager
def stoppable(left: str) -> Generator[None]:
    """Turn Ctrl-C into a sentence and status 130."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"Stopped. {left}")
        raise SystemExit(STOPPED) from None
