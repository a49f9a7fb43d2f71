"""Bring the public files of a data set into one folder: from ``MODICUM_DATA``, from the cache, or from the network."""

from __future__ import annotations

import hashlib
import json
import logging
import lzma
import os
import re
import shutil
import tempfile
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from modicum.core.catalogue.entries import Archive, DataSet, File, Pack
from modicum.core.catalogue.proof import (
    has_size,
    is_complete,
    is_marked,
    is_right,
    mark,
    pack_tree,
    sha256_of,
    tree_hash,
)
from modicum.core.files import aside, make_folder
from modicum.core.safeload import read_members
from modicum.errors import ChecksumError, ConfigError, DataError, MissingDataError

Status = Literal["here", "cached", "absent"]

# Ours. One more attempt gets over a broken connection; a machine without network should hear of it soon.
_RETRIES = 1
_TIMEOUT = 30.0
# A repository holds more than the wanted files, and a compressed tar must be read through to find them.
_ARCHIVE_MEMBERS = 300_000
_ARCHIVE_BYTES = 4 << 30
_DAY = 24 * 3600.0
_CACHE_HINT = "Set MODICUM_CACHE to a folder that can be written."


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """The two folders that data sets are read from."""

    data: Path | None  # the user's own collection, read first and never written
    cache: Path  # ours; made when something is put in it


def places_from_environment() -> Places:
    """Read ``MODICUM_DATA``, which must be a folder, and ``MODICUM_CACHE``; without the latter the system's cache."""
    named = os.environ.get("MODICUM_DATA")
    data = Path(named).expanduser().absolute() if named else None
    if data and not data.is_dir():
        raise ConfigError(
            f"MODICUM_DATA must name a folder, but it is {named!r}.", hint="Set it to an existing folder, or unset it."
        )
    return Places(data=data, cache=cache_folder())


def cache_folder() -> Path:
    """Give the folder that ``MODICUM_CACHE`` names, or the system's place for caches."""
    if own := os.environ.get("MODICUM_CACHE"):
        return Path(own).expanduser().absolute()
    import pooch  # pyright: ignore[reportMissingTypeStubs]

    return Path(pooch.os_cache("modicum"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """What was found of one file, one pack or the files unpacked from it."""

    path: Path  # of the file or pack; for unpacked files, of their folder; if absent, where it would be
    part: str  # the path in the catalogue
    expected: str  # SHA-256, or for unpacked files the tree hash
    found: str | None  # the same of what lies there; None if absent

    @property
    def state(self) -> Literal["right", "damaged", "absent"]:
        """Whether it is the published one."""
        return "absent" if self.found is None else "right" if self.found == self.expected else "damaged"


def status(data_set: DataSet, places: Places) -> Status:
    """Tell where a data set lies, by names and sizes alone."""
    own, folder = places.data and places.data / data_set.folder, places.cache / data_set.folder
    if own and all(has_size(own / item.path, item) for item in (*data_set.files, *data_set.packs)):
        return "here"
    if data_set.packs:
        return "cached" if is_marked(folder, data_set) else "absent"
    return "cached" if all(has_size(folder / file.path, file) for file in data_set.files) else "absent"


def verify(data_set: DataSet, places: Places) -> tuple[Check, ...]:
    """Hash files and packs in ``MODICUM_DATA``, what is not there in the cache, and what packs were unpacked to."""
    cached = places.cache / data_set.folder
    unpacked = is_marked(cached, data_set)
    rows: list[Check] = []
    for item in (*data_set.files, *data_set.packs):
        path = cached / item.path
        if places.data and (own := places.data / data_set.folder / item.path).is_file():
            path = own
        if isinstance(item, File) or path.is_file():
            found = sha256_of(path) if path.is_file() else None
            rows.append(Check(path=path, part=item.path, expected=item.sha256, found=found))
        if isinstance(item, Pack) and (unpacked or not path.is_file()):
            found = pack_tree(item, cached) if unpacked else None
            rows.append(Check(path=cached, part=item.path, expected=item.tree, found=found))
    return tuple(rows)


def fetch(data_set: DataSet, places: Places) -> Path:
    """Give a folder in which all public files of a data set lie, each of them checked."""
    folder = places.cache / data_set.folder
    if data_set.packs:
        return _fetch_packed(data_set, folder, places)
    own = [_own(data_set, file, places) for file in data_set.files]
    if places.data is not None and None not in own:
        return places.data / data_set.folder
    for file, path in zip(data_set.files, _obtain(data_set, data_set.files, folder, places), strict=True):
        target = folder / file.path
        if path != target:
            make_folder(target.parent, hint=_CACHE_HINT)
            with aside(target) as part:
                shutil.copyfile(path, part)
    return folder


def _own(data_set: DataSet, item: File | Pack, places: Places) -> Path | None:
    # The user's own copy, checked, if there is one.
    if places.data is None or not (path := places.data / data_set.folder / item.path).is_file():
        return None
    if not is_right(path, item):
        raise ChecksumError(
            f"{path} should have {item.size:,} bytes and the SHA-256 {item.sha256}, but it has "
            f"{path.stat().st_size:,} bytes and {sha256_of(path)}.",
            hint="Replace it in MODICUM_DATA by the published file, or unset MODICUM_DATA.",
        )
    return path


def _obtain(data_set: DataSet, files: Sequence[File], folder: Path, places: Places) -> list[Path]:
    """Give the path of each file: in the folder, as the user has it, or fetched into the folder."""
    # File by file, so that an interrupted call can go on. What nobody can fetch is said before anything is fetched.
    paths = [
        folder / file.path if is_right(folder / file.path, file) else _own(data_set, file, places) for file in files
    ]
    absent = [file for file, path in zip(files, paths, strict=True) if path is None]
    if made := [file.path for file in absent if file.address is None]:
        make_folder(folder, hint=_CACHE_HINT)
        origins = " and ".join(dict.fromkeys(f"{origin.address} at {origin.version}" for origin in data_set.origins))
        raise MissingDataError(
            f"{data_set.name} needs files that no public address has: {', '.join(made)}, made from {origins}.",
            hint=f"Put them at these paths below {folder}, or below {data_set.folder} in the folder that MODICUM_DATA "
            f"names; modicum data verify {data_set.name} compares their checksums.",
        )
    for file in absent:
        _download(file.address or "", folder / file.path, sha256=file.sha256, name=data_set.name)
    return [path or folder / file.path for file, path in zip(files, paths, strict=True)]


def _download(address: str, target: Path, *, sha256: str | None, name: str) -> None:
    """Fetch an address, unless ``target`` is right already. ``target`` appears whole and checked."""
    import pooch as untyped  # pyright: ignore[reportMissingTypeStubs]

    pooch = cast("Any", untyped)
    make_folder(target.parent, hint=_CACHE_HINT)
    registry = pooch.create(
        path=target.parent,
        base_url="",
        registry={target.name: sha256 and f"sha256:{sha256}"},
        urls={target.name: address},
        retry_if_failed=_RETRIES,
    )
    logger: logging.Logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)  # progress belongs to the command line
    try:
        registry.fetch(target.name, downloader=pooch.HTTPDownloader(timeout=_TIMEOUT))
    # requests, which pooch calls, derives all of its exceptions from OSError. The chain is cut: it tells nothing more.
    except OSError as error:
        response, proof = getattr(error, "response", None), f", check that its SHA-256 is {sha256}," if sha256 else ""
        reason = error.strerror or type(error).__name__ if response is None else f"HTTP status {response.status_code}"
        raise MissingDataError(
            f"{name} needs {address}, which is neither in MODICUM_DATA nor in the cache and could not be fetched "
            f"({reason}).",
            hint=f"Fetch it on a connected machine{proof} and save it as {target}, or set MODICUM_DATA to a folder "
            f"that holds {name}.",
        ) from None
    except ValueError as error:
        found = re.search(r"but got (\w+)", str(error))
        raise ChecksumError(
            f"{address} should have the SHA-256 {sha256}, but what came for {target} has {found and found[1]}.",
            hint="Fetch again later or over another connection; if it stays, the public file was changed.",
        ) from None
    finally:
        logger.setLevel(level)


def _fetch_packed(data_set: DataSet, folder: Path, places: Places) -> Path:
    if is_complete(folder, data_set):
        return folder
    downloads = places.cache / "downloads" / data_set.folder
    with _staging(places.cache / "staging") as stage:
        built = stage / "built"
        built.mkdir()
        try:
            for pack in data_set.packs:
                _unpack(data_set, pack, built, downloads, places)
            plain = _obtain(data_set, data_set.files, downloads, places)
            _write_tree(
                ((file.path, path.read_bytes()) for file, path in zip(data_set.files, plain, strict=True)), built
            )
            mark(built, data_set)
        except (DataError, FileNotFoundError):
            # Another process may have been first, and have cleared the downloads away.
            if is_complete(folder, data_set):
                return folder
            raise
        _install(data_set, built, folder, aside=stage / "damaged")
    shutil.rmtree(downloads, ignore_errors=True)
    return folder


def _unpack(data_set: DataSet, pack: Pack, built: Path, downloads: Path, places: Places) -> None:
    own, public = _own(data_set, pack, places), pack.public
    source = own or downloads
    if own is not None:
        jsonl = own.name.endswith(".jsonl.xz")
        members = read_jsonl(own) if jsonl else read_members(own, max_members=pack.count, max_bytes=pack.unpacked)
    elif isinstance(public, Archive):
        repository, _, file_name = public.address.split("/")[-3:]
        source = downloads / f"{repository}-{file_name}"
        _download(public.address, source, sha256=None, name=data_set.name)
        members = _read_archive(public, source)
    else:
        paths = _obtain(data_set, public, downloads, places)
        members = ((file.path, path.read_bytes()) for file, path in zip(public, paths, strict=True))
    again = f"Delete {source} and fetch {data_set.name} again"
    try:
        found = _write_tree(members, built)
    except DataError as error:
        if own is None and isinstance(public, Archive):  # it has no checksum, and the next call would read it again
            raise DataError(error.what, hint=f"{again}.") from error
        raise
    if found != pack.tree:
        raise ChecksumError(
            f"The {pack.count:,} files in {source} should have the tree hash {pack.tree}, but they have {found}.",
            hint=f"{again}; if it stays, the public files were changed.",
        )


def read_jsonl(path: Path) -> Iterator[tuple[str, bytes]]:
    """Read texts that were packed as JSON lines."""
    with lzma.open(path, "rt", encoding="utf-8", newline="\n") as lines:
        for row in map(json.loads, lines):
            yield row["id"], row["text"].encode()


def _read_archive(archive: Archive, path: Path) -> Iterator[tuple[str, bytes]]:
    members = read_members(
        path,
        max_members=_ARCHIVE_MEMBERS,
        max_bytes=_ARCHIVE_BYTES,
        select=lambda name: archive.holds(archive.inside(name)),
    )
    return ((archive.inside(name), data) for name, data in members)


def _write_tree(members: Iterable[tuple[str, bytes]], folder: Path) -> str:
    hashes: dict[str, str] = {}
    for name, data in members:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        hashes[name] = hashlib.sha256(data).hexdigest()
    return tree_hash(hashes)


@contextmanager
def _staging(parent: Path) -> Generator[Path]:
    make_folder(parent, hint=_CACHE_HINT)
    for left in parent.iterdir():
        # Of a process that was killed: nothing is built for a day.
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > _DAY:
                shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=parent) as stage:
        yield Path(stage)


def _install(data_set: DataSet, built: Path, folder: Path, *, aside: Path) -> None:
    # One step, so that nobody sees half a folder. If another process was first, what it built is used.
    make_folder(folder.parent, hint=_CACHE_HINT)
    if folder.exists() and not is_complete(folder, data_set):
        with suppress(FileNotFoundError):
            folder.rename(aside)
    try:
        built.rename(folder)
    except OSError:
        if not is_complete(folder, data_set):
            raise
