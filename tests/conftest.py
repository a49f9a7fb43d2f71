from __future__ import annotations

import pytest

from modicum.core import catalogue


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose mark ``data(name, ...)`` names a data set that MODICUM_DATA does not have."""
    for mark in item.iter_markers("data"):
        for name in mark.args:
            if catalogue.status(name) != "here":
                pytest.skip(f"{name} is not in MODICUM_DATA")
