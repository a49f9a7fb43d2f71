from __future__ import annotations

import contextlib
import io
import pickle
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from modicum.core.safeload import load_pickle, read_members
from modicum.errors import DataError

ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text()
    | st.binary()
    | st.binary().map(bytearray)
)
KEYS = st.integers() | st.text() | st.binary() | st.tuples(st.integers(), st.text()) | st.frozensets(st.integers())
VALUES = st.recursive(
    ATOMS | st.sets(KEYS),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner) | st.tuples(inner, inner),
    max_leaves=20,
)
PROTOCOLS = st.integers(0, pickle.HIGHEST_PROTOCOL)


def _load(data: bytes) -> object:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "value.pickle"
        path.write_bytes(data)
        return load_pickle(path)


@given(value=VALUES, protocol=PROTOCOLS)
def test_plain_values_survive(value, protocol) -> None:
    assert _load(pickle.dumps(value, protocol=protocol)) == value


@given(
    array=hnp.arrays(
        dtype=hnp.scalar_dtypes() | hnp.array_dtypes() | hnp.nested_dtypes(),
        shape=hnp.array_shapes(min_dims=0, min_side=0, max_side=4),
    ),
    fortran=st.booleans(),
    protocol=PROTOCOLS,
)
def test_arrays_survive_bit_for_bit(array, fortran, protocol) -> None:
    array = np.asfortranarray(array) if fortran and array.ndim else array
    found = _load(pickle.dumps([array], protocol=protocol))[0]  # type: ignore[index]
    # The ordinary unpickler would turn other byte orders into the machine's own; here the dtype stays as it was saved.
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.tobytes() == array.tobytes()


@given(data=st.binary(max_size=64))
def test_any_bytes_give_a_value_or_a_data_error(data) -> None:
    with contextlib.suppress(DataError):
        _load(data)


@given(value=VALUES, protocol=PROTOCOLS, row=st.integers(0), byte=st.integers(0, 255))
def test_a_changed_byte_gives_a_value_or_a_data_error(value, protocol, row, byte) -> None:
    data = bytearray(pickle.dumps([np.arange(3), value], protocol=protocol))
    data[row % len(data)] = byte
    with contextlib.suppress(DataError):
        _load(bytes(data))


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\\/:\0\r\n", exclude_categories=("Cs",)), min_size=1)


@given(files=st.dictionaries(NAMES.filter(lambda name: name.strip(".") != ""), st.binary(max_size=2000), max_size=5))
@pytest.mark.parametrize("compression", ["", "gz", "xz"])
def test_tar_members_survive(compression, files) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{compression}") as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "archive"
        path.write_bytes(buffer.getvalue())
        assert dict(read_members(path, max_members=5, max_bytes=10_000)) == files
