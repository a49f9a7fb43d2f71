"""Damage a file as its seed says: the same bytes and the same seed give the same damage."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

EXTREMES = ("nan", "-inf", "1e999", "-1", "0", "2147483648", "1" + "0" * 30, "1e-320", "0x10", "true", '""', "9" * 5000)
JUNK: tuple[Any, ...] = (
    None, True, -1, 0, 2**31, 2**70, 1e308, float("nan"), "", "x", "\ud800", "a\0b", [], {}, [[]], {"x": 1}, ["x", 2],
    "../../up", "'); import os; os.system('touch SENTINEL') #", '"; } int main(void) { system("touch SENTINEL"); } //',
)  # fmt: skip


class Command:
    """Its pickle makes a file when an ordinary unpickler loads it."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.sentinel}",)


def damaged(data: bytes, draw: Random, sentinel: Path) -> bytes:
    """Change bytes; by what they hold (JSON, safetensors, zip, pickle, .npy) or, as often, whatever they hold."""
    for _ in range(draw.choice((1, 1, 2))):
        by_content = _by_content(data) if draw.random() < 0.5 else None
        data = by_content(data, draw, sentinel) if by_content else draw.choice(ANY)(data, draw)
    return data


def _by_content(data: bytes) -> Callable[[bytes, Random, Path], bytes] | None:
    if data.startswith(b"PK\x03\x04"):
        return _zip
    if data.startswith(b"\x80"):
        return _pickle
    if data.startswith(b"\x93NUMPY"):
        return _npy
    if data[8:9] == b"{" and int.from_bytes(data[:8], "little") < len(data):
        return _safetensors
    return _json if data.lstrip()[:1] in {b"{", b"["} else None


def _flip(data: bytes, draw: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 8)) if changed else 0):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _cut(data: bytes, draw: Random) -> bytes:
    return data[: draw.randrange(len(data) + 1)]


def _splice(data: bytes, draw: Random) -> bytes:
    start, to = draw.randrange(len(data) + 1), draw.randrange(len(data) + 1)
    return data[:to] + data[start : start + draw.randrange(64)] + data[draw.choice((to, min(len(data), to + 16))) :]


def _lines(data: bytes, draw: Random) -> bytes:
    lines = data.splitlines(keepends=True) or [b""]
    place = draw.randrange(len(lines))
    lines[place : place + 1] = [lines[place]] * draw.choice((0, 2, 3))
    return b"".join(lines)


def _ends(data: bytes, draw: Random) -> bytes:
    return data.replace(b"\n", draw.choice((b"\r", b"\r\n", b"\n\n", b"\0")))


def _number(data: bytes, draw: Random) -> bytes:
    found = list(re.finditer(rb"-?\d+(\.\d+)?", data))
    if not found:
        return _flip(data, draw)
    chosen = draw.choice(found)
    return data[: chosen.start()] + draw.choice(EXTREMES).encode() + data[chosen.end() :]


def _sign(data: bytes, draw: Random) -> bytes:
    place = draw.randrange(len(data) + 1)
    return data[:place] + draw.choice((b'"', b",", b"\0", b"(", b"[", b"{", b"\xff", b"\xef\xbb\xbf")) + data[place:]


def _encoded(data: bytes, draw: Random) -> bytes:
    return data.decode("utf-8", errors="replace").encode(draw.choice(("utf-16", "utf-8-sig", "utf-7")))


def _other(data: bytes, draw: Random) -> bytes:
    deep = 100_000
    return draw.choice(
        (b"", b"\0", b"\n", b"[" * deep + b"]" * deep, b'{"a":' * deep + b"1" + b"}" * deep, b"{}", b"[]")
    )


ANY = (_flip, _flip, _cut, _splice, _lines, _ends, _number, _number, _sign, _encoded, _other)


def _json(data: bytes, draw: Random, sentinel: Path) -> bytes:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return draw.choice(ANY)(data, draw)
    return json.dumps(_replaced(content, draw, _junk(draw, sentinel))).encode()


def _safetensors(data: bytes, draw: Random, sentinel: Path) -> bytes:
    end = 8 + int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8:end])
    except (ValueError, RecursionError):
        return draw.choice(ANY)(data, draw)
    told = header.get("__metadata__") if isinstance(header, dict) else None
    if isinstance(told, dict) and told and draw.random() < 0.8:  # the description of the library, in a text of JSON
        name = draw.choice(sorted(told))
        text = str(told[name]).encode()
        told[name] = draw.choice((_json(text, draw, sentinel), draw.choice(ANY)(text, draw))).decode(errors="replace")
        changed = json.dumps(header)
    else:
        changed = json.dumps(_replaced(header, draw, _junk(draw, sentinel)))
    return len(changed.encode()).to_bytes(8, "little") + changed.encode() + data[end:]


def _zip(data: bytes, draw: Random, sentinel: Path) -> bytes:
    """Damage a member behind a checksum that is right, or its name."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {info.filename: archive.read(info) for info in archive.infolist()}
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, RuntimeError, EOFError):
        return draw.choice(ANY)(data, draw)
    if not members:
        return data
    name = draw.choice(sorted(members))
    change = draw.random()
    if change < 0.1:
        members[draw.choice(("../up", "/tmp/up", "a\0b", name + "/x", "x" * 300))] = members.pop(name)
    elif change < 0.2:
        del members[name]
    else:
        members[name] = damaged(members[name], draw, sentinel)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def _pickle(data: bytes, draw: Random, sentinel: Path) -> bytes:
    if draw.random() < 0.1:
        return pickle.dumps({"train": [Command(sentinel)]})
    try:
        # Written by this test: bytes that were damaged before are not loaded again.
        content = pickle.loads(data) if data in OWN else None
    except Exception:  # noqa: BLE001
        content = None
    if content is None:
        return draw.choice(ANY)(data, draw)
    return pickle.dumps(
        _replaced(content, draw, draw.choice((Command(sentinel), *JUNK, np.zeros((2, 0)), np.array(3))))
    )


def _npy(data: bytes, draw: Random, sentinel: Path) -> bytes:
    start = data.find(b"{")
    end = data.find(b"\n", start)
    if draw.random() < 0.5 and 0 < start < end:
        header = draw.choice(ANY)(data[start:end].rstrip(), draw).ljust(end - start)[: end - start]
        return data[:start] + header + data[end:]
    others = [np.zeros(0), np.full((2, 3), np.nan), np.array(1 << 62), np.zeros((1, 2, 3), np.complex64)]
    others += [np.array(draw.choice(["x", "\ud7ff", ""])), np.array([b"\xff"]), np.zeros(3, "M8[s]")]
    changed = draw.choice(others)
    buffer = io.BytesIO()
    np.save(buffer, changed)
    return buffer.getvalue()


OWN: set[bytes] = set()  # the pickles that this test wrote


def _junk(draw: Random, sentinel: Path) -> Any:
    value = draw.choice(JUNK)
    return value.replace("SENTINEL", str(sentinel)) if isinstance(value, str) else value


def _replaced(content: Any, draw: Random, junk: Any) -> Any:
    """Put something else in the place of a part that is drawn, or take the part out, or rename its key."""
    places = list(_places(content, 0))
    if not places:
        return junk
    holder, key = draw.choice(places)
    kind = draw.random()
    if kind < 0.15:
        del holder[key]
    elif kind < 0.25 and isinstance(holder, dict):
        holder[str(junk) if not isinstance(junk, Command) else "x"] = holder.pop(key)
    else:
        holder[key] = junk
    return content


def _places(content: Any, depth: int) -> Any:
    if depth > 30 or not isinstance(content, dict | list):
        return
    for key, value in list(content.items() if isinstance(content, dict) else enumerate(content)):
        yield content, key
        yield from _places(value, depth + 1)
