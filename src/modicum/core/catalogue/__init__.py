"""Named data sets: where they lie, where they come from, and the proof that they are the published ones.

`fetch` gives a folder with the public files of a data set. It looks in the folder that ``MODICUM_DATA`` names, which is
only read; then in the cache (``MODICUM_CACHE``, or the system's place for caches); then at the public addresses. Every
file is checked by size and SHA-256. Packs of many files are unpacked into the cache once, to their public paths.
"""

from __future__ import annotations

from pathlib import Path

from modicum.core.catalogue import store
from modicum.core.catalogue.entries import Archive, DataSet, File, Origin, Pack, describe, names
from modicum.core.catalogue.store import Check, Places, Status, places_from_environment

__all__ = [
    "Archive",
    "Check",
    "DataSet",
    "File",
    "Origin",
    "Pack",
    "Places",
    "Status",
    "describe",
    "fetch",
    "names",
    "places_from_environment",
    "status",
    "verify",
]


def fetch(name: str) -> Path:
    """Give the folder in which the public files of a data set lie, each of them checked, and packs unpacked.

    Raises:
        ChecksumError: if a file is not the published one.
        ConfigError: if there is no such data set, ``MODICUM_DATA`` is no folder, or the cache cannot be written.
        MissingDataError: if something is nowhere and could not be fetched.
    """
    return store.fetch(describe(name), places_from_environment())


def status(name: str) -> Status:
    """Tell where a data set lies, by names and sizes alone: "here" (``MODICUM_DATA``), "cached" or "absent"."""
    return store.status(describe(name), places_from_environment())


def verify(name: str) -> tuple[Check, ...]:
    """Hash all that there is of a data set; nothing is fetched or written.

    One row for each file and pack, and one more for each pack that is both in ``MODICUM_DATA`` and unpacked.
    """
    return store.verify(describe(name), places_from_environment())
