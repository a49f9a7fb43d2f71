"""Independent jobs, on the processes of this machine or on a Dask cluster."""

from __future__ import annotations

import logging
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
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Generic, Protocol, Self, TypeVar

import joblib  # pyright: ignore[reportMissingTypeStubs]

from modicum.core.extras import require
from modicum.errors import ConfigError, JobFailedError, WorkerDiedError

__all__ = ["Engine", "Finished", "open_engine"]

_PATIENCE = 10.0  # seconds for which a scheduler may be silent

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Finished(Generic[Result]):
    """A job that ended: with a value, or with the error that it raised."""

    index: int  # of the job in the sequence that was handed in
    value: Result | None = None  # what the function returned; None if it raised
    error: BaseException | None = None  # what it raised, or a `WorkerDiedError`; None if it returned


class Engine(Protocol):
    """Runs a function over items, in any order, and reuses its workers from one call to the next.

    Used as a context manager; leaving it ends the workers.
    """

    threads: int  # of torch and BLAS in each job: part of what determines a result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.close(at_once=kind is not None)

    def close(self, *, at_once: bool) -> None:
        """End the workers, and with ``at_once`` what they run, too."""

    def run(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Finished[Result]]:
        """Call a function, which workers can import, for every item (picklable), and yield each end as it comes."""
        ...


def open_engine(name: str, *, workers: int | None = None, threads: int = 1) -> Engine:
    """Open an engine by name, to be used in a ``with`` statement.

    Args:
        name: "local" (processes of this machine), "inline" (this process), "dask" (a Dask cluster of local
            processes) or "dask://host:port" (a Dask scheduler that is there).
        workers: number of processes for "local" and "dask", the others have their own; as many as cores when None.
        threads: of torch and BLAS in each worker.

    Raises:
        ConfigError: if the name is unknown, a number is not positive, or no scheduler answers.
    """
    for what, number in (("workers", workers), ("threads", threads)):
        if number is not None and number < 1:
            raise ConfigError(f"{what} must be at least 1, got {number}.", hint=f"Give a positive number of {what}.")
    match name.partition("://"):
        case "local", "", "":
            return LocalEngine(workers, threads=threads)
        case "inline", "", "":
            return InlineEngine(threads=threads)
        case "dask", "", "":
            return DaskEngine(None, workers=workers, threads=threads)
        case "dask", _, address if address:
            return DaskEngine(address, threads=threads)
        case _:
            pass
    raise ConfigError(f"There is no engine {name!r}.", hint="Use local, inline, dask or dask://host:port.")


class InlineEngine(Engine):
    """Runs jobs one after the other in this process: for debuggers and notebooks. Errors are raised, not returned."""

    def __init__(self, *, threads: int = 1) -> None:
        self.threads = threads

    def run(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Finished[Result]]:
        """Call the function here; see `Engine.run`."""
        for index, item in enumerate(items):
            yield Finished(index, value=_call(self.threads, function, item))


class LocalEngine(Engine):
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

    def run(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Finished[Result]]:
        """Call the function in the workers; see `Engine.run`."""
        _check_importable((function, list(items)))
        waiting, suspects = deque(range(len(items))), deque[int]()
        deaths = Counter[int]()
        while waiting or suspects:
            running: dict[Future[Result], int] = {}
            queue, limit = (suspects, 1) if suspects else (waiting, self.workers)
            try:
                pool = self._start()
                while queue or running:
                    while queue and len(running) < limit:
                        # Taken from the queue after it is submitted: a pool that breaks here must not lose the job.
                        running[pool.submit(_call_away, self.threads, function, items[queue[0]])] = queue[0]
                        queue.popleft()
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    ended = [future for future in done if not isinstance(future.exception(), BrokenProcessPool)]
                    for future in ended:
                        index, error = running.pop(future), future.exception()
                        yield Finished(index, error=error) if error else Finished(index, value=future.result())
                    if len(ended) < len(done):
                        raise BrokenProcessPool
            except BrokenProcessPool:
                self.close(at_once=True)
                for index in running.values():
                    deaths[index] += 1
                    if deaths[index] <= self.retries:
                        suspects.append(index)
                    else:
                        yield Finished(index, error=_died(index, deaths[index]))

    def _start(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            reader, self._lifeline = context.Pipe(duplex=False)
            self._pool = ProcessPoolExecutor(
                self.workers, mp_context=context, initializer=_start_worker, initargs=(reader, self.threads)
            )
        return self._pool

    def close(self, *, at_once: bool) -> None:
        """End the workers; see `Engine.close`."""
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
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[variable] = str(threads)  # for libraries that are loaded later


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


class DaskEngine(Engine):
    """Runs jobs through ``dask.distributed``, and so on whatever Dask runs on (SLURM by dask-jobqueue, say)."""

    # The scheduler moves the job of a dead worker to another one, and gives it up after its own limit
    # (``distributed.scheduler.allowed-failures``, 3).

    def __init__(self, address: str | None, *, workers: int | None = None, threads: int = 1) -> None:
        distributed: Any = require("distributed", extra="cluster", purpose="The dask engine")
        self.threads = threads
        self._distributed = distributed
        self._opened = ExitStack()
        try:
            # What Dask logs about workers and connections comes as errors of ours, and its log as a flood.
            self._opened.enter_context(distributed.utils.silence_logging_cmgr(logging.CRITICAL))
            if address is None:
                # Without a dashboard, but on any free port: without an address it is 8787, which a second cluster on
                # this machine finds taken, with a warning and a socket that it leaves open.
                local = distributed.LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address="127.0.0.1:0",
                    scheduler_kwargs={"dashboard": False},
                    silence_logs=logging.CRITICAL,
                )
                self._client = self._opened.enter_context(distributed.Client(self._opened.enter_context(local)))
            else:
                self._client = self._opened.enter_context(distributed.Client(f"tcp://{address}", timeout=_PATIENCE))
        except (OSError, ValueError) as error:
            self._opened.close()
            raise ConfigError(
                f"No Dask scheduler answers at {address} ({error}).",
                hint="Start one with: dask scheduler; or use --engine dask for a cluster of local processes.",
            ) from error

    def close(self, *, at_once: bool) -> None:
        """Leave the cluster; see `Engine.close`."""
        del at_once
        self._opened.close()

    def run(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Finished[Result]]:
        """Call the function on the cluster; see `Engine.run`."""
        futures: dict[Any, int] = {}
        try:
            for index, item in enumerate(items):
                futures[self._client.submit(_call_away, self.threads, function, item, pure=False)] = index
            yield from self._drain(futures)
        except (self._distributed.client.FutureCancelledError, self._distributed.comm.CommClosedError) as error:
            raise WorkerDiedError(
                f"The Dask scheduler went away with {len(futures)} of {len(items)} jobs not finished.",
                hint="Start it again, then run the same command: it goes on where this one stopped.",
            ) from error

    def _drain(self, futures: dict[Any, int]) -> Iterator[Finished[Any]]:
        for future in self._distributed.as_completed(list(futures)):
            error = future.exception()
            value = None if error else future.result()
            index = futures.pop(future)
            if isinstance(error, self._distributed.KilledWorker):
                error = WorkerDiedError(
                    f"Job {index} took down one worker after the other ({error}).",
                    hint="Look for too little memory on the workers or a crash in a compiled library.",
                )
            yield Finished(index, error=error) if error else Finished(index, value=value)


def _call_away(threads: int, function: Callable[[Item], Result], item: Item) -> Result:
    try:
        return _call(threads, function, item)
    except Exception as error:
        try:  # what cannot be unpickled would take the pool down, and with it all that runs
            pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
        except Exception:  # noqa: BLE001 - of whatever kind
            what = f"{type(error).__name__}: {error}."
            failed = JobFailedError(what, hint="Run it with --engine inline to see where it fails.")
            for note in getattr(error, "__notes__", ()):
                failed.add_note(note)
            raise failed from None
        raise


def _call(threads: int, function: Callable[[Item], Result], item: Item) -> Result:
    # The number is fixed, and not derived from the machine, since sums over another number of threads differ in the
    # last bits: a result must not depend on how many cores a machine has.
    import threadpoolctl  # pyright: ignore[reportMissingTypeStubs]

    if "torch" not in sys.modules and os.environ.get("OMP_NUM_THREADS") == str(threads):
        # A job that does not use torch need not wait for its import, and torch that a job imports reads the variable.
        with threadpoolctl.threadpool_limits(threads):
            return function(item)
    import torch

    before = torch.get_num_threads()
    try:
        with threadpoolctl.threadpool_limits(threads):
            torch.set_num_threads(threads)
            return function(item)
    finally:
        torch.set_num_threads(before)
