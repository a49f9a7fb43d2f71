from __future__ import annotations

import functools
import hashlib
import http.server
import io
import json
import lzma
import socket
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from modicum.core.catalogue import Archive, DataSet, File, Origin, Pack, Places
from modicum.core.catalogue.proof import tree_hash

Contents = Mapping[str, bytes]


@dataclass
class Public:
    """A web server on this machine and the folder that it shows."""

    address: str
    folder: Path
    asked: list[str] = field(default_factory=list)

    def put(self, path: str, data: bytes) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_bytes(data)


@pytest.fixture
def public(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Public]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder = tmp_path / "public"
    folder.mkdir()
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
            asked.append(self.path)

        def send_header(self, keyword: str, value: str) -> None:
            # A file called cut... announces more than it brings, as a broken connection does.
            if keyword == "Content-Length" and "/cut" in self.path:
                value = str(int(value) + 100)
            super().send_header(keyword, value)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Public(f"http://127.0.0.1:{server.server_port}", folder, asked)
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> str:
    """An address at which nobody answers."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def places(tmp_path: Path) -> Places:
    (tmp_path / "data").mkdir()
    return Places(data=tmp_path / "data", cache=tmp_path / "cache")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _file(path: str, data: bytes, base: str | None) -> File:
    return File(path=path, size=len(data), sha256=_sha256(data), address=None if base is None else f"{base}/{path}")


def _tar(contents: Contents, *extra: tarfile.TarInfo, compression: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{compression}") as archive:  # type: ignore[call-overload]
        for info in extra:
            archive.addfile(info)
        for name, data in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _zip(contents: Contents) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _jsonl(contents: Contents) -> bytes:
    rows = (json.dumps({"id": name, "text": data.decode(), "label": "pos"}) + "\n" for name, data in contents.items())
    return lzma.compress("".join(rows).encode())


PACKERS: Mapping[str, Callable[[Contents], bytes]] = {
    "all.tar.xz": functools.partial(_tar, compression="xz"),
    "all.zip": _zip,
    "all.jsonl.xz": _jsonl,
}


@dataclass
class Example:
    """A data set, its public files, and the pack that MODICUM_DATA may hold."""

    data_set: DataSet
    contents: Contents
    pack: bytes = b""

    def put_in(self, places: Places) -> Path:
        """Lay the data set into MODICUM_DATA."""
        assert places.data is not None
        folder = places.data / self.data_set.folder
        packed = {self.data_set.packs[0].path: self.pack} if self.data_set.packs else {}
        plain = {file.path: self.contents[file.path] for file in self.data_set.files}
        for path, data in {**plain, **packed}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        return folder


def _data_set(files: tuple[File, ...], packs: tuple[Pack, ...] = ()) -> DataSet:
    origin = Origin(address="https://example.org/maker/words", version="abc123", path="raw/")
    return DataSet(
        name="group/words",
        folder="group/words",
        task="words",
        methods=("nsgd",),
        licence="MIT",
        origins=(origin,),
        notes=(),
        files=files,
        packs=packs,
    )


@pytest.fixture
def plain() -> Callable[..., Example]:
    def make(base: str | None, contents: Contents | None = None) -> Example:
        shown = contents or {"LICENSE": b"free", "deep/er/a b.txt": b"words", "empty": b""}
        return Example(_data_set(tuple(_file(path, data, base) for path, data in shown.items())), shown)

    return make


@pytest.fixture
def packed() -> Callable[..., Example]:
    """A data set of one plain file and a pack, whose public side is an archive or single files at ``base``."""

    def make(base: str, *, name: str = "all.tar.xz", members: bool = False, count: int = 3) -> Example:
        inside = {f"train/{row}/x.txt": b"text %d" % row for row in range(count)}
        data = PACKERS[name](inside)
        archive = Archive(
            address=f"{base}/maker/words/archive/abc123.tar.gz",
            folder="data/",
            select=("train/*.txt",),
            omit=("train/bad.txt",),
        )
        pack = Pack(
            path=name,
            size=len(data),
            sha256=_sha256(data),
            tree=tree_hash({path: _sha256(content) for path, content in inside.items()}),
            count=count,
            unpacked=sum(map(len, inside.values())),
            public=tuple(_file(path, content, base) for path, content in inside.items()) if members else archive,
        )
        plain_file = _file("LICENSE", b"free", base)
        return Example(_data_set((plain_file,), (pack,)), {"LICENSE": b"free", **inside}, data)

    return make


@pytest.fixture
def repository_archive() -> Callable[[Contents], bytes]:
    """The archive of a repository that has the files below data/, and other things besides."""

    def make(contents: Contents) -> bytes:
        link = tarfile.TarInfo("words-abc123/docs/link")
        link.type, link.linkname = tarfile.SYMTYPE, "../README.md"
        inside = {f"words-abc123/data/{name}": data for name, data in contents.items()}
        others = {
            "words-abc123/README.md": b"read",
            "words-abc123/data/train/bad.txt": b"left out",
            "words-abc123/data/test/0.txt": b"not wanted",
            "words-abc123/train/0.txt": b"elsewhere",
        }
        return _tar({**others, **inside}, link, compression="gz")

    return make


@pytest.fixture
def tree() -> Callable[[Path], dict[str, bytes]]:
    def read(folder: Path) -> dict[str, bytes]:
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    return read
