"""Wall time and memory of one job, taken in the worker that runs it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import psutil

Result = TypeVar("Result")
_INTERVAL = 0.02  # seconds


@dataclass(frozen=True, slots=True)
class Cost:
    """What a call took."""

    seconds: float  # wall time
    memory: float  # largest resident memory of the process meanwhile, libraries included, in MiB


def measured(call: Callable[[], Result]) -> tuple[Result, Cost]:
    """Call a function and measure what it took."""
    # By samples: ``ru_maxrss`` only ever grows, so a worker that is reused would report the largest job that it ever
    # had. On a GPU the memory is still that of the process; what a kernel allocates there is a cost that the arm itself
    # reports.
    process, done = psutil.Process(), threading.Event()
    largest = process.memory_info().rss

    def watch() -> None:
        nonlocal largest
        while True:
            largest = max(largest, process.memory_info().rss)
            if done.wait(_INTERVAL):
                break

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    start = time.perf_counter()
    try:
        result = call()
        seconds = time.perf_counter() - start
    finally:
        done.set()
        watcher.join()
    return result, Cost(seconds=seconds, memory=max(largest, process.memory_info().rss) / 2**20)
