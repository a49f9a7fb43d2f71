from __future__ import annotations

import gc
from collections.abc import Iterator

import hypothesis  # noqa: F401 - before the freeze: it asks the collector who refers to an object
import pytest

from modicum.core import catalogue


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Take what collection imports out of later garbage collections.

    torch, transformers, rdkit and the others leave a million objects that live as long as the process. Trainer of
    transformers collects garbage three times a training, and went through all of them each time.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Take what the tests of a file imported out of later garbage collections, too."""
    yield
    if nextitem is not None and nextitem.path != item.path:
        gc.collect()
        gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose mark ``data(name, ...)`` names a data set that MODICUM_DATA does not have."""
    for mark in item.iter_markers("data"):
        for name in mark.args:
            if catalogue.status(name) != "here":
                pytest.skip(f"{name} is not in MODICUM_DATA")
