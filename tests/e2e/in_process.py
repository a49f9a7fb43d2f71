"""The program and scripts without a process of their own, for what messages and an exit status show."""

from __future__ import annotations

import contextlib
import io
import logging
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import torch

from modicum.cli.main import run


def run_here(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the program as its entry point does, but in this process: an error that it does not tell is raised here.

    A process that imports torch and the libraries of a method takes seconds, and most of it is that import.
    """
    return _called(run, ["modicum", *map(str, arguments)], cwd)


def run_script_here(script: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a file as ``python FILE`` does, with names of its own, but in this process; a warning is an error.

    The generator of torch is as before afterwards: scripts may seed it, as their users do.
    """
    with torch.random.fork_rng(devices=[]):
        return _called(lambda: runpy.run_path(str(script), run_name="__main__"), [str(script), *arguments], cwd)


@contextlib.contextmanager
def heeding_interrupts() -> Iterator[None]:
    """Heed Ctrl-C even if a shell started the tests in the background; `signal.raise_signal` then is one."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def interrupted_at(words: str) -> Iterator[None]:
    """Press Ctrl-C when modicum logs a line that begins so."""

    class Interrupter(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith(words):
                signal.raise_signal(signal.SIGINT)

    handler = Interrupter()
    logging.getLogger().addHandler(handler)
    try:
        with heeding_interrupts():
            yield
    finally:
        logging.getLogger().removeHandler(handler)


def _called(call: Callable[[], object], command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    out, err = io.StringIO(), io.StringIO()
    status: int | str | None = 0
    with (
        contextlib.chdir(cwd),
        mock.patch.object(sys, "argv", command),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            call()
        except SystemExit as left:
            status = left.code
    assert status is None or isinstance(status, int), status
    return subprocess.CompletedProcess(command, status or 0, out.getvalue(), err.getvalue())
