"""The program in forks of a process that has run it once, killed (SIGKILL) at a write or after a time."""

from __future__ import annotations

import json
import mmap
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
# A fork has no threads but the one that forked: neither torch nor numba may have begun any.
ALONE = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "NUMBA_THREADING_LAYER": "workqueue"}
OF_PATHS = {"os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.link", "os.truncate", "sqlite3.connect"}


@dataclass(frozen=True)
class Ended:
    status: int  # of the process; -9 if it was killed
    writes: int  # openings for writing, renamings, removals and so on below the folder
    seconds: float
    said: str


class Program:
    """A process that forks itself for each run of the program."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.killing"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **ALONE},
        )

    def run(self, *arguments: object, cwd: Path) -> Ended:
        """Run the program in that process to its end: what it imports and compiles, forks need not."""
        return self._asked(arguments, cwd)

    def kill(self, *arguments: object, cwd: Path, write: int | None = None, after: float | None = None) -> Ended:
        """Run the program in a fork, and kill it.

        Args:
            arguments: of the command line.
            cwd: the folder that it runs in; only writes below it count.
            write: kill it just before this write, counted from 1.
            after: kill it after this many seconds.
        """
        return self._asked(arguments, cwd, write=write, after=after)

    def _asked(self, arguments: tuple[object, ...], cwd: Path, **when: float | None) -> Ended:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        given = {"arguments": [*map(str, arguments)], "cwd": str(cwd), "when": when}
        print(json.dumps(given), file=self._server.stdin, flush=True)
        return Ended(**json.loads(self._server.stdout.readline()))

    def close(self) -> None:
        self._server.communicate(timeout=30)


class _Writes:
    """Counts the writes below a folder in shared memory, and ends its process before one of them."""

    def __init__(self) -> None:
        self._count, self.below, self.fatal = mmap.mmap(-1, 8), "", None
        sys.addaudithook(self._heard)

    @property
    def count(self) -> int:
        return struct.unpack("q", self._count[:8])[0]

    @count.setter
    def count(self, count: int) -> None:
        self._count[:8] = struct.pack("q", count)

    def _heard(self, event: str, given: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = given
            if not isinstance(flags, int) or not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
        elif event in OF_PATHS:
            path = given[0]
        else:
            return
        if not isinstance(path, str | bytes | os.PathLike):
            return
        if self.below and Path(os.fsdecode(path)).absolute().is_relative_to(self.below):
            self.count += 1
            if self.count == self.fatal:
                os.kill(os.getpid(), signal.SIGKILL)


def _serve() -> None:
    from modicum.cli.main import run

    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    writes = _Writes()
    for line in requests:
        given = json.loads(line)
        writes.count, writes.below, writes.fatal = 0, given["cwd"], given["when"].get("write")
        start, status = time.monotonic(), 0
        with tempfile.TemporaryFile("w+") as said:
            child = os.fork() if given["when"] else 0
            if child:
                deadline = start + (given["when"]["after"] or 120)
                while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                    if time.monotonic() > deadline:
                        os.kill(child, signal.SIGKILL)
                    time.sleep(0.001)
                status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            else:
                os.chdir(given["cwd"])
                for stream in (1, 2):
                    os.dup2(said.fileno(), stream)
                sys.argv = ["modicum", *given["arguments"]]
                try:
                    run()
                except SystemExit as left:
                    status = int(left.code or 0)
                if given["when"]:
                    for stream in (sys.stdout, sys.stderr):
                        stream.flush()
                    os._exit(status)  # what its parent has imported takes 1.5 s to take down, and is not the fork's
            sys.stdout.flush()
            said.seek(0)
            ended = Ended(status, writes.count, time.monotonic() - start, said.read())
        print(json.dumps(vars(ended)), file=answers, flush=True)


if __name__ == "__main__":
    _serve()
