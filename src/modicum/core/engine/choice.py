"""From the name that a user types to an engine."""

from __future__ import annotations

from modicum.core.engine.cluster import DaskEngine
from modicum.core.engine.local import InlineEngine, LocalEngine
from modicum.core.engine.protocol import Engine
from modicum.errors import ConfigError


def open_engine(name: str, *, workers: int | None = None, threads: int = 1) -> Engine:
    """Open an engine by name.

    Args:
        name: "local" (processes of this machine), "inline" (this process), "dask" (a Dask cluster of local
            processes) or "dask://host:port" (a Dask scheduler that is there).
        workers: number of processes for "local" and "dask"; as many as cores when None.
        threads: of torch and BLAS in each worker.

    Returns:
        An engine, to be used in a ``with`` statement.

    Raises:
        ConfigError: if the name is unknown, a number is not positive, or no scheduler answers.
    """
    for what, number in (("workers", workers), ("threads", threads)):
        if number is not None and number < 1:
            raise ConfigError(f"{what} must be at least 1, got {number}.", hint=f"Give a positive number of {what}.")
    if name == "local":
        return LocalEngine(workers, threads=threads)
    if name == "inline":
        return InlineEngine(threads=threads)
    if name == "dask":
        return DaskEngine(None, workers=workers, threads=threads)
    if address := name.removeprefix("dask://") if name.startswith("dask://") else "":
        return DaskEngine(address, threads=threads)
    raise ConfigError(f"There is no engine {name!r}.", hint="Use local, inline, dask or dask://host:port.")
