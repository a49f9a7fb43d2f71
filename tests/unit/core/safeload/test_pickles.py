from __future__ import annotations

import collections
import datetime
import io
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modicum.core.safeload import load_pickle
from modicum.errors import DataError, UnsafeFileError

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)

ARRAYS = [
    np.arange(6, dtype="<f8").reshape(2, 3),
    np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3)),
    np.arange(24, dtype=np.int16).reshape(2, 3, 4).transpose(2, 0, 1),
    np.arange(10, dtype=np.int8)[::3],
    np.array(3.5, dtype=np.float32),
    np.zeros((0, 4), dtype=np.uint8),
    np.array([True, False]),
    np.array([1 + 2j]),
    np.array(["short", "longer text"]),
    np.array([b"ab", b"c"]),
    np.array(["2026-11-24", "NaT"], dtype="M8[D]"),
    np.array([1, 2], dtype="m8[25s]"),
    np.array([(1, 2.5), (3, 4.5)], dtype=[("row", "<i4"), ("value", "<f8")]),
    np.array([(1, [1, 2])], dtype=np.dtype([("row", "<i2"), ("pair", "<i4", (2,))], align=True)),
]


def _dtype(code: bytes) -> bytes:
    """A dtype as Python 2 writes it at protocol 2, instruction by instruction."""
    state = b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    return b"cnumpy\ndtype\nU" + bytes([len(code)]) + code + b"K\x00K\x01\x87R" + state


def _array(dtype: bytes, shape: bytes, data: bytes) -> bytes:
    """An array with any claim: dtype, shape and data are instructions."""
    start = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
    return start + shape + dtype + b"\x89" + data + b"tb"


def _python_2_pickle() -> bytes:
    """{'x': array([1., -1.])} as Python 2.7 with NumPy 1 writes it at protocol 2."""
    array = _array(_dtype(b"f8"), b"K\x02\x85", b"U\x10" + struct.pack("<2d", 1.0, -1.0))
    return b"\x80\x02}U\x01x" + array + b"s."


def _same(found: Any, expected: np.ndarray[Any, Any]) -> None:
    assert type(found) is type(expected)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}-{array.shape}")
def test_an_array_comes_back_equal_and_writable(save_pickle, array, protocol) -> None:
    found: Any = load_pickle(save_pickle(array, protocol=protocol))
    _same(found, array)
    assert found.flags.writeable


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_fortran_array_keeps_its_order(save_pickle, protocol) -> None:
    found: Any = load_pickle(save_pickle(np.asfortranarray(np.ones((3, 2))), protocol=protocol))
    assert found.flags.f_contiguous


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("scalar", [np.float32(1.5), np.int64(-7), np.str_("text"), np.datetime64("2026-11-24", "s")])
def test_a_scalar_comes_back_equal_with_its_type(save_pickle, scalar, protocol) -> None:
    found: Any = load_pickle(save_pickle({"score": scalar}, protocol=protocol))
    assert found == {"score": scalar}
    assert found["score"].dtype == scalar.dtype


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_containers_texts_and_numbers_come_back_equal(save_pickle, protocol) -> None:
    value = {
        "list": [1, -(2**80), 2.5, 1j, True, None],
        ("tuple", 1): ("é", b"\x00\xff", b"", bytearray(b"ab"), bytearray()),
        3: {"set", 4},
        frozenset({5}): [],
    }
    assert load_pickle(save_pickle(value, protocol=protocol)) == value


def test_the_spelling_of_numpy_1_is_read(save_bytes) -> None:
    data = pickle.dumps(np.arange(3.0), protocol=2)
    old = data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    assert old != data
    _same(load_pickle(save_bytes(old)), np.arange(3.0))


@pytest.mark.parametrize(("encoding", "key"), [("latin1", "x"), ("bytes", b"x")])
def test_arrays_of_python_2_are_read_with_their_encoding(save_bytes, encoding, key) -> None:
    found: Any = load_pickle(save_bytes(_python_2_pickle()), encoding=encoding)
    assert list(found) == [key]
    _same(found[key], np.array([1.0, -1.0]))


def test_texts_of_python_2_without_their_encoding_are_an_error_that_names_it(save_bytes) -> None:
    with pytest.raises(DataError, match=r'texts of Python 2 that are not ASCII\. Pass encoding="latin1"'):
        load_pickle(save_bytes(_python_2_pickle()))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("order", ["C", "F"])
def test_object_arrays_keep_what_they_hold(save_pickle, order, protocol) -> None:
    array = np.empty((2, 3), dtype=object, order=order)
    for row, item in enumerate([[1, 2], np.arange(3), "text", {"inner": np.ones(2)}, None, (np.array(5),)]):
        array[divmod(row, 3)] = item
    found: Any = load_pickle(save_pickle(array, protocol=protocol))
    assert found.dtype == object
    assert found[0, 0] == [1, 2]
    _same(found[0, 1], np.arange(3))
    assert found[0, 2] == "text"
    _same(found[1, 0]["inner"], np.ones(2))
    assert found[1, 1] is None
    _same(found[1, 2][0], np.array(5))


def test_what_is_shared_stays_shared_and_cycles_stay_cycles(save_pickle) -> None:
    array, loop = np.arange(3), []
    loop += [array, (array, loop)]
    found: Any = load_pickle(save_pickle(loop))
    assert found[1][0] is found[0]
    assert found[1][1] is found
    _same(found[0], array)


def test_a_dtype_as_a_value_is_read(save_pickle) -> None:
    assert load_pickle(save_pickle([np.dtype(">f4")])) == [np.dtype(">f4")]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "wrap",
    [lambda it: it, lambda it: [{"a": (it,)}], lambda it: np.array([None, it], dtype=object)],
    ids=["bare", "nested", "in an object array"],
)
def test_a_pickle_that_calls_a_command_is_refused_and_does_not_run(
    save_pickle, command, sentinel, wrap, protocol
) -> None:
    path = save_pickle(wrap(command), protocol=protocol)
    with pytest.raises(
        UnsafeFileError, match=rf"{path} may hold only arrays .* asks for posix\.system\. Ask its maker"
    ):
        load_pickle(path)
    assert not sentinel.exists()
    pickle.loads(path.read_bytes())
    assert sentinel.exists(), "the file was not dangerous, so the test above shows nothing"


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (print, "builtins.print"),
        (collections.OrderedDict(), "collections.OrderedDict"),
        (datetime.date(2026, 11, 24), "datetime.date"),
        (Path("x"), "pathlib.PosixPath"),
        (slice(1), "builtins.slice"),
        (np.load, "numpy.load"),
        (np.ma.masked_array([1]), "numpy.ma._mareconstruct|numpy.ma.core._mareconstruct"),
    ],
)
def test_other_classes_and_functions_are_refused_by_name(save_pickle, value, name) -> None:
    with pytest.raises(UnsafeFileError, match=f"asks for ({name})"):
        load_pickle(save_pickle(value))


@pytest.mark.parametrize("value", [set, complex, np.ndarray, [np.dtype]])
def test_an_allowed_constructor_is_no_value(save_pickle, value) -> None:
    with pytest.raises(UnsafeFileError, match="itself, not something made with it"):
        load_pickle(save_pickle(value, protocol=2))


def test_a_reference_to_an_object_outside_the_file_is_refused(tmp_path) -> None:
    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: object) -> str | None:
            return "elsewhere" if isinstance(obj, set) else None

    buffer = io.BytesIO()
    Pickler(buffer).dump([set()])
    (tmp_path / "p").write_bytes(buffer.getvalue())
    with pytest.raises(UnsafeFileError, match="refers to the object 'elsewhere' outside the file"):
        load_pickle(tmp_path / "p")


LARGE = b"\x8a\x05\x00\x00\x00\x00\x10"  # 2**36


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            b"\x80\x02" + _array(_dtype(b"f8"), LARGE + b"\x85", b"U\x00") + b".",
            r"shape \(68719476736,\) comes with 0 bytes",
        ),
        (
            b"\x80\x02" + _array(_dtype(b"O8"), LARGE + b"\x85", b"]") + b".",
            r"shape \(68719476736,\) comes with 0 objects",
        ),
        (b"\x80\x02" + _array(_dtype(b"V999999999"), b"K\x01\x85", b"U\x00") + b".", "comes with 0 bytes"),
        (b"\x80\x02" + _array(_dtype(b"U0"), LARGE + b"\x85", b"U\x00") + b".", "comes with 0 bytes"),
        (b"\x80\x02" + _array(_dtype(b"f8"), b"J\xff\xff\xff\xff\x85", b"U\x00") + b".", r"shape \(-1,\)"),
        (b"\x80\x02" + _array(_dtype(b"(99999,)f8"), b"K\x01\x85", b"U\x00") + b".", "dtype has the code"),
        (b"\x80\x02" + _array(_dtype(b"O8"), b"K\x01\x85", b"U\x0812345678") + b".", "does not come as bytes"),
        (b"\x80\x02c__builtin__\nbytearray\n" + LARGE + b"\x85R.", "memoryview"),
        (b"\x80\x02cnumpy\nndarray\n" + LARGE + b"\x85R.", "numpy.ndarray is called directly"),
        (
            b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + LARGE + b"\x85U\x01b\x87R.",
            "as NumPy builds",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_claim_without_its_bytes_is_refused_before_memory_is_taken(save_bytes, data, words) -> None:
    with pytest.raises(DataError, match=words):
        load_pickle(save_bytes(data))


def test_a_field_outside_its_record_is_refused(save_bytes) -> None:
    # dtype('V4') whose field x, a float of 8 bytes, lies at offset 200
    state = b"(K\x03U\x01|NU\x01x\x85}U\x01x" + _dtype(b"f8") + b"K\xc8\x86sK\x04K\x01K\x00tb"
    record = b"cnumpy\ndtype\nU\x02V4K\x00K\x01\x87R" + state
    with pytest.raises(DataError, match="smaller itemsize of 4"):
        load_pickle(save_bytes(b"\x80\x02" + _array(record, b"K\x01\x85", b"U\x041234") + b"."))


@pytest.mark.parametrize(
    ("written", "changed"),
    [(b"K\x01K\x01K\x01t", b"K\x01K\x02K\x01t"), (b"C\x01D", b"C\x01X")],
    ids=["divisor", "name"],
)
def test_a_date_unit_that_numpy_does_not_have_is_refused(save_bytes, written, changed) -> None:
    data = pickle.dumps(np.array(["2026-11-24"], dtype="M8[D]"), protocol=3)
    assert written in data
    with pytest.raises(DataError, match="a date has the unit"):
        load_pickle(save_bytes(data.replace(written, changed)))


def test_an_object_number_that_takes_all_memory_is_refused(save_bytes) -> None:
    with pytest.raises(UnsafeFileError, match=r"stores object number 2,000,000,000 in a file of 9 bytes"):
        load_pickle(save_bytes(b"\x80\x02Nr" + struct.pack("<I", 2_000_000_000)[:4] + b"."))


@pytest.mark.parametrize("digits", [b"2000000000", b"9" * 10_000])
def test_a_written_object_number_that_takes_all_memory_is_refused(save_bytes, digits) -> None:
    with pytest.raises(DataError, match=r"which would take all memory|for integer string conversion"):
        load_pickle(save_bytes(b"Np" + digits + b"\n."))


@pytest.mark.parametrize("target", [b"c__builtin__\nset\n", b"cnumpy\ndtype\n", b"cnumpy\nndarray\n"])
def test_a_pickle_cannot_change_what_later_pickles_get(save_bytes, save_pickle, target) -> None:
    with pytest.raises(DataError, match="it changes attributes of"):
        load_pickle(save_bytes(b"\x80\x02" + target + b"N}U\x05buildNs\x86b."))
    assert load_pickle(save_pickle([{1}, np.dtype("f8")], protocol=2)) == [{1}, np.dtype("f8")]


def test_containers_nested_beyond_the_stack_are_refused(save_bytes) -> None:
    with pytest.raises(UnsafeFileError, match="nests its containers more than"):
        load_pickle(save_bytes(b"]" * 100_000 + b"a" * 99_999 + b"."))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_truncation_is_a_data_error(save_bytes, protocol) -> None:
    whole = pickle.dumps({"array": np.arange(4), "text": "é", "number": 2**70}, protocol=protocol)
    for length in range(len(whole)):
        with pytest.raises(DataError, match="not a complete pickle of arrays and plain containers"):
            load_pickle(save_bytes(whole[:length]))


@pytest.mark.parametrize("data", [b"", b"\x00", b"no pickle", b"PK\x03\x04", b"\x80\x63N.", b"N", b"0.", b"\x93."])
def test_garbage_is_a_data_error(save_bytes, data) -> None:
    with pytest.raises(DataError, match=r"not a complete pickle .* Fetch the file again"):
        load_pickle(save_bytes(data))


def test_bytes_behind_the_pickle_are_not_ignored(save_bytes) -> None:
    with pytest.raises(DataError, match="2 bytes follow its end"):
        load_pickle(save_bytes(b"N.N."))


def test_a_file_above_the_limit_is_refused(save_pickle) -> None:
    path = save_pickle(np.zeros(100))
    size = path.stat().st_size
    assert np.array_equal(np.asarray(load_pickle(path, max_bytes=size)), np.zeros(100))
    with pytest.raises(UnsafeFileError, match=f"holds {size} bytes, and at most {size - 1} are read. If you trust"):
        load_pickle(path, max_bytes=size - 1)


def test_a_missing_file_is_a_data_error(tmp_path) -> None:
    with pytest.raises(DataError, match=r"none cannot be read \(No such file"):
        load_pickle(tmp_path / "none")
