from __future__ import annotations

from pathlib import Path

import pytest

from modicum.core.safeload import parse_json, read_json
from modicum.errors import DataError


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "as JSON"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"a":' * 100_000, "nested too deep"),
        (b"1" * 5_000, "as JSON"),
        (b"\xff\xfe{}", "cannot be read"),
    ],
)
def test_what_is_no_json_is_a_data_error_that_names_the_file(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "document.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as raised:
        read_json(path, hint="Give another.")
    assert str(path) in raised.value.what


def test_a_missing_file_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_json(tmp_path / "none.json", hint="Give another.")


def test_json_is_read_with_and_without_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "document.json"
    for encoding in ("utf-8", "utf-8-sig"):
        path.write_text('{"ä": [1, null]}', encoding=encoding)
        assert read_json(path, hint="") == {"ä": [1, None]}
    assert parse_json("[1]", source="text", hint="") == [1]
