"""Tables of all the forms, encodings and separators that users have; `tests/unit/sarcasm/test_tables.py` has more."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pytest

from modicum.core.tables import form_of, read_cells, read_filled, read_records, read_text, write_rows
from modicum.errors import DataError, UnsafeFileError


def write(folder: Path, data: bytes | str, name: str = "rows.csv") -> Path:
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return folder / name


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("packed", [False, True])
def test_encodings_that_can_be_told_are_read(encoding: str, packed: bool, tmp_path: Path) -> None:
    data = "naïve;يا\n1;2\n".encode(encoding)
    path = write(tmp_path, gzip.compress(data) if packed else data, "rows.csv.gz" if packed else "rows.csv")
    assert read_cells(path) == [(1, ["naïve", "يا"]), (2, ["1", "2"])]


@pytest.mark.parametrize("encoding", ["cp1256", "latin-1", "cp1252"])
def test_an_encoding_that_cannot_be_told_is_named(encoding: str, tmp_path: Path) -> None:
    text = "يا سلام" if encoding == "cp1256" else "naïve"
    with pytest.raises(DataError, match=r"rows.csv, line 2 is not UTF-8 \(byte 0x.*latin-1.*cp1256"):
        read_text(write(tmp_path, f"text\n{text}\n".encode(encoding)))
    with pytest.raises(DataError, match="line 1 is not UTF-16"):
        read_text(write(tmp_path, b"\xff\xfe\x00"))


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("a,b\n1,2\n", ["a", "b"]),
        ("a;b\n1;2\n", ["a", "b"]),
        ("a\tb\n1\t2\n", ["a", "b"]),
        ('"name, full";smiles\nbutane;CCCC\n', ["name, full", "smiles"]),
        ("name, full;smiles\nbutane;CCCC\n", ["name, full", "smiles"]),
        ("name, full;smiles\nbutane, n-;CCCC\n", ["name", "full;smiles"]),  # both fit: a comma it is
        ("text; the first,label\nso,1\nno; never,0\n", ["text; the first", "label"]),
        ("text\nso, it is\n", ["text"]),
        ("", None),
    ],
)
def test_the_separator_is_that_which_parts_header_and_rows_alike(
    text: str, header: list[str] | None, tmp_path: Path
) -> None:
    rows = read_cells(write(tmp_path, text))
    assert (rows[0][1] if rows else None) == header or [it.strip() for it in rows[0][1]] == header


def test_separator_and_quotes_can_be_given(tmp_path: Path) -> None:
    path = write(tmp_path, "'a;b';\"c\n\n1;2\r\n")
    assert read_cells(path, separator=";", quote="'") == [(1, ["a;b", '"c']), (3, ["1", "2"])]
    assert read_cells(path, separator=";", quote=None)[0] == (1, ["'a", "b'", '"c'])


def test_cells_may_be_long_and_the_limit_of_csv_is_put_back(tmp_path: Path) -> None:
    before, long = csv.field_size_limit(), "x" * 200_000
    assert read_cells(write(tmp_path, f"{long},b\n1,2\n"))[0] == (1, [long, "b"])
    with pytest.raises(DataError, match=r"rows.csv, line 3 cannot be read .* Close every quotation mark"):
        read_cells(write(tmp_path, 'a,b\n"1\n",2\n"3"x,4\n'.replace('"1\n"', "1")))
    assert csv.field_size_limit() == before


def test_a_packed_file_must_be_whole_and_of_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = gzip.compress(b"a,b\n" * 1000)
    with pytest.raises(DataError, match=r"cannot be read .* Pack it again"):
        read_text(write(tmp_path, data[:-10], "rows.csv.gz"))
    monkeypatch.setattr("modicum.core.tables.MAX_BYTES", 1000)
    with pytest.raises(UnsafeFileError, match="at most 1,000 are read"):
        read_text(write(tmp_path, data, "rows.csv.gz"))


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv", "rows.jsonl"])
def test_what_is_written_is_read_again(name: str, tmp_path: Path) -> None:
    rows = [{"id": "1", "text": 'so, "it"\nis;\t', "rate": 0.1}, {"id": "2", "text": "a\rb", "rate": None}]
    write_rows(tmp_path / name, ["id", "text", "rate"], rows)
    columns, found = read_records(tmp_path / name)
    assert columns == ("id", "text", "rate")
    wanted = (
        rows
        if form_of(tmp_path / name) == "jsonl"
        else [{**it, "rate": at} for it, at in zip(rows, ("0.1", ""), strict=True)]
    )
    assert [dict(it.cells) for it in found] == wanted


def test_a_stream_takes_rows_too(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    write_rows(stream, ["a", "b"], [{"a": "1"}])
    write_rows("-", ["a"], [{"a": "ä"}], form="jsonl")
    assert (stream.getvalue(), capsys.readouterr().out) == ("a,b\n1,\n", '{"a": "ä"}\n')


def test_a_label_may_be_zero_and_a_text_must_be_one(tmp_path: Path) -> None:
    kept = read_filled(write(tmp_path, '{"text": "a", "label": 0}', "rows.jsonl"), "text", "label", hint="")
    assert [dict(it.cells) for it in kept] == [{"text": "a", "label": 0}]
    for cells, message in (
        ('"text": ["a", "b"], "label": 1', r"rows.jsonl, line 2: text is \['a', 'b'\]. Write a text in quotes"),
        ('"text": 3, "label": 1', "line 2: text is 3"),
        ('"text": " ", "label": 1', "line 2: text is empty"),
        ('"text": "a", "label": null', "line 2: label is empty"),
        ('"text": "a"', "line 2: label is empty"),
    ):
        with pytest.raises(DataError, match=message):
            read_filled(
                write(tmp_path, f'\n{{{cells}}}\n{{"text": "a", "label": 0}}', "rows.jsonl"), "text", "label", hint=""
            )
