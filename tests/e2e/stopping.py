"""The program in a process of its own, to be stopped by Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def interruptible(*arguments: object, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """Start the program on one thread; it heeds Ctrl-C even if a shell started the tests in the background."""
    with subprocess.Popen(
        [sys.executable, "-m", "modicum", *map(str, arguments)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as running:
        yield running
