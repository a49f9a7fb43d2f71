"""Wall time and memory of one job, taken in the worker that runs it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

import psutil

Result = TypeVar("Result")
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Cost:
    """What a call took."""

    seconds: float  # wall time
    memory: float  # largest resident memory of the process meanwhile, libraries included, in MiB


class PeakMemory:
    """Watches the resident memory of this process in a ``with`` block, by sampling."""

    # ``ru_maxrss`` only ever grows, so a worker that is reused would report the largest job that it ever had.

    def __init__(self, interval: float = 0.02) -> None:
        self.interval = interval
        self.bytes = 0
        self._process = psutil.Process()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._sample()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self._sample()

    def _sample(self) -> None:
        self.bytes = max(self.bytes, self._process.memory_info().rss)

    def _watch(self) -> None:
        while not self._done.wait(self.interval):
            self._sample()


def measured(call: Callable[[], Result]) -> tuple[Result, Cost]:
    """Call a function and tell what it took."""
    # On a GPU the memory is still that of the process; what a kernel allocates there is a cost that the arm itself
    # reports.
    with PeakMemory() as memory:
        start = time.perf_counter()
        result = call()
        seconds = time.perf_counter() - start
    return result, Cost(seconds=seconds, memory=memory.bytes / _MIB)
