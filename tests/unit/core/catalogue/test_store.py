from __future__ import annotations

import logging
import multiprocessing
import os
import re
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import pooch
import pytest

from modicum.core.catalogue import Places, store
from modicum.core.catalogue.proof import MARK
from modicum.errors import ChecksumError, ConfigError, DataError, MissingDataError


@pytest.fixture
def fetched(places, tree):
    """Fetch an example, check that exactly its public files came, and give the folder."""

    def fetch(example, where: Places = places) -> Path:
        folder = store.fetch(example.data_set, where)
        found = tree(folder)
        found.pop(MARK, None)
        assert found == example.contents
        return folder

    return fetch


def _offline(places: Places) -> Places:
    return replace(places, data=None)


def _snapshot(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in (folder, *folder.rglob("*"))}


def test_a_whole_data_set_in_the_users_folder_is_used_in_place(places, closed, plain, fetched) -> None:
    example = plain(closed)
    own = example.put_in(places)
    assert store.status(example.data_set, places) == "here"
    assert fetched(example) == own
    assert not places.cache.exists()


def test_a_damaged_file_in_the_users_folder_is_an_error_that_names_both_hashes(places, public, plain) -> None:
    example = plain(public.address)
    own = example.put_in(places) / "deep/er/a b.txt"
    own.write_bytes(b"wOrds")
    right = re.escape(example.data_set.files[1].sha256)
    with pytest.raises(
        ChecksumError, match=rf"a b\.txt should have 5 bytes and the SHA-256 {right}, but it has 5 bytes"
    ):
        store.fetch(example.data_set, places)
    with pytest.raises(ChecksumError, match=r"Replace it in MODICUM_DATA by the published file"):
        store.fetch(example.data_set, places)
    assert own.read_bytes() == b"wOrds"
    assert not places.cache.exists()
    assert public.asked == []


def test_what_the_users_folder_lacks_is_fetched_and_the_folder_is_never_written(places, public, plain, fetched) -> None:
    example = plain(public.address)
    (example.put_in(places) / "LICENSE").unlink()
    public.put("LICENSE", b"free")
    before = _snapshot(places.data)
    assert store.status(example.data_set, places) == "absent"
    assert fetched(example) == places.cache / "group/words"
    assert _snapshot(places.data) == before
    assert public.asked == ["/LICENSE"]
    assert store.status(example.data_set, places) == "cached"


def test_what_is_cached_is_not_fetched_again(places, public, plain, fetched) -> None:
    example = plain(public.address)
    for path, data in example.contents.items():
        public.put(path, data)
    fetched(example)
    asked = len(public.asked)
    assert asked == 3
    fetched(example)
    assert len(public.asked) == asked


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"wOrds"), lambda path: path.unlink()])
def test_a_damaged_cached_file_is_fetched_again(places, public, plain, fetched, damage) -> None:
    example = plain(public.address)
    for path, data in example.contents.items():
        public.put(path, data)
    damage(fetched(example) / "deep/er/a b.txt")
    fetched(example)


def test_other_bytes_from_the_network_are_an_error_and_leave_nothing(places, public, plain, tree) -> None:
    example = plain(public.address, {"a.txt": b"right"})
    public.put("a.txt", b"wrong")
    wrong = "8810ad581e59f2bc3928b261707a71308f7e139eb04820366dc4d5c18d980225"
    assert example.data_set.files[0].sha256 != wrong
    with pytest.raises(ChecksumError, match=rf"/a\.txt should have the SHA-256 .* has {wrong}\. Fetch again") as raised:
        store.fetch(example.data_set, places)
    assert example.data_set.files[0].sha256 in str(raised.value)
    assert raised.value.__suppress_context__
    assert tree(places.cache) == {}


def test_offline_the_error_says_what_to_put_where_and_doing_so_mends_it(places, closed, plain, fetched, tree) -> None:
    example = plain(closed, {"deep/a.txt": b"right"})
    target = places.cache / "group/words/deep/a.txt"
    with pytest.raises(MissingDataError) as raised:
        store.fetch(example.data_set, places)
    message = str(raised.value)
    for part in (f"{closed}/deep/a.txt", example.data_set.files[0].sha256, f"save it as {target}", "MODICUM_DATA"):
        assert part in message
    assert raised.value.__suppress_context__
    assert tree(places.cache) == {}
    target.write_bytes(b"right")
    fetched(example)


def test_a_missing_page_is_named_by_its_status(places, public, plain) -> None:
    with pytest.raises(MissingDataError, match=r"could not be fetched \(HTTP status 404\)\."):
        store.fetch(plain(public.address).data_set, places)


def test_a_broken_connection_leaves_nothing(places, public, plain, tree) -> None:
    public.put("cut.txt", b"half")
    with pytest.raises(MissingDataError, match=r"cut\.txt, which is neither in MODICUM_DATA nor in the cache"):
        store.fetch(plain(public.address, {"cut.txt": b"half"}).data_set, places)
    assert tree(places.cache) == {}


@pytest.mark.parametrize("part", ["group", "group/words"])
def test_a_file_in_the_place_of_a_cache_folder_is_an_error(places, public, plain, part) -> None:
    (places.cache / part).parent.mkdir(parents=True)
    (places.cache / part).write_bytes(b"")
    with pytest.raises(ConfigError, match=r"The folder .* cannot be made .*Set MODICUM_CACHE to a folder"):
        store.fetch(plain(public.address).data_set, places)


def test_files_without_public_address_are_an_error_before_anything_is_fetched(places, public, plain) -> None:
    data_set = plain(public.address).data_set
    fetchable, *made = data_set.files
    data_set = replace(data_set, files=(fetchable, *(replace(file, address=None) for file in made)))
    words = (
        r"that no public address has: deep/er/a b\.txt, empty, made from https://example\.org/maker/words at abc123\."
    )
    with pytest.raises(MissingDataError, match=words) as raised:
        store.fetch(data_set, places)
    assert (
        f"below {places.cache}/group/words, or below group/words in the folder that MODICUM_DATA" in raised.value.hint
    )
    assert "modicum data verify group/words compares their checksums" in raised.value.hint
    assert public.asked == []


def test_files_without_public_address_may_be_put_by_hand(places, plain, fetched) -> None:
    example = plain(None)
    (example.put_in(places) / "LICENSE").unlink()
    with pytest.raises(MissingDataError, match="that no public address has: LICENSE, made from"):
        store.fetch(example.data_set, places)
    (places.cache / "group/words/LICENSE").write_bytes(b"free")
    fetched(example)


def test_fetching_prints_nothing_and_leaves_the_log_level_of_pooch(places, public, plain, fetched, capfd) -> None:
    example = plain(public.address, {"a.txt": b"x"})
    public.put("a.txt", b"x")
    level = pooch.get_logger().level
    assert level <= logging.INFO
    fetched(example)
    assert capfd.readouterr() == ("", "")
    assert pooch.get_logger().level == level


@pytest.mark.parametrize("name", ["all.tar.xz", "all.zip", "all.jsonl.xz"])
def test_a_pack_in_the_users_folder_is_unpacked_once(places, closed, packed, fetched, name) -> None:
    example = packed(closed, name=name)
    example.put_in(places)
    before = _snapshot(places.data)
    assert fetched(example) == places.cache / "group/words"
    assert _snapshot(places.data) == before
    built = _snapshot(places.cache / "group/words")
    fetched(example, _offline(places))
    assert _snapshot(places.cache / "group/words") == built
    assert store.status(example.data_set, places) == "here"
    assert store.status(example.data_set, _offline(places)) == "cached"


def test_the_archive_of_a_repository_gives_the_same_folder_as_the_pack(
    places, public, packed, repository_archive, fetched
) -> None:
    example = packed(public.address)
    inside = {path: data for path, data in example.contents.items() if path != "LICENSE"}
    public.put("maker/words/archive/abc123.tar.gz", repository_archive(inside))
    public.put("LICENSE", b"free")
    fetched(example)
    assert sorted(public.asked) == ["/LICENSE", "/maker/words/archive/abc123.tar.gz"]
    assert list((places.cache / "downloads").rglob("*.gz")) == []


def test_the_members_of_a_pack_are_fetched_one_by_one_where_each_has_an_address(
    places, public, packed, fetched
) -> None:
    example = packed(public.address, members=True)
    for path, data in example.contents.items():
        public.put(path, data)
    fetched(example)
    assert len(public.asked) == 4


def test_an_archive_with_a_changed_file_is_an_error_and_builds_nothing(
    places, public, packed, repository_archive
) -> None:
    example = packed(public.address)
    inside = {path: data for path, data in example.contents.items() if path != "LICENSE"}
    public.put("maker/words/archive/abc123.tar.gz", repository_archive({**inside, "train/1/x.txt": b"changed"}))
    tree = example.data_set.packs[0].tree
    with pytest.raises(
        ChecksumError, match=rf"The 3 files in .*words-abc123\.tar\.gz should have the tree hash {tree}"
    ):
        store.fetch(example.data_set, places)
    assert not (places.cache / "group/words").exists()
    assert list((places.cache / "staging").iterdir()) == []


def test_an_archive_that_is_no_whole_one_is_named_to_be_deleted(places, public, packed) -> None:
    example = packed(public.address)
    public.put("maker/words/archive/abc123.tar.gz", b"<html>Log in first</html>")
    with pytest.raises(DataError) as raised:
        store.fetch(example.data_set, places)
    assert re.search(r"Delete \S+words-abc123\.tar\.gz and fetch", raised.value.hint)
    assert list((places.cache / "staging").iterdir()) == []


def test_a_hand_placed_archive_is_used(places, closed, packed, repository_archive, fetched) -> None:
    example = packed(closed)
    with pytest.raises(MissingDataError) as raised:
        store.fetch(example.data_set, places)
    found = re.search(r"save it as (\S+\.tar\.gz),", raised.value.hint)
    assert found is not None
    inside = {path: data for path, data in example.contents.items() if path != "LICENSE"}
    Path(found[1]).write_bytes(repository_archive(inside))
    (Path(found[1]).parent / "LICENSE").write_bytes(b"free")
    fetched(example)


def test_a_damaged_pack_in_the_users_folder_is_an_error(places, closed, packed) -> None:
    example = packed(closed)
    (example.put_in(places) / "all.tar.xz").write_bytes(example.pack[:-1] + b"\0")
    with pytest.raises(ChecksumError, match=r"all\.tar\.xz should have .* Replace it in MODICUM_DATA"):
        store.fetch(example.data_set, places)
    assert not (places.cache / "group/words").exists()


def _flip(folder: Path) -> None:
    (folder / "train/0/x.txt").write_bytes(b"tExt 0")


def _remove(folder: Path) -> None:
    (folder / "train/0/x.txt").unlink()


def _unmark(folder: Path) -> None:
    (folder / MARK).unlink()


def _scribble(folder: Path) -> None:
    (folder / MARK).write_text("{")


def _damage_plain(folder: Path) -> None:
    (folder / "LICENSE").write_bytes(b"FREE")


@pytest.mark.parametrize("damage", [_flip, _remove, _unmark, _scribble, _damage_plain])
def test_a_damaged_unpacked_folder_is_redone(places, closed, packed, fetched, damage) -> None:
    example = packed(closed)
    example.put_in(places)
    damage(fetched(example))
    with pytest.raises(DataError):
        store.fetch(example.data_set, _offline(places))
    fetched(example)
    assert list((places.cache / "staging").iterdir()) == []


def test_an_unpacked_folder_that_was_only_touched_is_hashed_and_kept(places, closed, packed, fetched) -> None:
    example = packed(closed)
    example.put_in(places)
    touched = fetched(example) / "train/0/x.txt"
    os.utime(touched, (1, 1))
    inode, stamp = touched.stat().st_ino, (places.cache / "group/words" / MARK).read_text()
    fetched(example, _offline(places))
    assert touched.stat().st_ino == inode
    assert (places.cache / "group/words" / MARK).read_text() != stamp


def test_a_changed_catalogue_entry_makes_the_cache_stale(places, closed, packed, fetched) -> None:
    example = packed(closed)
    example.put_in(places)
    fetched(example)
    pack = replace(example.data_set.packs[0], tree="0" * 64)
    assert store.status(replace(example.data_set, packs=(pack,)), _offline(places)) == "absent"


def test_processes_at_once_all_get_a_whole_folder(places, closed, packed, fetched, tree) -> None:
    example = packed(closed, count=1500)
    example.put_in(places)
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(store.fetch, example.data_set, places) for _ in range(6)]
        assert {job.result() for job in jobs} == {places.cache / "group/words"}
    fetched(example, _offline(places))
    assert tree(places.cache / "staging") == {}


def test_an_unpacking_that_was_killed_is_redone_and_swept_up_after_a_day(places, closed, packed, fetched) -> None:
    example = packed(closed)
    example.put_in(places)
    yesterday, now = places.cache / "staging/killed", places.cache / "staging/working"
    for left in (yesterday, now):
        (left / "built/train").mkdir(parents=True)
        (left / "built/train/half.txt").write_bytes(b"ha")
    os.utime(yesterday, (time.time() - 90_000, time.time() - 90_000))
    fetched(example)
    assert list((places.cache / "staging").iterdir()) == [now]
