from __future__ import annotations

import gc
import os
import sys
from collections import Counter
from collections.abc import Generator

import hypothesis  # before the freeze: it asks the collector who refers to an object
import pytest

# Each example's 200 ms would be a claim on how busy the machine is: two processes of tests, and lint, share two cores.
# Half of the usual 100 examples, drawn anew in each run; MODICUM_EXAMPLES=1000 looks for longer.
examples = int(os.environ.get("MODICUM_EXAMPLES", "50"))
hypothesis.settings.register_profile("modicum", deadline=None, max_examples=examples)
hypothesis.settings.load_profile("modicum")


def pytest_configure() -> None:
    """Leave torch and BLAS one thread, in this process and in those that it starts.

    Tests run in two processes on two cores: a second thread in each only waits for a core, and spins meanwhile. numba
    keeps its threads, since whether its loops race shows with two at least.
    """
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    # The compiler of torch starts no processes, tries no instructions and compiles no headers ahead for the few small
    # graphs of tests: each takes it longer than they do.
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    os.environ.setdefault("TORCHINDUCTOR_VEC_ISA_OK", "1")
    os.environ.setdefault("TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS", "0")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Take what collection imports out of later garbage collections.

    torch, transformers, rdkit and the others leave a million objects that live as long as the process. Trainer of
    transformers collects garbage several times a training, and went through all of them each time.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files of most slow tests, in whatever order they are: what begins last leaves a process idle."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None]:
    """Take what the tests of a file imported out of later garbage collections, too."""
    yield
    if nextitem is not None and nextitem.path != item.path:
        gc.collect()
        gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose mark ``data(name, ...)`` names a data set that MODICUM_DATA does not have."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)  # numba starts its threads through torch's OpenMP, and leaves their number there
    from modicum.core import catalogue  # it imports numpy, which reads the variables above

    for mark in item.iter_markers("data"):
        for name in mark.args:
            if catalogue.status(name) != "here":
                pytest.skip(f"{name} is not in MODICUM_DATA")
