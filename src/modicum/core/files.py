"""Files and folders that are complete or not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from modicum.errors import ConfigError

_PICTURES = (".png", ".svg", ".pdf")


@contextmanager
def aside(path: Path) -> Generator[Path]:
    """Give a temporary path in the folder of a file, and move what was written there to the file when all of it is."""
    if path.exists() and not path.is_file():  # else root would replace a device
        raise ConfigError(f"{path} is no file that can be replaced.", hint="Name a file.")
    # A name of its own, so that two writers do not meet and nobody can plant a link in its place.
    part = path.parent / f".part-{os.urandom(8).hex()}{path.suffix}"
    try:
        yield part
        part.replace(path)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written ({error.strerror}).",
            hint="Name a file in a folder that you may write to and that has room.",
        ) from error
    finally:
        if part.is_file():  # unlink itself would raise where the folder is a file
            part.unlink()


@contextmanager
def replacing(path: Path) -> Generator[TextIO]:
    """Write a text file as `aside` does."""
    with aside(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        yield file


def make_folder(path: Path, *, hint: str = "Name one where you may write.") -> None:
    """Make a folder and those above it, if they are missing."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"The folder {path} cannot be made ({error.strerror}).", hint=hint) from error


@contextmanager
def new_folder(folder: Path) -> Generator[Path]:
    """Give a temporary folder to write files to, which becomes the folder when all of them are written."""
    make_folder(folder.parent)
    try:
        if folder.exists() and any(folder.iterdir()):
            raise ConfigError(f"{folder} has files in it.", hint="Name a new folder.")
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as parent:
            part = Path(parent) / "part"
            part.mkdir()
            yield part
            part.rename(folder)  # also onto an empty folder
    except OSError as error:
        raise ConfigError(
            f"The folder {folder} cannot be written ({error.strerror or error}).", hint="Name one where you may write."
        ) from error


def check_picture(path: Path) -> None:
    """See whether a picture can have a name, before there is one to draw."""
    if path.suffix not in _PICTURES:
        raise ConfigError(f"A picture is a {', '.join(_PICTURES)} file, got {path}.", hint="Rename it.")


def check_target(
    path: Path, *, option: str = "", folder: bool = False, inputs: Iterable[Path | str | None] = ()
) -> None:
    """See whether a file, or with ``folder`` a folder, can be written, before the work and not after it."""
    # A folder and those above it need not be there; that of a file must.
    named = f"{option} {path}".lstrip()
    if path.exists() and path.is_dir() != folder:
        what = "no folder" if folder else "a folder"
        raise ConfigError(f"{named} is {what}.", hint=f"Name a {'folder' if folder else 'file'}.")
    for given in filter(None, inputs):
        _check_apart(path, Path(given), named)
    parent = path if folder else path.parent
    while folder and not parent.exists():
        parent = parent.parent
    try:
        tempfile.TemporaryFile(dir=parent).close()
    except OSError as error:
        raise ConfigError(
            f"{named} cannot be written ({error.strerror}).", hint="Name one where you may write."
        ) from error


def _check_apart(path: Path, given: Path, named: str) -> None:
    if not os.path.exists(given):  # noqa: PTH110 - a text in quotes may be too long for Path.exists
        return
    # As a name in its folder, too: a link is replaced, not followed.
    targets = {Path(os.path.realpath(path)), Path(os.path.realpath(path.parent), path.name)}
    source = Path(os.path.realpath(given))
    if source in targets or (path.exists() and path.samefile(given)):
        raise ConfigError(f"{named} is a {'folder' if given.is_dir() else 'file'} that is read.", hint="Name another.")
    if any(target.is_relative_to(source) for target in targets):
        raise ConfigError(f"{named} is in {given}, a folder that is read.", hint="Name a folder outside of it.")
