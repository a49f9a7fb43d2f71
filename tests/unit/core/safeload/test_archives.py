from __future__ import annotations

import gzip
import lzma
import os
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from modicum.core.safeload import read_members
from modicum.errors import DataError, UnsafeFileError

LIMITS: Any = {"max_members": 100, "max_bytes": 100_000}
FILES = {"a.txt": b"first", "deep/er/b.bin": bytes(range(256)), "deep/empty": b""}


def _tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def refused(tmp_path: Path):
    """Check that an archive is refused with these words, and that nothing is left of it."""

    def check(archive: Path, words: str, *, error: type[DataError] = UnsafeFileError, **limits: int) -> None:
        before = _tree(tmp_path)
        with pytest.raises(error, match=words) as raised:
            dict(read_members(archive, **{**LIMITS, **limits}))
        assert str(archive) in str(raised.value)
        assert _tree(tmp_path) == before
        assert {path.name for path in tmp_path.iterdir()} == {archive.name}

    return check


@pytest.mark.parametrize("compression", ["", "gz", "xz"])
def test_a_tar_is_unpacked_whole(save_tar, compression) -> None:
    archive = save_tar(*FILES.items(), compression=compression)
    assert dict(read_members(archive, **LIMITS)) == FILES


def test_a_zip_is_unpacked_whole(save_zip) -> None:
    assert dict(read_members(save_zip(FILES), **LIMITS)) == FILES


BAD_NAMES = ["../out.txt", "a/../../out.txt", "/etc/out.txt", "C:/out.txt", "c:out.txt", "a\\..\\out.txt", ".."]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_zip_member_that_leaves_the_folder_is_refused(save_zip, refused, name) -> None:
    refused(save_zip({"fine.txt": b"x", name: b"x"}), "which would leave the folder")


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_tar_member_that_leaves_the_folder_is_refused(save_tar, refused, name) -> None:
    refused(save_tar(("fine.txt", b"x"), (name, b"x")), "which would leave the folder")


@pytest.mark.parametrize(("name", "cut"), [("safe.txtX.exe", b"safe.txt\0.exe"), ("Xsafe.txt", b"\0safe.txt")])
def test_a_zip_member_with_a_null_character_is_refused(save_zip, refused, name, cut) -> None:
    archive = save_zip({name: b"x"})
    archive.write_bytes(archive.read_bytes().replace(name.encode(), cut))
    refused(archive, "which would leave the folder")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (tarfile.SYMTYPE, "'entry' is a link"),
        (tarfile.LNKTYPE, "'entry' is a link"),
        (tarfile.CHRTYPE, "'entry' is a device"),
        (tarfile.BLKTYPE, "'entry' is a device"),
        (tarfile.FIFOTYPE, "'entry' is a device"),
    ],
)
def test_a_tar_member_that_is_no_plain_file_is_refused(save_tar, refused, kind, words) -> None:
    entry = tarfile.TarInfo("entry")
    entry.type, entry.linkname = kind, "fine.txt"
    refused(save_tar(("fine.txt", b"x"), entry), words)


def test_a_sparse_tar_member_is_refused(save_tar, refused) -> None:
    entry = tarfile.TarInfo("entry")
    entry.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.map": "0,1", "GNU.sparse.size": "90000"}
    refused(save_tar(entry), "'entry' is a device")


def test_a_symlink_in_a_zip_is_refused(save_zip, refused) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    refused(save_zip({link: b"/etc/passwd"}), "'link' is a link")


def test_an_encrypted_zip_member_is_refused(save_zip, refused) -> None:
    archive = save_zip({"a.txt": b"x"})
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(bytes(data))
    refused(archive, "'a.txt' is a locked file")


def test_a_repeated_name_is_refused(save_tar, refused) -> None:
    refused(save_tar(("a.txt", b"1"), ("./a.txt", b"2")), "has the member 'a.txt' twice")


def test_a_file_that_is_a_folder_too_is_refused(save_tar, refused) -> None:
    refused(save_tar(("a", b"1"), ("a/b", b"2")), "has 'a' both as a file and as a folder")


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_one_member_too_many_is_refused(tmp_path, save_zip, save_tar, refused, form) -> None:
    archive = save_zip(FILES) if form == "zip" else save_tar(*FILES.items())
    refused(archive, "may have at most 2 members, but has more", max_members=2)
    assert dict(read_members(archive, max_members=3, max_bytes=1000)) == FILES


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_one_byte_too_many_is_refused(tmp_path, save_zip, save_tar, refused, form) -> None:
    archive = save_zip(FILES) if form == "zip" else save_tar(*FILES.items())
    refused(archive, "holds 261 bytes or more, and at most 260 are read", max_bytes=260)
    assert dict(read_members(archive, max_members=3, max_bytes=261)) == FILES


def test_a_zip_bomb_is_refused_by_its_directory(save_zip, refused) -> None:
    archive = save_zip({"zeros": bytes(50_000_000)})
    assert archive.stat().st_size < 100_000
    refused(archive, "holds 50,000,000 bytes or more")


def test_a_tar_bomb_is_refused_at_its_header(tmp_path, refused) -> None:
    # One terabyte is announced and 40 MB of zeros follow: the refusal must come before they are unpacked.
    header = tarfile.TarInfo("zeros")
    header.size = 1 << 40
    archive = tmp_path / "bomb.tar.xz"
    archive.write_bytes(lzma.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(40_000_000), preset=0))
    refused(archive, "holds 1,099,511,627,776 bytes or more")


def test_a_bomb_in_an_extended_header_is_refused(tmp_path, refused) -> None:
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, (1 << 33) - 1
    archive = tmp_path / "bomb.tar.gz"
    archive.write_bytes(gzip.compress(header.tobuf(tarfile.USTAR_FORMAT) + bytes(1024)))
    refused(archive, "may unpack to at most .* bytes, but goes on")


def test_a_zip_that_lies_about_a_size_is_refused(save_zip, refused) -> None:
    archive = save_zip({"a": bytes(5000)})
    data = archive.read_bytes()
    archive.write_bytes(data.replace((5000).to_bytes(4, "little"), (50).to_bytes(4, "little")))
    refused(archive, "not a complete zip", error=DataError)


def test_a_zip_that_holds_less_than_it_says_is_refused(save_zip, refused) -> None:
    archive = save_zip({"a": bytes(5000)})
    data = archive.read_bytes()
    archive.write_bytes(data.replace((5000).to_bytes(4, "little"), (6000).to_bytes(4, "little")))
    refused(archive, "a in .* announces 6,000 bytes but holds 5,000", error=DataError)


@pytest.mark.parametrize("compression", ["", "gz", "xz"])
def test_every_tenth_truncation_of_a_tar_leaves_nothing(tmp_path, save_tar, refused, compression) -> None:
    archive = save_tar(*FILES.items(), compression=compression)
    whole = archive.read_bytes()
    # An uncompressed tar is whole with one block of zeros after its last header; more of them fill it up.
    end = whole.rindex(b"deep/empty") + 2 * tarfile.BLOCKSIZE if not compression else len(whole)
    for length in range(0, end, 10):
        archive.write_bytes(whole[:length])
        refused(archive, "not a complete zip, tar, tar.gz or tar.xz archive", error=DataError)


def test_every_truncation_of_a_zip_leaves_nothing(save_zip, refused) -> None:
    archive = save_zip(FILES)
    whole = archive.read_bytes()
    for length in range(len(whole)):
        archive.write_bytes(whole[:length])
        refused(archive, "not a complete zip, tar, tar.gz or tar.xz archive", error=DataError)


def test_a_damaged_member_leaves_nothing(save_zip, refused) -> None:
    archive = save_zip({"good": b"x" * 100, "bad": os.urandom(2000)})
    data = bytearray(archive.read_bytes())
    data[1000] ^= 1
    archive.write_bytes(bytes(data))
    refused(archive, "not a complete zip.* Fetch the file again", error=DataError)


def test_extended_headers_without_end_are_a_data_error(tmp_path, refused) -> None:
    header = tarfile.TarInfo("././@PaxHeader")
    header.type = tarfile.XHDTYPE
    (tmp_path / "a.tar").write_bytes(header.tobuf(tarfile.USTAR_FORMAT) * 5000)
    refused(tmp_path / "a.tar", "not a complete zip, tar|goes on", error=DataError, max_members=10_000)


def test_a_missing_archive_is_a_data_error(tmp_path) -> None:
    with pytest.raises(DataError, match="No such file"):
        list(read_members(tmp_path / "none.zip", **LIMITS))


def test_only_selected_members_are_read_and_must_be_plain(save_tar) -> None:
    link = tarfile.TarInfo("docs/link")
    link.type, link.linkname = tarfile.SYMTYPE, "elsewhere"
    archive = save_tar(link, ("data/a", b"1"), ("docs/b", b"2"))
    members = read_members(archive, select=lambda name: name.startswith("data/"), **LIMITS)
    assert list(members) == [("data/a", b"1")]
    with pytest.raises(UnsafeFileError, match="'docs/link' is a link"):
        list(read_members(archive, select=lambda name: name.startswith("docs/"), **LIMITS))
