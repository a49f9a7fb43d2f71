from __future__ import annotations

import io
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

Save = Callable[..., Path]


@pytest.fixture
def sentinel(tmp_path: Path) -> Path:
    """A file that exists only if a command of a malicious file was run."""
    return tmp_path / "command_was_run"


@pytest.fixture
def command(sentinel: Path) -> object:
    """An object whose pickle runs a command when it is loaded by an ordinary unpickler."""

    class Command:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, (f"touch {sentinel}",)

    return Command()


@pytest.fixture
def save_pickle(tmp_path: Path) -> Save:
    def save(value: object, *, protocol: int = 4) -> Path:
        path = tmp_path / "value.pickle"
        path.write_bytes(pickle.dumps(value, protocol=protocol))
        return path

    return save


@pytest.fixture
def save_bytes(tmp_path: Path) -> Save:
    def save(data: bytes, name: str = "value.bin") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return save


@pytest.fixture
def save_zip(tmp_path: Path) -> Save:
    def save(members: Mapping[str | zipfile.ZipInfo, bytes]) -> Path:
        path = tmp_path / "archive.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return path

    return save


@pytest.fixture
def save_tar(tmp_path: Path) -> Save:
    def save(*members: tuple[str, bytes] | tarfile.TarInfo, compression: str = "xz") -> Path:
        path = tmp_path / f"archive.tar.{compression}"
        with tarfile.open(path, f"w:{compression}") as archive:  # type: ignore[call-overload]
            for member in members:
                if isinstance(member, tarfile.TarInfo):
                    archive.addfile(member)
                    continue
                name, data = member
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return path

    return save
