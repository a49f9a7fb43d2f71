"""Read zip and tar archives whose names, kinds, count and sizes are all checked before anything is unpacked."""

from __future__ import annotations

import gzip
import io
import lzma
import re
import stat
import tarfile
import zipfile
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, NoReturn, cast

from modicum.core.safeload.limits import parsing
from modicum.errors import DataError, UnsafeFileError

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_COMPRESSIONS = {b"\x1f\x8b": gzip.open, b"\xfd7zXZ\x00": lzma.open}
_LONG_NAMES = 1 << 20
_LEAVING = re.compile(r"^[A-Za-z]:|\\|\0")  # a drive, or what other systems take for a separator or an end


def read_members(
    archive: Path, *, max_members: int, max_bytes: int, select: Callable[[str], bool] | None = None
) -> Iterator[tuple[str, bytes]]:
    """Give the files of an archive one by one, after all of its members were checked.

    Args:
        archive: a zip, tar, tar.gz or tar.xz, known by its first bytes.
        max_members: the most files and folders that it may have.
        max_bytes: the most that its files may take together, uncompressed.
        select: which names are wanted; all if not given. Of the others only name, count and size are checked.

    Yields:
        The name, with forward slashes and no ``..``, and the bytes of each file.

    Raises:
        DataError: if the archive is damaged or of another kind.
        UnsafeFileError: if a member would leave the folder, is no plain file or folder, or comes twice, or if there are
            too many or too large ones.
    """
    with (
        parsing(archive, "zip, tar, tar.gz or tar.xz archive"),
        _open(archive, max_members=max_members, max_bytes=max_bytes) as members,
    ):
        for member in _checked(archive, members, max_members=max_members, max_bytes=max_bytes, select=select):
            with member.open() as stream:
                # One byte more than announced, so that the end is reached and the checksum of a zip is compared.
                data = stream.read(member.size + 1)
            if len(data) != member.size:
                raise DataError(
                    f"{member.name} in {archive} announces {member.size:,} bytes but holds {len(data):,}.",
                    hint="Fetch the file again, and check its size and checksum.",
                )
            yield member.name, data


@dataclass(frozen=True, slots=True)
class _Member:
    name: str  # as the header announces it
    kind: str  # what it would become: "file", "folder" or what is refused
    size: int  # uncompressed, in bytes
    open: Callable[[], IO[bytes]]  # while the archive is open


def _checked(
    archive: Path,
    members: Iterator[_Member],
    *,
    max_members: int,
    max_bytes: int,
    select: Callable[[str], bool] | None,
) -> list[_Member]:
    """Check every member, and stop at the first that is refused: a bomb is not counted to its end."""
    wanted: list[_Member] = []
    files: set[str] = set()
    folders: set[str] = set()
    total = 0
    for count, member in enumerate(members, start=1):
        total += member.size
        if count > max_members:
            _refuse(archive, f"may have at most {max_members:,} members, but has more")
        if total > max_bytes:
            _refuse(archive, f"holds {total:,} bytes or more, and at most {max_bytes:,} are read")
        path = PurePosixPath(member.name)
        if not member.name or _LEAVING.search(member.name) or path.is_absolute() or ".." in path.parts:
            _refuse(archive, f"has the member {member.name!r}, which would leave the folder that it is unpacked in")
        name = str(path)
        if member.kind == "folder":
            folders.add(name)
            continue
        if name in files:
            _refuse(archive, f"has the member {name!r} twice")
        files.add(name)
        folders.update(map(str, path.parents))
        if select is not None and not select(name):
            continue
        if member.kind != "file":
            _refuse(archive, f"may have only plain files and folders, but {name!r} is a {member.kind}")
        wanted.append(replace(member, name=name))
    if clash := files & folders:
        _refuse(archive, f"has {min(clash)!r} both as a file and as a folder")
    return wanted


def _refuse(archive: Path, what: str) -> NoReturn:
    raise UnsafeFileError(
        f"{archive} {what}.",
        hint="Do not unpack it by other means unless you know its maker; fetch it again if you do.",
    )


@contextmanager
def _open(archive: Path, *, max_members: int, max_bytes: int) -> Generator[Iterator[_Member]]:
    with ExitStack() as opened:
        raw = opened.enter_context(archive.open("rb"))
        start = raw.read(8)
        raw.seek(0)
        if start.startswith(_ZIP):
            yield _zip_members(opened.enter_context(zipfile.ZipFile(raw)))
            return
        plain: IO[bytes] = raw
        for signature, decompress in _COMPRESSIONS.items():
            if start.startswith(signature):
                plain = cast("IO[bytes]", opened.enter_context(decompress(raw)))
        # Header, extended header, its block and the padding are at most four blocks a member; names may be long.
        limit = max_bytes + (max_members + 1) * 4 * tarfile.BLOCKSIZE + _LONG_NAMES
        bounded = cast("IO[bytes]", _BoundedStream(archive, plain, limit))
        yield _tar_members(opened.enter_context(tarfile.open(fileobj=bounded, mode="r:")), bounded)


@dataclass
class _BoundedStream:
    """A decompressed stream that ends with a refusal where a bomb would go on."""

    archive: Path
    stream: IO[bytes]
    limit: int

    def read(self, size: int) -> bytes:
        self._check_position(self.tell() + size)
        return self.stream.read(size)

    def seek(self, position: int) -> int:
        self._check_position(position)
        return self.stream.seek(position)

    def tell(self) -> int:
        return self.stream.tell()

    def _check_position(self, position: int) -> None:
        if position > self.limit:
            _refuse(self.archive, f"may unpack to at most {self.limit:,} bytes, but goes on")


def _zip_members(archive: zipfile.ZipFile) -> Iterator[_Member]:
    for info in archive.infolist():
        mode, kind = info.external_attr >> 16, "file"
        # orig_filename, because zipfile cuts the other one at a null character.
        if info.orig_filename.endswith("/"):
            kind = "folder"
        elif stat.S_IFMT(mode) not in {0, stat.S_IFREG}:
            kind = "link" if stat.S_ISLNK(mode) else "device"
        elif info.flag_bits & 1:
            kind = "locked file"
        yield _Member(info.orig_filename, kind, info.file_size, lambda info=info: archive.open(info))


def _tar_members(archive: tarfile.TarFile, stream: IO[bytes]) -> Iterator[_Member]:
    for info in archive:
        plain = "file" if info.isreg() and not info.issparse() else "device"
        kind = "folder" if info.isdir() else "link" if info.issym() or info.islnk() else plain
        yield _Member(info.name, kind, info.size, lambda info=info: archive.extractfile(info) or io.BytesIO())
    # tarfile takes a header that is cut off or damaged for the end, unless it is the first one. And only at the end of
    # the stream do gzip and xz compare their checksums.
    stream.seek(archive.offset)
    if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"no end after {len(archive.getmembers())} members")
    while stream.read(1 << 16):
        pass
