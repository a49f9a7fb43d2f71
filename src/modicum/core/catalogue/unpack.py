"""From a pack, or from the archive of its repository, to the public files."""

from __future__ import annotations

import hashlib
import json
import lzma
from collections.abc import Iterable, Iterator
from pathlib import Path

from modicum.core.catalogue.checksums import tree_hash
from modicum.core.catalogue.entries import Archive, Pack
from modicum.core.safeload import read_members

Members = Iterable[tuple[str, bytes]]

# Ours. A repository holds more than the wanted files, and a compressed tar must be read through to find them.
_ARCHIVE_MEMBERS = 300_000
_ARCHIVE_BYTES = 4 << 30


def read_pack(pack: Pack, path: Path) -> Members:
    """Give path and bytes of the files in a pack whose checksum is right."""
    if path.name.endswith(".jsonl.xz"):
        return read_jsonl(path)
    return read_members(path, max_members=pack.count, max_bytes=pack.unpacked)


def read_jsonl(path: Path) -> Iterator[tuple[str, bytes]]:
    """Read texts that were packed as JSON lines."""
    with lzma.open(path, "rt", encoding="utf-8", newline="\n") as lines:
        for line in lines:
            row = json.loads(line)
            yield row["id"], row["text"].encode()


def read_archive(archive: Archive, path: Path) -> Iterator[tuple[str, bytes]]:
    """Read the wanted files in the archive of a repository."""
    members = read_members(
        path,
        max_members=_ARCHIVE_MEMBERS,
        max_bytes=_ARCHIVE_BYTES,
        select=lambda name: archive.holds(_inside(archive, name)),
    )
    for name, data in members:
        yield _inside(archive, name), data


def write_tree(members: Members, folder: Path) -> str:
    """Write files below a folder that is being built."""
    hashes: dict[str, str] = {}
    made: set[Path] = set()
    for name, data in members:
        target = folder / name
        if target.parent not in made:
            target.parent.mkdir(parents=True, exist_ok=True)
            made.add(target.parent)
        target.write_bytes(data)
        hashes[name] = hashlib.sha256(data).hexdigest()
    return tree_hash(hashes)


def _inside(archive: Archive, name: str) -> str:
    _, _, path = name.partition("/")
    return path.removeprefix(archive.folder) if path.startswith(archive.folder) else ""
