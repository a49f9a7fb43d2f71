"""What the commands share: options, checks of arguments, results on stdout, and everything else on stderr."""

from __future__ import annotations

import json as json_format
import logging
import sys
import threading
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modicum.core.files import check_target
from modicum.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from modicum.core.progress import Progress


STOPPED = 130  # 128 and the number of SIGINT, as shells have it
NOTHING_WRITTEN = "Nothing was written: the same command begins again."

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout; messages go to stderr.")]
Device = Annotated[str, typer.Option(help="cpu, or a GPU as torch knows it: cuda.")]
Model = Annotated[Path, typer.Option("--model", help="Folder that train wrote.")]


def out() -> Console:
    """Give the console of results."""
    from rich.console import Console

    return Console(highlight=False)


def say(message: str) -> None:
    """Tell the user something that is not the result."""
    typer.echo(message, err=True)


def print_json(document: Any) -> None:
    """Print a result for programs; what is infinite or no number has none in JSON, and becomes null."""
    from pydantic_core import to_jsonable_python

    typer.echo(json_format.dumps(to_jsonable_python(document, inf_nan_mode="null"), indent=2))


def check_model(folder: Path) -> None:
    """See whether there is a folder, before libraries are imported to read it."""
    if not folder.is_dir():
        raise ConfigError(f"There is no folder {folder}.", hint="Write --model with a folder that train wrote.")


def check_new_folder(folder: Path, inputs: Iterable[Path | str | None] = ()) -> None:
    """See whether --out names a folder that is new or empty: files of another run would be taken for those of this."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"--out {folder} is there already and not an empty folder.", hint="Name a new one.")
    check_target(folder, option="--out", folder=True, inputs=inputs)


def check_least(least: int, **numbers: int | None) -> None:
    """Refuse integers that are too small; their names are those of the options, in Python's spelling."""
    for name, number in numbers.items():
        if number is not None and number < least:
            raise ConfigError(f"--{name.replace('_', '-')} is {number}.", hint=f"Give {least} or more.")


@contextmanager
def progress_bar(title: str, *, every: float = 60.0) -> Generator[Progress]:
    """Show a bar on stderr while something runs; a line now and then if stderr is no terminal."""
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
        yield lambda done, total, text: bar.update(task, completed=done, total=total or None, last=text)


@contextmanager
def _progress_lines(title: str, every: float) -> Generator[Progress]:
    # From a thread of its own: one job may take hours, and its reader wants to know that it still runs.
    began, state, ended = time.monotonic(), ["begun"], threading.Event()

    def say_now_and_then() -> None:
        while not ended.wait(every):
            say(f"{title}: {state[0]}, {(time.monotonic() - began) / 60:.0f} min")

    def note(done: int, total: int, text: str) -> None:
        state[0] = (f"{done} of {total}" if total else str(done)) + (f", {text}" if text else "")

    thread = threading.Thread(target=say_now_and_then, daemon=True)
    thread.start()
    try:
        yield note
    finally:
        ended.set()
        thread.join()


@contextmanager
def logged() -> Generator[None]:
    """Say on stderr what modicum logs."""

    class Words(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say(record.getMessage())

    logger, handler = logging.getLogger("modicum"), Words()
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@contextmanager
def stoppable(left: str) -> Generator[None]:
    """Turn Ctrl-C into a sentence and status 130."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"Stopped. {left}")
        raise SystemExit(STOPPED) from None
