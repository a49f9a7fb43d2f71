"""The engine of a Dask cluster: one that is there, or one of local processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from modicum.core.engine.limits import limited_threads
from modicum.core.engine.protocol import Finished
from modicum.core.extras import require
from modicum.errors import ConfigError, WorkerDiedError

__all__ = ["DaskEngine"]

_PATIENCE = 10.0  # seconds for which a scheduler may be silent

Item = TypeVar("Item")
Result = TypeVar("Result")


class DaskEngine:
    """Runs jobs through ``dask.distributed``, and so on whatever Dask runs on (SLURM by dask-jobqueue, say).

    The scheduler moves the job of a dead worker to another one, and gives it up after its own limit
    (``distributed.scheduler.allowed-failures``, 3).

    Args:
        address: of a scheduler, "host:port"; None starts a cluster of local processes.
        workers: processes of a local cluster; Dask's choice when None. Not used with an address.
        threads: of torch and BLAS in each job.

    Raises:
        ConfigError: if no scheduler answers at the address.
        MissingExtraError: if ``distributed`` is not installed.
    """

    def __init__(self, address: str | None, *, workers: int | None = None, threads: int = 1) -> None:
        distributed: Any = require("distributed", extra="cluster", purpose="The dask engine")
        self.threads = threads
        self._distributed = distributed
        self._cluster = None
        try:
            if address is None:
                # Without a dashboard, but on any free port: without an address it is 8787, which a second cluster on
                # this machine finds taken, with a warning and a socket that it leaves open.
                self._cluster = distributed.LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address="127.0.0.1:0",
                    scheduler_kwargs={"dashboard": False},
                )
                self._client = distributed.Client(self._cluster)
            else:
                self._client = distributed.Client(f"tcp://{address}", timeout=_PATIENCE)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"No Dask scheduler answers at {address} ({error}).",
                hint="Start one with: dask scheduler; or use --engine dask for a cluster of local processes.",
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()

    def run(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Finished[Result]]:
        """Call the function on the cluster; see `Engine.run`.

        Yields:
            One `Finished` an item, in the order in which they end.
        """
        futures = {
            self._client.submit(_limited, self.threads, function, item, pure=False): index
            for index, item in enumerate(items)
        }
        for future in self._distributed.as_completed(list(futures)):
            index, error = futures.pop(future), future.exception()
            if isinstance(error, self._distributed.KilledWorker):
                error = WorkerDiedError(
                    f"Job {index} took down one worker after the other ({error}).",
                    hint="Look for too little memory on the workers or a crash in a compiled library.",
                )
            yield Finished(index, error=error) if error else Finished(index, value=future.result())


def _limited(threads: int, function: Callable[[Item], Result], item: Item) -> Result:
    with limited_threads(threads):
        return function(item)
