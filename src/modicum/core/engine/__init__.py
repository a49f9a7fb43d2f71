"""Independent jobs, on the processes of this machine or on a Dask cluster."""

from modicum.core.engine.choice import open_engine
from modicum.core.engine.protocol import Engine, Finished

__all__ = ["Engine", "Finished", "open_engine"]
