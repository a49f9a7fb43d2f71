from __future__ import annotations

import io

import numpy as np
import pytest

from modicum.core.safeload import load_npy, load_npz
from modicum.errors import DataError, UnsafeFileError


def test_npy_comes_back_equal(tmp_path) -> None:
    np.save(tmp_path / "a.npy", np.arange(6).reshape(2, 3))
    np.testing.assert_array_equal(load_npy(tmp_path / "a.npy"), np.arange(6).reshape(2, 3), strict=True)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_comes_back_equal_by_name(tmp_path, save) -> None:
    save(tmp_path / "a.npz", obs=np.ones((4, 2), np.float32), text=np.array(["é"]))
    found = load_npz(tmp_path / "a.npz")
    assert list(found) == ["obs", "text"]
    np.testing.assert_array_equal(found["obs"], np.ones((4, 2), np.float32), strict=True)
    assert found["text"].tolist() == ["é"]


def test_pickled_objects_are_refused_and_do_not_run(tmp_path, command, sentinel) -> None:
    np.save(tmp_path / "a.npy", np.array([command]), allow_pickle=True)
    np.savez(tmp_path / "a.npz", safe=np.ones(1), unsafe=np.array([command]))
    with pytest.raises(UnsafeFileError, match=r"a\.npy holds pickled objects, which may run code"):
        load_npy(tmp_path / "a.npy")
    with pytest.raises(UnsafeFileError, match=r"unsafe\.npy in .*a\.npz holds pickled objects"):
        load_npz(tmp_path / "a.npz")
    assert not sentinel.exists()
    np.load(tmp_path / "a.npy", allow_pickle=True)
    assert sentinel.exists(), "the file was not dangerous, so the test above shows nothing"


def test_npz_is_measured_uncompressed_before_it_is_read(tmp_path) -> None:
    np.savez_compressed(tmp_path / "a.npz", zeros=np.zeros(1_000_000))
    assert (tmp_path / "a.npz").stat().st_size < 100_000
    with pytest.raises(UnsafeFileError, match=r"holds 8,000,128 bytes or more, and at most 1,000,000 are read"):
        load_npz(tmp_path / "a.npz", max_bytes=1_000_000)


def test_npy_above_the_limit_is_refused(tmp_path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(1000))
    with pytest.raises(UnsafeFileError, match="holds 8,128 bytes, and at most 1,000 are read"):
        load_npy(tmp_path / "a.npy", max_bytes=1000)


def test_a_shape_without_its_bytes_is_a_data_error(save_bytes) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": (2**50,)})
    with pytest.raises(DataError, match=r"not a complete \.npy array"):
        load_npy(save_bytes(buffer.getvalue() + b"\0" * 64))


def test_every_truncation_is_a_data_error(tmp_path, save_bytes) -> None:
    np.save(tmp_path / "a.npy", np.arange(3))
    np.savez(tmp_path / "a.npz", a=np.arange(3))
    npy, npz = (tmp_path / "a.npy").read_bytes(), (tmp_path / "a.npz").read_bytes()
    for length in range(len(npy)):
        with pytest.raises(DataError, match=r"not a complete \.npy array"):
            load_npy(save_bytes(npy[:length]))
    for length in range(len(npz)):
        with pytest.raises(DataError, match="not a complete zip, tar"):
            load_npz(save_bytes(npz[:length]))


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    "header", ["{'descr': (", "{" * 5000, "{'descr': '<f8', 'fortran_order': False, 'shape': (3L,", "{[]: 1}", "1/0"]
)
def test_a_damaged_header_is_a_data_error(save_bytes, header, version) -> None:
    text = header.encode() + b"\n"
    start = b"\x93NUMPY" + bytes([version, 0]) + len(text).to_bytes(2 * version, "little")
    with pytest.raises(DataError, match=r"not a complete \.npy array"):
        load_npy(save_bytes(start + text))
