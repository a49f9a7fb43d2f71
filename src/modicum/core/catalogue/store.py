"""Bring the public files of a data set into one folder: from ``MODICUM_DATA``, from the cache, or from the network."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, NoReturn

from modicum.core.catalogue.checksums import check_file, is_right
from modicum.core.catalogue.completion import is_complete, is_marked, mark
from modicum.core.catalogue.download import download
from modicum.core.catalogue.entries import Archive, DataSet, File, Pack
from modicum.core.catalogue.places import Places, make_folder
from modicum.core.catalogue.unpack import Members, read_archive, read_pack, write_tree
from modicum.errors import ChecksumError, DataError, MissingDataError

Status = Literal["here", "cached", "absent"]

_DAY = 24 * 3600.0


def status(data_set: DataSet, places: Places) -> Status:
    """Tell where a data set lies, by names and sizes alone."""
    if places.data is not None and _have_sizes(places.data / data_set.folder, (*data_set.files, *data_set.packs)):
        return "here"
    folder = places.cache / data_set.folder
    if data_set.packs:
        return "cached" if is_marked(folder, data_set) else "absent"
    return "cached" if _have_sizes(folder, data_set.files) else "absent"


def fetch(data_set: DataSet, places: Places) -> Path:
    """Give a folder in which all public files of a data set lie, each of them checked."""
    if data_set.packs:
        return _fetch_packed(data_set, places)
    own = [_own(data_set, file, places) for file in data_set.files]
    if places.data is not None and None not in own:
        return places.data / data_set.folder
    folder = places.cache / data_set.folder
    _gather(data_set, data_set.files, folder, places)
    return folder


def _have_sizes(folder: Path, wanted: Sequence[File | Pack]) -> bool:
    paths = [(folder / item.path, item.size) for item in wanted]
    return all(path.is_file() and path.stat().st_size == size for path, size in paths)


def _own(data_set: DataSet, item: File | Pack, places: Places) -> Path | None:
    # The user's own copy, checked, if there is one.
    if places.data is None or not (path := places.data / data_set.folder / item.path).is_file():
        return None
    check_file(path, item, hint="Replace it in MODICUM_DATA by the published file, or unset MODICUM_DATA.")
    return path


def _gather(data_set: DataSet, files: Sequence[File], folder: Path, places: Places) -> None:
    # File by file, so that an interrupted call can go on. What nobody can fetch is said before anything is fetched.
    absent: list[File] = []
    for file in files:
        target = folder / file.path
        if is_right(target, file):
            continue
        own = _own(data_set, file, places)
        if own is not None:
            _copy(own, target)
        else:
            absent.append(file)
    addresses = [(file.address, file) for file in absent if file.address is not None]
    if len(addresses) < len(absent):
        _refuse_not_public(data_set, [file.path for file in absent if file.address is None], folder)
    for address, file in addresses:
        download(address, folder / file.path, sha256=file.sha256, name=data_set.name)


def _copy(source: Path, target: Path) -> None:
    make_folder(target.parent)
    with tempfile.TemporaryDirectory(dir=target.parent) as stage:
        shutil.copyfile(source, Path(stage, target.name)).replace(target)


def _refuse_not_public(data_set: DataSet, paths: Sequence[str], folder: Path) -> NoReturn:
    origins = " and ".join(dict.fromkeys(f"{origin.address} at {origin.version}" for origin in data_set.origins))
    raise MissingDataError(
        f"{data_set.name} needs files that no public address has: {', '.join(paths)}, made from {origins}.",
        hint=f"Put them at these paths below {folder}, or below {data_set.folder} in the folder that MODICUM_DATA "
        f"names; modicum data verify {data_set.name} compares their checksums.",
    )


def _fetch_packed(data_set: DataSet, places: Places) -> Path:
    folder = places.cache / data_set.folder
    if is_complete(folder, data_set):
        return folder
    downloads = places.cache / "downloads" / data_set.folder
    with _staging(places.cache / "staging") as stage:
        built = stage / "built"
        built.mkdir()
        try:
            _build(data_set, built, downloads, places)
        except (DataError, FileNotFoundError):
            # Another process may have been first, and have cleared the downloads away.
            if is_complete(folder, data_set):
                return folder
            raise
        _install(data_set, built, folder, aside=stage / "damaged")
    shutil.rmtree(downloads, ignore_errors=True)
    return folder


def _build(data_set: DataSet, built: Path, downloads: Path, places: Places) -> None:
    for pack in data_set.packs:
        _unpack(data_set, pack, built, downloads, places)
    _gather(data_set, data_set.files, downloads, places)
    for file in data_set.files:
        target = built / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(downloads / file.path, target)
    mark(built, data_set)


def _unpack(data_set: DataSet, pack: Pack, built: Path, downloads: Path, places: Places) -> None:
    members, source = _members(data_set, pack, downloads, places)
    found = write_tree(members, built)
    if found != pack.tree:
        raise ChecksumError(
            f"The {pack.count:,} files in {source} should have the tree hash {pack.tree}, but they have {found}.",
            hint=f"Delete {source} and fetch {data_set.name} again; if it stays, the public files were changed.",
        )


def _members(data_set: DataSet, pack: Pack, downloads: Path, places: Places) -> tuple[Members, Path]:
    own = _own(data_set, pack, places)
    if own is not None:
        return read_pack(pack, own), own
    if isinstance(pack.public, Archive):
        repository, _, file_name = pack.public.address.split("/")[-3:]
        target = downloads / f"{repository}-{file_name}"
        download(pack.public.address, target, sha256=None, name=data_set.name)
        return read_archive(pack.public, target), target
    _gather(data_set, pack.public, downloads, places)
    return ((file.path, (downloads / file.path).read_bytes()) for file in pack.public), downloads


@contextmanager
def _staging(parent: Path) -> Generator[Path]:
    make_folder(parent)
    for left in parent.iterdir():
        # Of a process that was killed: nothing is built for a day.
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > _DAY:
                shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=parent) as stage:
        yield Path(stage)


def _install(data_set: DataSet, built: Path, folder: Path, *, aside: Path) -> None:
    # One step, so that nobody sees half a folder. If another process was first, what it built is used.
    make_folder(folder.parent)
    if folder.exists() and not is_complete(folder, data_set):
        with suppress(FileNotFoundError):
            folder.rename(aside)
    try:
        built.rename(folder)
    except OSError:
        if not is_complete(folder, data_set):
            raise
