"""Hash all that there is of a data set and say what is right, damaged or absent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from modicum.core.catalogue.checksums import pack_tree, sha256_of
from modicum.core.catalogue.completion import is_marked
from modicum.core.catalogue.entries import DataSet, File, Pack
from modicum.core.catalogue.places import Places

State = Literal["right", "damaged", "absent"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """What was found of one file, one pack or the files unpacked from it.

    Args:
        path: of the file or pack; for unpacked files, of their folder; if absent, where it would be.
        part: the path in the catalogue.
        state: "right", "damaged" or "absent".
        expected: SHA-256, or for unpacked files the tree hash.
        found: the same of what lies there; None if absent.
    """

    path: Path
    part: str
    state: State
    expected: str
    found: str | None


def verify(data_set: DataSet, places: Places) -> tuple[Check, ...]:
    """Hash files and packs in ``MODICUM_DATA``, what is not there in the cache, and what packs were unpacked to."""
    cached = places.cache / data_set.folder
    rows: list[Check] = []
    for item in (*data_set.files, *data_set.packs):
        own = places.data / data_set.folder / item.path if places.data is not None else None
        unpacked = isinstance(item, Pack) and is_marked(cached, data_set)
        if own is not None and own.is_file():
            rows.append(_check(own, item.path, expected=item.sha256, found=sha256_of(own)))
        elif isinstance(item, File):
            path = cached / item.path
            rows.append(_check(path, item.path, expected=item.sha256, found=_sha256_if_there(path)))
        elif not unpacked:
            rows.append(_check(cached, item.path, expected=item.tree, found=None))
        if isinstance(item, Pack) and unpacked:
            rows.append(_check(cached, item.path, expected=item.tree, found=pack_tree(item, cached)))
    return tuple(rows)


def _sha256_if_there(path: Path) -> str | None:
    return sha256_of(path) if path.is_file() else None


def _check(path: Path, part: str, *, expected: str, found: str | None) -> Check:
    state: State = "absent" if found is None else "right" if found == expected else "damaged"
    return Check(path=path, part=part, state=state, expected=expected, found=found)
