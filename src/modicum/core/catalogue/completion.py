"""Know an unpacked data set that is whole from one that is half or damaged, without reading it all each time.

A folder that was built and proved has a mark in it: the hash of its catalogue entry, and a stamp over path, size and
time of change of its files. As long as the stamp is the same, nobody has written there. If it is not (a copy of the
cache, a file that was touched or damaged), all bytes are hashed again.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path

from modicum.core.catalogue.checksums import is_right, pack_tree, walk
from modicum.core.catalogue.entries import DataSet

MARK = ".modicum-complete.json"


def mark(folder: Path, data_set: DataSet) -> None:
    """Mark a folder whose files have all been proved."""
    (folder / MARK).write_text(json.dumps({"entry": _key(data_set), "stamp": _stamp(folder)}))


def is_marked(folder: Path, data_set: DataSet) -> bool:
    """Tell whether a folder was once whole for this very entry; cheap."""
    return _read(folder).get("entry") == _key(data_set)


def is_complete(folder: Path, data_set: DataSet) -> bool:
    """Tell whether a folder is whole now."""
    if not is_marked(folder, data_set):
        return False
    if _read(folder).get("stamp") == _stamp(folder):
        return True
    whole = all(is_right(folder / file.path, file) for file in data_set.files) and all(
        pack_tree(pack, folder) == pack.tree for pack in data_set.packs
    )
    if whole:
        # In a cache that cannot be written the bytes are hashed each time.
        with suppress(OSError):
            mark(folder, data_set)
    return whole


def _read(folder: Path) -> dict[str, str]:
    try:
        return json.loads((folder / MARK).read_text())
    except (OSError, ValueError):
        return {}


def _key(data_set: DataSet) -> str:
    parts = [*((file.path, file.sha256) for file in data_set.files), *((it.path, it.tree) for it in data_set.packs)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _stamp(folder: Path) -> str:
    lines: list[str] = []
    for name, path in walk(folder):
        if name != MARK:
            found = path.stat()
            lines.append(f"{name}\0{found.st_size}\0{found.st_mtime_ns}\n")
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()
