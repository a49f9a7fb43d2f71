"""Threads of one worker: few enough that all workers together do not oversubscribe the cores."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager

_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def limit_threads(threads: int) -> None:
    """Set the threads of torch, BLAS and OpenMP in this process, for good."""
    # The number is fixed, and not derived from the machine, since sums over another number of threads differ in the
    # last bits: a result must not depend on how many cores a machine has.
    for variable in _VARIABLES:
        os.environ[variable] = str(threads)  # for libraries that are loaded later
    import threadpoolctl  # pyright: ignore[reportMissingTypeStubs]
    import torch

    threadpoolctl.threadpool_limits(threads)
    torch.set_num_threads(threads)


@contextmanager
def limited_threads(threads: int) -> Generator[None]:
    """Set the threads of torch, BLAS and OpenMP for a ``with`` block."""
    import threadpoolctl  # pyright: ignore[reportMissingTypeStubs]
    import torch

    before = torch.get_num_threads()
    try:
        with threadpoolctl.threadpool_limits(threads):
            torch.set_num_threads(threads)
            yield
    finally:
        torch.set_num_threads(before)
