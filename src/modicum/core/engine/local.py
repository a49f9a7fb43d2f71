"""The engine of this machine: spawned processes that stay alive over jobs."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self, TypeVar

import joblib  # pyright: ignore[reportMissingTypeStubs]

from modicum.core.engine.limits import limit_threads, limited_threads
from modicum.core.engine.protocol import Finished
from modicum.errors import ConfigError, WorkerDiedError

Item = TypeVar("Item")
Result = TypeVar("Result")


class InlineEngine:
    """Runs jobs one after the other in this process: for debuggers and notebooks. Errors are raised, not returned."""

    def __init__(self, *, threads: int = 1) -> None:
        self.threads = threads

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def run(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Finished[Result]]:
        """Call the function here; see `Engine.run`."""
        for index, item in enumerate(items):
            with limited_threads(self.threads):
                value = function(item)
            yield Finished(index, value=value)


class LocalEngine:
    """Runs jobs on spawned processes of this machine."""

    # A worker that dies (out of memory, killed, a crash in C) breaks the whole pool of the standard library, and nobody
    # says which job did it. The jobs that were running are suspects: they are run again one at a time, so that the
    # guilty one is known and the others are not blamed.
    #
    # Workers end when this process ends, even by SIGKILL: each of them holds the reading end of a pipe of which only
    # this process has the other.

    def __init__(self, workers: int | None = None, *, threads: int = 1, retries: int = 2) -> None:
        self.workers = workers or max(1, joblib.cpu_count() // threads)
        self.threads = threads
        self.retries = retries
        self._pool: ProcessPoolExecutor | None = None
        self._lifeline: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop(at_once=error is not None)

    def run(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Finished[Result]]:
        """Call the function in the workers; see `Engine.run`."""
        _check_importable((function, list(items)))
        waiting, suspects = deque(range(len(items))), deque[int]()
        deaths = Counter[int]()
        while waiting or suspects:
            running: dict[Future[Result], int] = {}
            queue, limit = (suspects, 1) if suspects else (waiting, self.workers)
            try:
                yield from self._drain(function, items, queue=queue, running=running, limit=limit)
            except BrokenProcessPool:
                self._stop(at_once=True)
                for index in running.values():
                    deaths[index] += 1
                    if deaths[index] <= self.retries:
                        suspects.append(index)
                    else:
                        yield Finished(index, error=_died(index, deaths[index]))

    def _drain(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        *,
        queue: deque[int],
        running: dict[Future[Result], int],
        limit: int,
    ) -> Iterator[Finished[Result]]:
        pool = self._start()
        while queue or running:
            while queue and len(running) < limit:
                # Booked before it is submitted: a pool that breaks here must not lose the job.
                index = queue.popleft()
                try:
                    running[pool.submit(function, items[index])] = index
                except BrokenProcessPool:
                    queue.appendleft(index)
                    raise
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            whole = [future for future in done if not isinstance(future.exception(), BrokenProcessPool)]
            for future in whole:
                index, error = running.pop(future), future.exception()
                yield Finished(index, error=error) if error else Finished(index, value=future.result())
            if len(whole) < len(done):
                raise BrokenProcessPool

    def _start(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            reader, self._lifeline = context.Pipe(duplex=False)
            self._pool = ProcessPoolExecutor(
                self.workers, mp_context=context, initializer=_start_worker, initargs=(reader, self.threads)
            )
        return self._pool

    def _stop(self, *, at_once: bool) -> None:
        if self._pool is None or self._lifeline is None:
            return
        if at_once:
            self._lifeline.close()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._lifeline.close()
        self._pool = self._lifeline = None


def _start_worker(lifeline: Connection, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then cuts the lifeline
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
    limit_threads(threads)


def _end_with_parent(lifeline: Connection) -> None:
    try:
        lifeline.recv()
    except (EOFError, OSError):
        os._exit(1)


def _check_importable(payload: object) -> None:
    hint = "Put the functions at the top level of a module or script, or use the engine inline."
    try:
        sent = pickle.dumps(payload)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ConfigError(f"Worker processes cannot be sent this job ({error}).", hint=hint) from error
    main = sys.modules["__main__"]
    if b"__main__" in sent and not (getattr(main, "__file__", None) or getattr(main, "__spec__", None)):
        raise ConfigError("Worker processes cannot import functions that were typed into a session.", hint=hint)


def _died(index: int, times: int) -> WorkerDiedError:
    return WorkerDiedError(
        f"Job {index} took its worker process down {times} times.",
        hint="Look for too little memory (fewer --workers), a crash in a compiled library, or a script that starts "
        "work outside of: if __name__ == '__main__'.",
    )
