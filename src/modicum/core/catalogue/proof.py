"""Prove that files are the published ones, and know a complete unpacked folder without reading it all each time.

A folder that was built and proved has a mark in it: the hash of its catalogue entry, and a stamp over path, size and
time of change of its files. As long as the stamp is the same, nobody has written there. If it is not (a copy of the
cache, a file that was touched or damaged), all bytes are hashed again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from modicum.core.catalogue.entries import DataSet, File, Pack

MARK = ".modicum-complete.json"


def sha256_of(path: Path) -> str:
    """Give the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def is_right(path: Path, file: File | Pack) -> bool:
    """Tell whether ``path`` exists and has the published bytes."""
    return has_size(path, file) and sha256_of(path) == file.sha256


def has_size(path: Path, file: File | Pack) -> bool:
    """Tell whether ``path`` exists and is as large as the published file."""
    return path.is_file() and path.stat().st_size == file.size


def tree_hash(members: Mapping[str, str]) -> str:
    """Give one hash for many files: SHA-256 over a line ``path``, null character, ``sha256`` a file, sorted by path."""
    lines = (f"{path}\0{sha256}\n".encode(errors="surrogateescape") for path, sha256 in sorted(members.items()))
    return hashlib.sha256(b"".join(lines)).hexdigest()


def pack_tree(pack: Pack, folder: Path) -> str:
    """Give the tree hash of those files below ``folder`` that come from ``pack``."""
    return tree_hash({name: sha256_of(path) for name, path in walk(folder) if pack.holds(name)})


def walk(folder: Path) -> Iterator[tuple[str, Path]]:
    """Find all files below a folder."""
    for parent, _, files in os.walk(folder):
        above = Path(parent).relative_to(folder)
        for name in files:
            yield (above / name).as_posix(), Path(parent, name)


def mark(folder: Path, data_set: DataSet) -> None:
    """Mark a folder whose files have all been proved."""
    (folder / MARK).write_text(json.dumps({"entry": _key(data_set), "stamp": _stamp(folder)}))


def is_marked(folder: Path, data_set: DataSet) -> bool:
    """Tell whether a folder was once complete for this very entry; cheap."""
    return _read_mark(folder).get("entry") == _key(data_set)


def is_complete(folder: Path, data_set: DataSet) -> bool:
    """Tell whether a folder is complete now."""
    if not is_marked(folder, data_set):
        return False
    if _read_mark(folder).get("stamp") == _stamp(folder):
        return True
    complete = all(is_right(folder / file.path, file) for file in data_set.files) and all(
        pack_tree(pack, folder) == pack.tree for pack in data_set.packs
    )
    if complete:
        with suppress(OSError):  # in a cache that cannot be written the bytes are hashed each time
            mark(folder, data_set)
    return complete


def _read_mark(folder: Path) -> dict[str, str]:
    try:
        return json.loads((folder / MARK).read_text())
    except (OSError, ValueError):
        return {}


def _key(data_set: DataSet) -> str:
    parts = [(file.path, file.sha256) for file in data_set.files] + [(pack.path, pack.tree) for pack in data_set.packs]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _stamp(folder: Path) -> str:
    found = {name: path.stat() for name, path in walk(folder) if name != MARK}
    lines = sorted(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n" for name, stat in found.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()
