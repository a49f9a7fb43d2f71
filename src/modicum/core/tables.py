"""Tables as CSV, TSV or JSON lines, by path or standard stream: rows know their line; all is written or nothing."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import math
import re
import sys
import zlib
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TextIO, TypeAlias, cast

from modicum.core.files import replacing
from modicum.core.safeload import parse_json
from modicum.core.safeload.limits import MAX_BYTES, check_size, read_bounded
from modicum.errors import DataError

Cells: TypeAlias = Mapping[str, Any]
Form: TypeAlias = Literal["csv", "tsv", "jsonl"]

_STANDARD = "-"
FORMS: Mapping[str, Form] = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_DELIMITERS: Mapping[Form, str] = {"csv": ",", "tsv": "\t"}
SEPARATORS = ",;\t"
_SURROGATE = re.compile("[\ud800-\udfff]")
_ASKED = 20  # rows that say which separator it is


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One row of a file, its cells as written."""

    line: int  # of the file where it begins, from 1
    cells: Cells  # by column, in the order of the file; strings, or what JSON holds


def source_name(source: Path | str) -> str:
    """Say what a source is called in a sentence."""
    return "Standard input" if str(source) == _STANDARD else str(source)


def read_text(source: Path | str) -> str:
    """Read a text in UTF-8, or in UTF-16 where a mark says so; a file whose name ends in .gz is unpacked."""
    name, path = source_name(source), Path(source)
    data = sys.stdin.buffer.read() if str(source) == _STANDARD else read_bounded(path, max_bytes=MAX_BYTES)
    if path.suffix == ".gz":
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
                data = file.read(MAX_BYTES + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{name} cannot be read ({error}).", hint="Pack it again.") from error
        check_size(path, len(data), max_bytes=MAX_BYTES)
    kind = "UTF-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "UTF-8"
    try:
        text = data.decode(kind if kind == "UTF-16" else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = bytes(error.object).count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{name}, line {line} is not {kind} (byte {error.object[error.start]:#04x}).",
            hint="Save it as UTF-8; the older encodings of Windows are cp1252 (much like latin-1) and, for Arabic, "
            "cp1256.",
        ) from error
    if (position := text.find("\0")) >= 0:
        line = text.count("\n", 0, position) + 1
        raise DataError(f"{name}, line {line} holds a NUL byte.", hint="Save it as plain UTF-8 text.")
    return text


def as_texts(given: Any, name: str) -> list[str]:
    """Give texts of a caller as a list; what is none, such as what pandas leaves for a missing one, is named."""
    if isinstance(given, str):
        raise DataError("A list of texts was expected, but one text came.", hint="Put it into a list.")
    kind = type(given).__name__
    # Of a table or a mapping the names of columns would be read.
    if isinstance(given, Mapping) or hasattr(given, "columns") or not hasattr(given, "__iter__"):
        raise DataError(
            f"A list of texts was expected, but a {kind} came.",
            hint="Give a list of texts, or the column of a table, such as table['text'].",
        )
    texts = list(given)
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            what = "missing" if is_missing(text) else f"of type {type(text).__name__}"
            raise DataError(f"{name}[{place}] is {what}, expected a text.", hint="Leave such rows out.")
        if _SURROGATE.search(text):
            raise DataError(
                f"{name}[{place}] holds half a character (a lone surrogate, \\ud800 to \\udfff).",
                hint="Write both halves, or leave it out.",
            )
    return texts


def is_missing(value: object) -> bool:
    """Tell what pandas leaves where there is no value."""
    # None, NaN, and the NA of pandas, which is not imported for it and has no truth value.
    return value is None or (isinstance(value, float) and math.isnan(value)) or type(value).__name__ == "NAType"


def read_cells(
    source: Path | str, *, separator: str | None = None, quote: str | None = '"'
) -> list[tuple[int, list[str]]]:
    """Read the rows of a CSV file that are not blank, each with the line where it begins; the separator is found."""
    return split_cells(read_text(source), source_name(source), separator=separator, quote=quote)


def split_cells(
    text: str, name: str, *, separator: str | None = None, quote: str | None = '"'
) -> list[tuple[int, list[str]]]:
    """Split a text of CSV as `read_cells` does."""
    separator = separator or _separator_of(text, ",")
    first = next((line for line in text.splitlines() if line.strip()), "")
    # What is written "a", "b" has its quotation marks after a space.
    spaced = {"skipinitialspace": f"{separator} " in first, "quotechar": quote}
    options: Any = {"delimiter": separator, "strict": True, **(spaced if quote else {"quoting": csv.QUOTE_NONE})}
    rows: list[tuple[int, list[str]]] = []
    following = 1
    try:
        with _long_cells():
            reader = csv.reader(io.StringIO(text, newline=""), **options)
            for cells in reader:
                line, following = following, reader.line_num + 1
                if cells:
                    rows.append((line, cells))
    except csv.Error as error:
        raise DataError(
            f"{name}, line {following} cannot be read ({error}).",
            hint='Close every quotation mark, and write one inside a text as "".',
        ) from error
    return rows


def read_records(source: Path | str) -> tuple[tuple[str, ...], list[Record]]:
    """Read a file row by row, without asking what its columns mean."""
    form = None if str(source) == _STANDARD else form_of(Path(source))
    return parse_records(read_text(source), source_name(source), form=form)


def read_filled(source: Path | str, text: str, *columns: str, hint: str) -> list[Record]:
    """Read the rows of a file that must have a text in one column and something in each of the others."""
    found, records = read_records(source)
    name = source_name(source)
    for column in (text, *columns):
        if column not in found:
            raise DataError(f"{name} has no column {column!r}, but {', '.join(found)}.", hint=hint)
        for record in records:
            cell = record.cells.get(column)
            if is_missing(cell) or not str(cell).strip():
                raise DataError(f"{name}, line {record.line}: {column} is empty.", hint="Fill it, or leave it out.")
            if column == text and not isinstance(cell, str):
                raise DataError(f"{name}, line {record.line}: {column} is {cell!r}.", hint="Write a text in quotes.")
    return records


def parse_records(text: str, name: str, *, form: Form | None = None) -> tuple[tuple[str, ...], list[Record]]:
    """Split a text as `read_records` does a file; CSV and JSON lines are distinguished where no form is given."""
    # Newlines inside quoted cells are kept, as they are written; blank lines between rows of a CSV are no rows. White
    # space around a column's name is not part of it, and columns without name and content are left out.
    if not text.strip():
        raise DataError(f"{name} is empty.", hint="Give it at least one row.")
    if form == "jsonl" or (form is None and is_json(text)):
        columns, records = _objects(text, name)
    else:
        columns, records = _delimited(text, name, _DELIMITERS[form or "csv"])
    if not records:
        raise DataError(f"{name} has a header and no rows.", hint="Give it at least one row.")
    return columns, records


def is_json(text: str) -> bool:
    """Tell JSON lines from CSV by how they begin."""
    return text.lstrip().startswith(("{", "[{"))


def parse_header(text: str) -> list[str]:
    """Give the names of the columns of a CSV; of another text its first words."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    rows = list(csv.reader([first], delimiter=_separator_of(text, ","), skipinitialspace=True))
    return [name.strip() for name in rows[0]] if rows else []


def form_of(path: Path) -> Form:
    """Tell the form of a table by its name."""
    if path.suffix.lower() not in FORMS:
        raise DataError(
            f"{path} has the ending {path.suffix!r}.", hint=f"Use a file that ends in one of {', '.join(FORMS)}."
        )
    return FORMS[path.suffix.lower()]


def write_rows(
    target: Path | str | TextIO, columns: Sequence[str], rows: Iterable[Cells], *, form: Form | None = None
) -> None:
    """Write all rows to a file, or none, or to a stream: texts as they are, None empty, all else as JSON."""
    if not isinstance(target, Path | str):
        target_file, form = nullcontext(target), form or "csv"
    elif str(target) == _STANDARD:
        target_file, form = nullcontext(sys.stdout), form or "csv"
    else:
        target_file, form = replacing(Path(target)), form or form_of(Path(target))
    with target_file as file:
        _write(file, columns, rows, form)


def _write(file: TextIO, columns: Sequence[str], rows: Iterable[Cells], form: Form) -> None:
    if form == "jsonl":
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        return
    written = [{name: _as_cell(value) for name, value in row.items()} for row in rows]
    # Before Python 3.13 the writer leaves a lone carriage return bare, which its reader takes for the end of the row.
    bare = any("\r" in value for row in written for value in row.values())
    quoting = csv.QUOTE_ALL if bare else csv.QUOTE_MINIMAL
    writer = csv.DictWriter(file, columns, delimiter=_DELIMITERS[form], lineterminator="\n", quoting=quoting)
    writer.writeheader()
    writer.writerows(written)


def _as_cell(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


@contextmanager
def _long_cells() -> Generator[None]:
    limit = csv.field_size_limit(MAX_BYTES)  # of Python's: 128 KiB, less than a long text
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _separator_of(text: str, expected: str) -> str:
    """Find what parts the header into cells, and best so that the rows after it have as many."""

    def misfits(separator: str) -> int | None:
        try:
            with _long_cells():
                rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
                widths = [len(cells) for cells in islice((cells for cells in rows if cells), _ASKED)]
        except csv.Error:
            return None
        return sum(width != widths[0] for width in widths) if widths and widths[0] > 1 else None

    found = {each: count for each in (expected, *SEPARATORS) if (count := misfits(each)) is not None}
    return min(found, key=lambda each: found[each], default=expected)  # of equals the first


def _delimited(text: str, name: str, expected: str) -> tuple[tuple[str, ...], list[Record]]:
    separator = _separator_of(text, expected)
    rows = split_cells(text, name, separator=separator)
    for line, cells in rows:
        if len(cells) != len(rows[0][1]):
            raise DataError(
                f"{name}, line {line} has {len(cells)} cells, expected {len(rows[0][1])}.",
                hint=f"Correct that row: a text with {separator!r} or a newline in it stands in quotation marks.",
            )
    columns = [name.strip() for name in rows[0][1]]
    kept = [at for at, name in enumerate(columns) if name or any(cells[at].strip() for _, cells in rows[1:])]
    names = tuple(columns[at] for at in kept)
    if twice := [column for column in names if names.count(column) > 1]:
        raise DataError(f"{name} has the column {twice[0]!r} twice.", hint="Rename one of them.")
    return names, [Record(line=line, cells={columns[at]: cells[at] for at in kept}) for line, cells in rows[1:]]


def _objects(text: str, name: str) -> tuple[tuple[str, ...], list[Record]]:
    records: list[Record] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        read = parse_json(line, source=f"{name}, line {number}", hint="Write one object a line.")
        if not isinstance(read, dict):
            raise DataError(f"{name}, line {number} is no JSON object.", hint='Write {"text": "..."} a line.')
        if "\\ud" in line.lower() and _SURROGATE.search(json.dumps(read, ensure_ascii=False)):
            raise DataError(
                f"{name}, line {number} holds half a character (a lone surrogate, \\ud800 to \\udfff).",
                hint="Write both halves, or leave it out.",
            )
        records.append(Record(line=number, cells=cast("Cells", read)))
    return tuple(dict.fromkeys(column for record in records for column in record.cells)), records
