"""Unpack zip and tar archives whose names, kinds, count and sizes were all checked before anything is written."""

from __future__ import annotations

import lzma
import re
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from modicum.core.safeload.members import Member, open_members, refuse
from modicum.errors import ConfigError, DataError

_DRIVE = re.compile(r"[A-Za-z]:")
_DAMAGE = (
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)


def extract(archive: Path, folder: Path, *, max_members: int, max_bytes: int) -> Path:
    """Unpack an archive into a new folder, whole or not at all.

    The files appear under their name in one step at the end, so that what fails or is interrupted leaves no folder.
    Folders without files are not made, and permissions and times are not taken over.

    Args:
        archive: a zip, tar, tar.gz or tar.xz, known by its first bytes.
        folder: does not exist yet; its parent does.
        max_members: the most files and folders that it may have.
        max_bytes: the most that its files may take together, uncompressed.

    Returns:
        ``folder``.

    Raises:
        ConfigError: if ``folder`` exists, or its parent does not.
        DataError: if the archive is damaged or of another kind, or a member cannot be written.
        UnsafeFileError: if a member would leave the folder, is no plain file or folder, or comes twice, or if there are
            too many or too large ones.
    """
    if folder.exists():
        raise ConfigError(f"{folder} must not exist before {archive} is unpacked there.", hint="Choose another folder.")
    if not folder.parent.is_dir():
        raise ConfigError(f"{folder.parent} is not a folder.", hint=f"Make it before {archive} is unpacked in it.")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as parent:
        stage = Path(parent) / "stage"
        stage.mkdir()
        for name, data in read_members(archive, max_members=max_members, max_bytes=max_bytes):
            _write(archive, stage / name, data)
        stage.rename(folder)
    return folder


def _write(archive: Path, target: Path, data: bytes) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # "x", because a file system that ignores case would write one member over another.
        with target.open("xb") as stream:
            stream.write(data)
    except OSError as error:  # a name that is too long or comes twice in another case, or no room
        raise DataError(
            f"{archive} cannot be unpacked: {target.name[:80]} cannot be written ({error.strerror}).",
            hint="Make room, or unpack it on another file system.",
        ) from error


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
        UnsafeFileError: as for `extract`.
    """
    try:
        with open_members(archive, max_members=max_members, max_bytes=max_bytes) as members:
            checked = _check(archive, members, max_members=max_members, max_bytes=max_bytes, select=select)
            for member in checked:
                with member.open() as stream:
                    # One byte more than announced, so that the end is reached and the checksum of a zip is compared.
                    data = stream.read(member.size + 1)
                if len(data) != member.size:
                    raise DataError(
                        f"{member.name} in {archive} announces {member.size:,} bytes but holds {len(data):,}.",
                        hint="Fetch the file again, and check its size and checksum.",
                    )
                yield member.name, data
    except DataError:
        raise
    except _DAMAGE as error:
        raise DataError(
            f"{archive} is not a whole zip, tar, tar.gz or tar.xz archive ({error or type(error).__name__}).",
            hint="Fetch the file again, and check its size and checksum.",
        ) from error


def _check(
    archive: Path,
    members: Iterator[Member],
    *,
    max_members: int,
    max_bytes: int,
    select: Callable[[str], bool] | None,
) -> list[Member]:
    """Check every member, and stop at the first that is refused: a bomb is not counted to its end."""
    wanted: list[Member] = []
    files: set[str] = set()
    folders: set[str] = set()
    total = 0
    for count, member in enumerate(members, start=1):
        total += member.size
        if count > max_members:
            refuse(archive, f"may have at most {max_members:,} members, but has more")
        if total > max_bytes:
            refuse(archive, f"holds {total:,} bytes or more, and at most {max_bytes:,} are read")
        name = _check_name(archive, member.name)
        if member.kind == "folder":
            folders.add(name)
            continue
        if name in files:
            refuse(archive, f"has the member {name!r} twice")
        files.add(name)
        folders.update(str(parent) for parent in PurePosixPath(name).parents)
        if select is not None and not select(name):
            continue
        if member.kind != "file":
            refuse(archive, f"may have only plain files and folders, but {name!r} is a {member.kind}")
        wanted.append(Member(name, "file", member.size, member.open))
    if clash := files & folders:
        refuse(archive, f"has {min(clash)!r} both as a file and as a folder")
    return wanted


def _check_name(archive: Path, name: str) -> str:
    path = PurePosixPath(name)
    if not name or "\\" in name or "\0" in name or path.is_absolute() or ".." in path.parts or _DRIVE.match(name):
        refuse(archive, f"has the member {name!r}, which would leave the folder that it is unpacked in")
    return str(path)
