"""The catalogue itself: what each data set is, where it comes from and what its files are.

The entries lie in ``catalogue.json`` in this folder, which ``tools/make_catalogue.py`` writes.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from typing import Any, cast
from urllib.parse import quote

from modicum.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where a data set was taken from."""

    address: str  # of the repository
    version: str  # a commit, or a released version in words
    path: str  # the folder or file in it


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """One file as the public has it."""

    path: str  # below the folder of its data set
    size: int  # in bytes
    sha256: str  # in hexadecimal digits
    address: str | None  # where these very bytes are public; None if they were made from the origin


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    """A repository as its host packs it: the bytes of the archive vary, those of its files do not."""

    address: str
    folder: str  # where the wanted files lie below the single top folder; empty, or with a slash at its end
    select: tuple[str, ...]  # patterns of the wanted paths below that folder; an asterisk matches slashes too
    omit: tuple[str, ...] = ()  # paths that match and are not wanted

    def holds(self, path: str) -> bool:
        """Tell whether a path below ``folder`` is wanted."""
        return path not in self.omit and any(fnmatchcase(path, pattern) for pattern in self.select)

    def inside(self, name: str) -> str:
        """Give the path below ``folder`` of a member; empty if it lies elsewhere."""
        _, _, path = name.partition("/")
        return path.removeprefix(self.folder) if path.startswith(self.folder) else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pack:
    """Many public files in one, as ``MODICUM_DATA`` has them."""

    path: str  # of the pack, below the folder of its data set
    size: int  # of the pack, in bytes
    sha256: str  # of the pack
    tree: str  # `tree_hash` of the files in it
    count: int  # of files in it
    unpacked: int  # their bytes together
    public: Archive | tuple[File, ...]  # the same files in public: in the archive of their repository, or one by one

    def holds(self, path: str) -> bool:
        """Tell whether a path below the folder of the data set comes from this pack."""
        if isinstance(self.public, Archive):
            return self.public.holds(path)
        return any(path == file.path for file in self.public)


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSet:
    """One entry of the catalogue."""

    name: str  # as typed
    folder: str  # below ``MODICUM_DATA`` and below the cache
    task: str  # what it is for
    methods: tuple[str, ...]  # short names of the methods that use it
    licence: str  # as its source states it
    origins: tuple[Origin, ...]
    notes: tuple[str, ...]  # traps, one sentence or more each
    files: tuple[File, ...]
    packs: tuple[Pack, ...] = ()  # what is in them counts as files too


def names() -> tuple[str, ...]:
    """Give the names of all data sets, sorted."""
    return tuple(_entries())


def describe(name: str) -> DataSet:
    """Give the entry of a data set; a `ConfigError` names the nearest ones if there is none."""
    entry = _entries().get(name)
    if entry is None:
        inside = [known for known in names() if name.lower() in known.lower()]
        near = inside or difflib.get_close_matches(name, names(), n=3, cutoff=0.4)
        hint = f"Did you mean {' or '.join(near)}?" if near else "See modicum data list for the names."
        raise ConfigError(f"The catalogue has no data set {name!r}.", hint=hint)
    return entry


@cache
def _entries() -> Mapping[str, DataSet]:
    stored = json.loads(resources.files("modicum.core.catalogue").joinpath("catalogue.json").read_bytes())
    return {row["name"]: _entry(**row) for row in sorted(stored, key=lambda row: row["name"])}


def _entry(
    *, base: str, files: Iterable[Any], packs: Iterable[dict[str, Any]], origins: Iterable[Any], **plain: Any
) -> DataSet:
    # The form of the file: rows instead of objects, and addresses without their common beginning.
    def read_files(rows: Iterable[Any]) -> tuple[File, ...]:
        return tuple(
            File(path=path, size=size, sha256=sha256, address=None if end is None else base + quote(end))
            for path, size, sha256, end in rows
        )

    def read_public(public: Any) -> Archive | tuple[File, ...]:
        return Archive(**_tupled(cast("Any", public))) if isinstance(public, dict) else read_files(public)

    return DataSet(
        **_tupled(plain),
        origins=tuple(Origin(**origin) for origin in origins),
        files=read_files(files),
        packs=tuple(Pack(public=read_public(pack.pop("public")), **pack) for pack in packs),
    )


def _tupled(row: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(cast("Any", value)) if isinstance(value, list) else value for key, value in row.items()}
