from __future__ import annotations

import os
from dataclasses import replace

from modicum.core.catalogue import store


def _states(data_set, places) -> list[tuple[str, str]]:
    return [(check.part, check.state) for check in store.verify(data_set, places)]


def test_each_file_is_right_damaged_or_absent_where_it_lies(places, closed, plain) -> None:
    example = plain(closed)
    own = example.put_in(places)
    (own / "LICENSE").write_bytes(b"FREE")
    (own / "empty").unlink()
    checks = store.verify(example.data_set, places)
    assert [(check.part, check.state) for check in checks] == [
        ("LICENSE", "damaged"),
        ("deep/er/a b.txt", "right"),
        ("empty", "absent"),
    ]
    assert [check.path for check in checks] == [
        own / "LICENSE",
        own / "deep/er/a b.txt",
        places.cache / "group/words/empty",
    ]
    assert checks[0].expected == example.data_set.files[0].sha256
    assert checks[0].found not in {None, checks[0].expected}
    assert checks[2].found is None
    assert not places.cache.exists()


def test_a_pack_and_what_was_unpacked_from_it_are_two_rows(places, closed, packed) -> None:
    example = packed(closed)
    example.put_in(places)
    assert _states(example.data_set, places) == [("LICENSE", "right"), ("all.tar.xz", "right")]
    store.fetch(example.data_set, places)
    assert _states(example.data_set, places) == [("LICENSE", "right"), ("all.tar.xz", "right"), ("all.tar.xz", "right")]
    offline = replace(places, data=None)
    assert _states(example.data_set, offline) == [("LICENSE", "right"), ("all.tar.xz", "right")]


def test_a_pack_that_is_nowhere_is_absent(places, closed, packed) -> None:
    assert _states(packed(closed).data_set, places) == [("LICENSE", "absent"), ("all.tar.xz", "absent")]


def test_damage_that_keeps_size_and_time_is_found(places, closed, packed) -> None:
    example = packed(closed)
    example.put_in(places)
    file = store.fetch(example.data_set, places) / "train/0/x.txt"
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    file.write_bytes(b"tExt 0")
    os.utime(file, ns=times)
    assert store.fetch(example.data_set, places) == places.cache / "group/words", "fetch trusts size and time"
    assert _states(example.data_set, places)[-1] == ("all.tar.xz", "damaged")
