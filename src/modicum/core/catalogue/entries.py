"""The catalogue itself: what each data set is, where it comes from and what its files are.

The entries lie in ``catalogue.json`` beside this module, which ``tools/make_catalogue.py`` writes.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from urllib.parse import quote

from modicum.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where a data set was taken from.

    Args:
        address: of the repository.
        version: a commit, or a released version in words.
        path: the folder or file in it.
    """

    address: str
    version: str
    path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """One file as the public has it.

    Args:
        path: below the folder of its data set.
        size: in bytes.
        sha256: of its bytes, in hexadecimal digits.
        address: where these very bytes are public; None if they were made from the origin.
    """

    path: str
    size: int
    sha256: str
    address: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    """A repository as its host packs it: the bytes of the archive vary, those of its files do not.

    Args:
        address: of the archive.
        folder: where the wanted files lie below the archive's single top folder; empty, or with a slash at its end.
        select: patterns of the wanted paths below that folder; an asterisk matches slashes too.
        omit: paths that match and are not wanted.
    """

    address: str
    folder: str
    select: tuple[str, ...]
    omit: tuple[str, ...] = ()

    def holds(self, path: str) -> bool:
        """Tell whether a path below ``folder`` is wanted."""
        return path not in self.omit and any(fnmatchcase(path, pattern) for pattern in self.select)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pack:
    """Many public files in one, as ``MODICUM_DATA`` has them.

    Args:
        path: of the pack, below the folder of its data set.
        size: of the pack, in bytes.
        sha256: of the pack.
        tree: of the files in it, see `modicum.core.catalogue.checksums.tree_hash`.
        count: how many files are in it.
        unpacked: their bytes together.
        public: the same files in public: one by one, or in the archive of their repository.
    """

    path: str
    size: int
    sha256: str
    tree: str
    count: int
    unpacked: int
    public: Archive | tuple[File, ...]

    def holds(self, path: str) -> bool:
        """Tell whether a path below the folder of the data set comes from this pack."""
        if isinstance(self.public, Archive):
            return self.public.holds(path)
        return any(path == file.path for file in self.public)


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSet:
    """One entry of the catalogue.

    Args:
        name: as typed.
        folder: below ``MODICUM_DATA`` and below the cache.
        task: what it is for.
        methods: short names of the methods that use it.
        licence: as its source states it.
        origins: where it was taken from.
        notes: traps, one sentence or more each.
        files: its plain files.
        packs: its packs; what is in them counts as its files too.
    """

    name: str
    folder: str
    task: str
    methods: tuple[str, ...]
    licence: str
    origins: tuple[Origin, ...]
    notes: tuple[str, ...]
    files: tuple[File, ...]
    packs: tuple[Pack, ...] = ()


def names() -> tuple[str, ...]:
    """Give the names of all data sets, sorted."""
    return tuple(_entries())


def describe(name: str) -> DataSet:
    """Give the entry of a data set.

    Args:
        name: one of `names`.

    Raises:
        ConfigError: if there is none of this name.
    """
    entry = _entries().get(name)
    if entry is None:
        inside = [known for known in names() if name.lower() in known.lower()]
        near = inside or difflib.get_close_matches(name, names(), n=3, cutoff=0.4)
        hint = f"Did you mean {' or '.join(near)}?" if near else "See modicum data list for the names."
        raise ConfigError(f"The catalogue has no data set {name!r}.", hint=hint)
    return entry


# The form of the JSON file: rows instead of objects, and addresses without their common beginning.
_Row = tuple[str, int, str, str | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class _StoredPack:
    path: str
    size: int
    sha256: str
    tree: str
    count: int
    unpacked: int
    public: Archive | tuple[_Row, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Stored:
    name: str
    folder: str
    task: str
    methods: tuple[str, ...]
    licence: str
    origins: tuple[Origin, ...]
    notes: tuple[str, ...]
    base: str
    files: tuple[_Row, ...]
    packs: tuple[_StoredPack, ...]

    def entry(self) -> DataSet:
        return DataSet(
            name=self.name,
            folder=self.folder,
            task=self.task,
            methods=self.methods,
            licence=self.licence,
            origins=self.origins,
            notes=self.notes,
            files=self._files(self.files),
            packs=tuple(
                Pack(
                    path=pack.path,
                    size=pack.size,
                    sha256=pack.sha256,
                    tree=pack.tree,
                    count=pack.count,
                    unpacked=pack.unpacked,
                    public=pack.public if isinstance(pack.public, Archive) else self._files(pack.public),
                )
                for pack in self.packs
            ),
        )

    def _files(self, rows: tuple[_Row, ...]) -> tuple[File, ...]:
        return tuple(
            File(path=path, size=size, sha256=sha256, address=None if end is None else self.base + quote(end))
            for path, size, sha256, end in rows
        )


@cache
def _entries() -> Mapping[str, DataSet]:
    from pydantic import TypeAdapter

    text = resources.files("modicum.core.catalogue").joinpath("catalogue.json").read_bytes()
    stored = TypeAdapter(tuple[_Stored, ...]).validate_json(text)
    return {entry.name: entry.entry() for entry in sorted(stored, key=lambda entry: entry.name)}
