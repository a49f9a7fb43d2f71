"""The user's own files as texts or pairs that know their row."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, cast

from modicum.core.files import check_target
from modicum.core.tables import (
    SEPARATORS,
    Cells,
    Form,
    Record,
    form_of,
    is_json,
    parse_header,
    parse_records,
    read_records,
    read_text,
    source_name,
    write_rows,
)
from modicum.errors import ConfigError, DataError
from modicum.sarcasm.data.examples import CATEGORIES, LANGUAGES, Example, Language, Pair
from modicum.sarcasm.data.preparation import language_of

Roles: TypeAlias = Mapping[str, str]  # what a column tells, and its name
Asked: TypeAlias = Language | Literal["auto"] | None

_LABELS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1, "": None}


@dataclass(frozen=True, kw_only=True, slots=True)
class Row(Record):
    """A row that was understood."""

    content: Example | Pair  # its text, or its two texts


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A file that was understood."""

    columns: tuple[str, ...]  # in the order of the file
    rows: tuple[Row, ...]  # likewise
    empty: tuple[int, ...] = ()  # the lines of rows without a text, which were left out
    text_column: str | None = None  # of the texts; None where the file holds pairs

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    @property
    def examples(self) -> list[Example]:
        """The texts; none where the file holds pairs."""
        return [row.content for row in self.rows if isinstance(row.content, Example)]

    @property
    def pairs(self) -> list[Pair]:
        """The pairs; none where the file holds texts."""
        return [row.content for row in self.rows if isinstance(row.content, Pair)]


def read_rows(
    source: Path | str,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    language: Asked = None,
    language_column: str | None = None,
    dialect_column: str | None = None,
    rephrase_column: str | None = None,
    skip_empty: bool | None = None,
    need_label: bool = True,
) -> Table:
    """Read texts, or pairs of texts, with whatever else the file says of them."""
    # A column that is not named is known by the names of the shared task, if it is there: ``text`` or ``tweet``,
    # ``sarcastic``, ``rephrase``, ``dialect``, the six of `CATEGORIES` together, and ``language``; a file with
    # ``text_0`` and ``text_1`` holds pairs, with the label ``sarcastic_id``. An empty label is an unknown one.
    if language not in {None, "auto", *LANGUAGES}:
        raise ConfigError(f"The language is {language!r}.", hint=f"Use one of: auto, {', '.join(LANGUAGES)}.")
    name = source_name(source)
    asked = {
        "text": text_column,
        "label": label_column,
        "language": language_column,
        "dialect": dialect_column,
        "rephrase": rephrase_column,
    }
    names, records = read_records(source) if any(asked.values()) else _read(source)
    if not need_label and label_column not in names:
        asked["label"] = None
    roles = _recognised(name, names, asked)
    rows: list[Row] = []
    empty: list[int] = []
    for record in records:
        where = f"{name}, line {record.line}"
        if all(text.strip() for text in _texts(record.cells, roles, where)):
            content = _content(record.cells, roles, language, where)
            rows.append(Row(line=record.line, cells=record.cells, content=content))
        elif skip_empty:
            empty.append(record.line)
        else:
            raise DataError(
                f"{where} has an empty text.",
                hint="Write its text, or remove the row, in a file of its predictions too."
                if skip_empty is None
                else "Remove it, or leave such rows out by --skip-empty.",
            )
    return Table(columns=names, rows=tuple(rows), empty=tuple(empty), text_column=roles.get("text"))


def read_predictions(
    source: Path | str, items: Sequence[Example] | Sequence[Pair], *, column: str, text_column: str | None = None
) -> list[int]:
    """Read 0 or 1 for each item from a column of a table."""
    found: list[int] = []
    for where, cells in _predicted(source, items, column, text_column):
        label = _label(cells, column, where)
        if label is None:
            raise DataError(f"{where} has no prediction in {column!r}.", hint="Write 1 for sarcastic and 0 for not.")
        found.append(label)
    return found


def read_named_categories(
    source: Path | str, items: Sequence[Example] | Sequence[Pair], *, column: str, text_column: str | None = None
) -> list[list[int]]:
    """Read the categories of each text from a column of their names, with spaces or commas between them."""
    found: list[list[int]] = []
    for where, cells in _predicted(source, items, column, text_column):
        named = _words(cells, column, where).replace(",", " ").split()
        if unknown := [it for it in named if it not in CATEGORIES]:
            raise DataError(
                f"{where} has the category {unknown[0]!r} in {column!r}.", hint=f"Use: {', '.join(CATEGORIES)}."
            )
        found.append([int(name in named) for name in CATEGORIES])
    return found


def _predicted(
    source: Path | str, items: Sequence[Example] | Sequence[Pair], column: str, text_column: str | None
) -> Iterator[tuple[str, Cells]]:
    # Each row with its place, if the rows are those of the items as far as can be seen.
    name = source_name(source)
    names, records = read_records(source)
    require_columns(name, names, [column])
    if len(records) != len(items):
        raise DataError(
            f"{name} has {len(records):,} predictions, the labelled file {len(items):,} rows.",
            hint="Give one prediction for each row, in the same order.",
        )
    if isinstance(items[0], Pair):
        compared = [(at, it) for at, it in enumerate(("text_0", "text_1")) if it in names]
    else:  # the file may call the texts otherwise than the labelled one does
        compared = [(0, it) for it in (text_column, "text", "tweet") if it in names][:1]
    for record, item in zip(records, items, strict=True):
        where = f"{name}, line {record.line}"
        wanted = item.texts if isinstance(item, Pair) else (item.text,)
        for at, it in compared:
            if _words(record.cells, it, where).split() != wanted[at].split():
                raise DataError(
                    f"{where} has another text in {it!r} than that row of the labelled file.",
                    hint="Give the predictions in the order of the labelled file; rename a column of something else.",
                )
        yield where, record.cells


def one_text(text: str, *, language: Asked = None) -> Table:
    """Give the table of a text that was typed."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError("The text is not UTF-8.", hint="Set the terminal to UTF-8, or write a file.") from error
    if not text.strip():
        raise DataError("The text is empty.", hint="Write a text in quotes, or the name of a file.")
    cells = {"text": text}
    row = Row(line=1, cells=cells, content=_content(cells, {"text": "text"}, language, "The text"))
    return Table(columns=("text",), rows=(row,))


def require_columns(source: Path | str, columns: Sequence[str], needed: Iterable[str]) -> None:
    """Refuse a file that lacks a column, with those that it has."""
    missing = [column for column in needed if column not in columns]
    if missing:
        raise DataError(
            f"{source} has no column {missing[0]!r}; its columns are {', '.join(map(repr, columns))}.",
            hint="Rename the column, or name yours: --text-col, --label-col and so on.",
        )


def check_output(target: Path, inputs: Iterable[Path | str]) -> None:
    """See whether predictions can be written, before they are made: to another file than they are made of."""
    form_of(target)
    check_target(target, option="--out", inputs=inputs)


def write_predictions(
    target: Path | str, rows: Sequence[Record], predictions: Sequence[Cells], *, form: Form | None = None
) -> None:
    """Write predictions beside what the input said, whole or not at all."""
    if len(rows) != len(predictions):
        raise DataError(
            f"There are {len(predictions)} predictions of {len(rows)} rows.", hint="Give one for each row, in order."
        )
    columns = dict.fromkeys(name for row in rows for name in row.cells)
    added = dict.fromkeys(name for prediction in predictions for name in prediction)
    if taken := columns.keys() & added.keys():
        raise ConfigError(
            f"The input has a column {min(taken)!r} already.", hint="Rename it, or leave it out of the input."
        )
    cells = [{**row.cells, **prediction} for row, prediction in zip(rows, predictions, strict=True)]
    write_rows(target, [*columns, *added], cells, form=form)


def _read(source: Path | str) -> tuple[tuple[str, ...], list[Record]]:
    """Read a file; standard input that is no table of texts is a text a line."""
    if source_name(source) == str(source):
        return read_records(source)
    text = read_text(source)
    table = not {"text", "tweet", "text_0"}.isdisjoint(parse_header(text))
    # Of nothing that is there, too, the error is that of a table.
    return parse_records(text, source_name(source)) if table or not text.strip() or is_json(text) else _lines(text)


def _lines(text: str) -> tuple[tuple[str, ...], list[Record]]:
    lines = text.removesuffix("\n").split("\n")
    counts = [{it.count(separator) for it in lines} for separator in SEPARATORS]
    if len(lines) > 1 and any(len(it) == 1 and it != {0} for it in counts):
        warnings.warn(
            "Standard input was read as one text a line, its first line too; if it is a table, name its column by "
            "--text-col.",
            stacklevel=2,
        )
    return ("text",), [Record(line=n, cells={"text": it.rstrip("\r")}) for n, it in enumerate(lines, start=1)]


def _recognised(name: str, columns: Sequence[str], asked: Mapping[str, str | None]) -> Roles:
    require_columns(name, columns, filter(None, asked.values()))
    if asked["text"] is None and {"text_0", "text_1"} <= set(columns):
        known = {"text_0": "text_0", "text_1": "text_1", "label": "sarcastic_id"}
    else:
        text = asked["text"] or ("tweet" if "tweet" in columns and "text" not in columns else "text")
        require_columns(name, columns, [text])
        known = {"text": text, "label": "sarcastic"}
    known |= {role: role for role in ("language", "dialect", "rephrase")}
    roles = {role: asked.get(role) or column for role, column in known.items()}
    return {role: column for role, column in roles.items() if column in columns}


def _content(cells: Cells, roles: Roles, language: Asked, where: str) -> Example | Pair:
    texts = _texts(cells, roles, where)
    spoken = _language(cells, roles, language, texts, where)
    label = _label(cells, roles["label"], where) if "label" in roles else None
    dialect = _words(cells, roles.get("dialect"), where).strip() or None
    if len(texts) == 2:
        return Pair(texts=(texts[0], texts[1]), language=spoken, sarcastic=label, dialect=dialect)
    rephrase = _words(cells, roles.get("rephrase"), where)
    return Example(
        text=texts[0],
        language=spoken,
        sarcastic=label,
        rephrase=rephrase if rephrase.strip() else None,
        dialect=dialect,
        categories=_categories(cells, label, where) if cells.keys() >= set(CATEGORIES) else None,
    )


def _texts(cells: Cells, roles: Roles, where: str) -> list[str]:
    return [_words(cells, roles[role], where) for role in ("text", "text_0", "text_1") if role in roles]


def _categories(cells: Cells, label: int | None, where: str) -> tuple[int, ...] | None:
    found = [_label(cells, name, where) for name in CATEGORIES]
    if label == 0 and 1 in found:
        raise DataError(f"{where} is not sarcastic, but has a category.", hint="Correct the label or the category.")
    if label == 0:
        return (0,) * len(CATEGORIES)  # the shared task leaves them empty where a text is not sarcastic
    return None if None in found else cast("tuple[int, ...]", tuple(found))


def _language(cells: Cells, roles: Roles, asked: Asked, texts: Sequence[str], where: str) -> Language:
    told = asked or _words(cells, roles.get("language"), where) or "auto"
    if told == "auto":
        return language_of(" ".join(texts))
    if told not in LANGUAGES:
        raise DataError(f"{where} has the language {told!r}.", hint=f"Use one of: {', '.join(LANGUAGES)}.")
    return cast("Language", told)


def _label(cells: Cells, column: str, where: str) -> int | None:
    value = cells.get(column)
    text = "" if value is None else str(value).strip().lower()
    if text not in _LABELS:
        raise DataError(f"{where} has the label {value!r} in {column!r}.", hint="Write 1 for sarcastic and 0 for not.")
    return _LABELS[text]


def _words(cells: Cells, column: str | None, where: str) -> str:
    value = None if column is None else cells.get(column)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(f"{where} has {value!r} in {column!r}, which is no text.", hint="Write it in quotation marks.")
    # JSON can escape what UTF-8 cannot hold.
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise DataError(f"{where} holds half a character in {column!r}.", hint="Write the text again from its source.")
    return value
