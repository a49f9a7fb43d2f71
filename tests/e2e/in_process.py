"""The program without a process of its own, for what only a message and an exit status show."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from pathlib import Path
from unittest import mock

from modicum.cli.main import run


def run_here(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the program as its entry point does, but in this process: an error that it does not tell is raised here.

    A process that imports torch and the libraries of a method takes seconds, and most of it is that import.
    """
    out, err = io.StringIO(), io.StringIO()
    status: int | str | None = 0
    command = ["modicum", *map(str, arguments)]
    with (
        contextlib.chdir(cwd),
        mock.patch.object(sys, "argv", command),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            run()
        except SystemExit as left:
            status = left.code
    assert status is None or isinstance(status, int), status
    return subprocess.CompletedProcess(command, status or 0, out.getvalue(), err.getvalue())
