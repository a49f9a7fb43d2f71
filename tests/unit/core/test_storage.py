"""Documents and tensors come back as they were, or with a sentence on what is wrong."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from modicum.core.storage import Format, Tensors, parsed, read_tensors, write_tensors
from modicum.errors import DataError, UnsafeFileError

FORMAT = Format(name="modicum.toy", version=3, what="toy", hint="Make it with toy().")


@dataclass(frozen=True, slots=True)
class Part:
    size: int
    kind: Literal["small", "large"]


@dataclass(frozen=True, slots=True)
class Toy:
    parts: tuple[Part, ...]
    rate: float | None


def test_a_document_comes_back_with_its_types(tmp_path: Path) -> None:
    FORMAT.write(tmp_path / "toy.json", {"parts": [{"size": 1, "kind": "small"}], "rate": 1})
    assert FORMAT.read(tmp_path / "toy.json", Toy) == Toy(parts=(Part(1, "small"),), rate=1.0)
    head = json.loads((tmp_path / "toy.json").read_text())
    assert (head["format"], head["version"]) == ("modicum.toy", 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "else"}, r"toy.json is no toy of modicum. Make it with toy\(\)"),
        ({"version": 4}, r"toy.json has version 4 of the format, but this modicum reads version 3. Read it with the"),
        ({"rate": "fast"}, r"toy.json is damaged \(rate: Input should be a valid number"),
        ({"rate": True}, r"toy.json is damaged \(rate: "),
        ({"parts": [{"size": 1.5, "kind": "small"}]}, r"toy.json is damaged \(parts.0.size: "),
        ({"parts": [{"size": 1, "kind": "odd"}]}, r"parts.0.kind: Input should be 'small' or 'large'"),
        ({"parts": [{"size": 1}]}, r"parts.0.kind: Field required"),
        ({"more": 1}, r"more: Unexpected keyword argument"),
    ],
)
def test_a_damaged_document_says_where(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    FORMAT.write(tmp_path / "toy.json", {"parts": [], "rate": None} | changes)
    with pytest.raises(DataError, match=message):
        FORMAT.read(tmp_path / "toy.json", Toy)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "[]", "3"])
def test_what_is_no_document_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "toy.json").write_text(text)
    with pytest.raises(DataError, match=r"toy.json (cannot be read|is no toy)"):
        FORMAT.read(tmp_path / "toy.json", Toy)


def test_a_container_is_parsed_too() -> None:
    assert parsed({"a": [1, 2]}, dict[str, tuple[int, ...]], source="it", hint="") == {"a": (1, 2)}
    with pytest.raises(DataError, match=r"it is damaged \(a.1: "):
        parsed({"a": [1, "2"]}, dict[str, tuple[int, ...]], source="it", hint="")


def test_tensors_come_back_and_the_same_ones_are_the_same_bytes(tmp_path: Path) -> None:
    arrays = {"b": np.arange(6, dtype=np.int8).reshape(2, 3).T, "a": np.array([0.1])}
    for name in ("one", "two"):
        write_tensors(tmp_path / name, arrays, metadata={"what": "toy"})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    found, metadata = read_tensors(tmp_path / "one", hint="")
    assert metadata == {"what": "toy"}
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
    assert list(read_tensors(tmp_path / "one", hint="", names=["a", "x"])[0]) == ["a"]


def test_a_file_that_is_cut_missing_or_too_large_is_refused(tmp_path: Path) -> None:
    write_tensors(tmp_path / "a", {"a": np.zeros(9)})
    with pytest.raises(UnsafeFileError, match="at most 50 are read"):
        read_tensors(tmp_path / "a", hint="", max_bytes=50)
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes()[:-1])
    with pytest.raises(DataError, match=r"a is no complete safetensors file .*Copy it"):
        read_tensors(tmp_path / "a", hint="Copy it.")
    with pytest.raises(DataError, match="does not exist"):
        read_tensors(tmp_path / "b", hint="")


def test_each_tensor_is_asked_for_by_type_and_shape() -> None:
    tensors = Tensors("a.file", {"a": np.zeros((2, 3)), "b": np.zeros(4, np.int8)}, hint="Copy it.")
    assert tensors.take("a", np.float32, np.float64, shape=(None, 3)).shape == (2, 3)
    assert "b" in tensors
    with pytest.raises(DataError, match=r"a.file holds b, which no part has. Copy it"):
        tensors.check_empty()
    for asked, message in (
        ({"shape": (3,)}, r"a.file: b must be int8 of shape \[3\], got int8 of shape \[4\]"),
        ({"shape": (None, 4)}, r"b must be int8 of shape \['any', 4\]"),
    ):
        with pytest.raises(DataError, match=message):
            tensors.take("b", np.int8, **asked)
    with pytest.raises(DataError, match="b must be uint8, got int8"):
        tensors.take("b", np.uint8)
    with pytest.raises(DataError, match="the tensor c is missing"):
        tensors.take("c", np.uint8)
    tensors.check_empty()
