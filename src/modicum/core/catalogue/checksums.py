"""Prove that a file, or a whole folder of files, is the published one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from modicum.core.catalogue.entries import File, Pack
from modicum.errors import ChecksumError


def sha256_of(path: Path) -> str:
    """Give the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def tree_hash(members: Mapping[str, str]) -> str:
    """Give one hash for many files: SHA-256 over a line ``path``, null character, ``sha256`` a file, sorted by path."""
    lines = (f"{path}\0{sha256}\n".encode() for path, sha256 in sorted(members.items()))
    return hashlib.sha256(b"".join(lines)).hexdigest()


def walk(folder: Path) -> Iterator[tuple[str, Path]]:
    """Find all files below a folder."""
    for parent, _, files in os.walk(folder):
        above = Path(parent).relative_to(folder).as_posix()
        for name in files:
            yield name if above == "." else f"{above}/{name}", Path(parent, name)


def pack_tree(pack: Pack, folder: Path) -> str:
    """Give the tree hash of those files below ``folder`` that come from ``pack``."""
    return tree_hash({name: sha256_of(path) for name, path in walk(folder) if pack.holds(name)})


def is_right(path: Path, file: File | Pack) -> bool:
    """Tell whether ``path`` exists and has the published bytes."""
    return path.is_file() and path.stat().st_size == file.size and sha256_of(path) == file.sha256


def check_file(path: Path, file: File | Pack, *, hint: str) -> None:
    """Refuse an existing file that has other bytes than the published ones."""
    if not is_right(path, file):
        raise ChecksumError(
            f"{path} should have {file.size:,} bytes and the SHA-256 {file.sha256}, but it has "
            f"{path.stat().st_size:,} bytes and {sha256_of(path)}.",
            hint=hint,
        )
