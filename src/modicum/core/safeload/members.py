"""One view of zip and tar: an archive is opened, and each member has a name, a kind, a size and a way to read it."""

from __future__ import annotations

import gzip
import io
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, NoReturn, cast

from modicum.errors import UnsafeFileError

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_COMPRESSIONS = {b"\x1f\x8b": gzip.open, b"\xfd7zXZ\x00": lzma.open}
_LONG_NAMES = 1 << 20

Kind = Literal["file", "folder", "link", "device", "locked file"]


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of an archive, as its header announces it."""

    name: str  # not checked yet
    kind: Kind  # what it would become
    size: int  # uncompressed, in bytes
    open: Callable[[], IO[bytes]]  # gives a stream of its bytes while the archive is open


def refuse(archive: Path, what: str) -> NoReturn:
    """Refuse an archive."""
    raise UnsafeFileError(
        f"{archive} {what}.",
        hint="Do not unpack it by other means unless you know its maker; fetch it again if you do.",
    )


@contextmanager
def open_members(archive: Path, *, max_members: int, max_bytes: int) -> Generator[Iterator[Member]]:
    """Open a zip, tar, tar.gz or tar.xz, known by its first bytes, and give its members as they are read."""
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
        bounded = cast("IO[bytes]", _BoundedStream(archive, plain, limit=limit))
        yield _tar_members(opened.enter_context(tarfile.open(fileobj=bounded, mode="r:")), bounded)


class _BoundedStream:
    """A decompressed stream that ends with a refusal where a bomb would go on."""

    def __init__(self, archive: Path, stream: IO[bytes], *, limit: int) -> None:
        self._archive = archive
        self._stream = stream
        self._limit = limit

    def read(self, size: int) -> bytes:
        self._check_position(self.tell() + size)
        return self._stream.read(size)

    def seek(self, position: int) -> int:
        self._check_position(position)
        return self._stream.seek(position)

    def tell(self) -> int:
        return self._stream.tell()

    def _check_position(self, position: int) -> None:
        if position > self._limit:
            refuse(self._archive, f"may unpack to at most {self._limit:,} bytes, but goes on")


def _zip_members(archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        mode = info.external_attr >> 16
        kind: Kind = "file"
        # orig_filename, because zipfile cuts the other one at a null character.
        if info.orig_filename.endswith("/"):
            kind = "folder"
        elif stat.S_ISLNK(mode):
            kind = "link"
        elif stat.S_IFMT(mode) not in {0, stat.S_IFREG}:
            kind = "device"
        elif info.flag_bits & 1:
            kind = "locked file"
        yield Member(info.orig_filename, kind, info.file_size, lambda info=info: archive.open(info))


def _tar_members(archive: tarfile.TarFile, stream: IO[bytes]) -> Iterator[Member]:
    for info in archive:
        kind: Kind = "device"
        if info.isdir():
            kind = "folder"
        elif info.issym() or info.islnk():
            kind = "link"
        elif info.isreg() and not info.issparse():
            kind = "file"
        yield Member(info.name, kind, info.size, lambda info=info: _open_tar(archive, info))
    _check_end(archive, stream)


def _check_end(archive: tarfile.TarFile, stream: IO[bytes]) -> None:
    # tarfile takes a header that is cut off or damaged for the end, unless it is the first one. And only at the end of
    # the stream do gzip and xz compare their checksums.
    stream.seek(archive.offset)
    if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"no end after {len(archive.getmembers())} members")
    while stream.read(1 << 16):
        pass


def _open_tar(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    stream = archive.extractfile(info)
    return stream if stream is not None else io.BytesIO()
