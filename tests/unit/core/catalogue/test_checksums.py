from __future__ import annotations

import hashlib

from modicum.core.catalogue.proof import tree_hash, walk


def test_the_tree_hash_is_what_its_description_says() -> None:
    lines = b"a/b\0" + b"1" * 64 + b"\n" + b"c\0" + b"2" * 64 + b"\n"
    assert tree_hash({"c": "2" * 64, "a/b": "1" * 64}) == hashlib.sha256(lines).hexdigest()


def test_walk_finds_files_at_every_depth(tmp_path) -> None:
    for name in ("top", "a/middle", "a/b/deep"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert dict(walk(tmp_path)) == {name: tmp_path / name for name in ("top", "a/middle", "a/b/deep")}
