"""The engine of a Dask cluster: one that is there, or one of local processes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self, TypeVar

from modicum.core.engine.limits import limited_threads
from modicum.core.engine.protocol import Finished
from modicum.core.extras import require
from modicum.errors import ConfigError, WorkerDiedError

_PATIENCE = 10.0  # seconds for which a scheduler may be silent

Item = TypeVar("Item")
Result = TypeVar("Result")


class DaskEngine:
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def run(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Finished[Result]]:
        """Call the function on the cluster; see `Engine.run`."""
        futures: dict[Any, int] = {}
        try:
            for index, item in enumerate(items):
                futures[self._client.submit(_limited, self.threads, function, item, pure=False)] = index
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


def _limited(threads: int, function: Callable[[Item], Result], item: Item) -> Result:
    with limited_threads(threads):
        return function(item)
