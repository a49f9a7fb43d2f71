"""Files as users have them: understood, or refused with the file and the line."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from modicum.core.tables import Record, read_records
from modicum.errors import ConfigError, DataError
from modicum.sarcasm.data.examples import CATEGORIES, Example, Pair
from modicum.sarcasm.data.tables import read_rows, require_columns, write_predictions


def write(folder: Path, text: str | bytes, name: str = "rows.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def pipe(monkeypatch: pytest.MonkeyPatch, text: str | bytes) -> None:
    data = text.encode() if isinstance(text, str) else text
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))


@pytest.mark.parametrize("column", ["text", "tweet"])
def test_the_columns_of_the_shared_task_are_known(column: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"id,{column},sarcastic,rephrase,dialect\n1,يا سلام,1,هذا سيء,nile\n2,Good morning,0,,\n")
    table = read_rows(path)
    assert table.columns == ("id", column, "sarcastic", "rephrase", "dialect")
    assert table.examples == [
        Example(text="يا سلام", language="ar", sarcastic=1, rephrase="هذا سيء", dialect="nile"),
        Example(text="Good morning", language="en", sarcastic=0),
    ]
    assert (len(table), table.pairs, table.empty) == (2, [], ())
    assert [row.line for row in table] == [2, 3]
    assert table.rows[0].cells["id"] == "1"


def test_a_text_column_is_preferred_to_a_tweet_column(tmp_path: Path) -> None:
    assert read_rows(write(tmp_path, "tweet,text\nno,yes\n")).examples[0].text == "yes"


def test_columns_of_other_names_can_be_named(tmp_path: Path) -> None:
    path = write(tmp_path, "body,ironic,lang,kind,plain,text\nOh great,1,ar,gulf,Bad,no\n")
    table = read_rows(
        path,
        text_column="body",
        label_column="ironic",
        language_column="lang",
        dialect_column="kind",
        rephrase_column="plain",
    )
    assert table.examples == [
        Example(text="Oh great", language="ar", sarcastic=1, dialect="gulf", rephrase="Bad"),
    ]


def test_two_texts_are_a_pair(tmp_path: Path) -> None:
    path = write(tmp_path, "text_0\ttext_1\tdialect\tsarcastic_id\nيا سلام\tهذا سيء\tmsa\t1\n", "pairs.TSV")
    table = read_rows(path)
    assert table.pairs == [Pair(texts=("يا سلام", "هذا سيء"), language="ar", sarcastic=1, dialect="msa")]
    assert table.examples == []


def test_one_text_of_a_pair_can_be_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, "text_0,text_1\nfirst,second\n")
    assert read_rows(path, text_column="text_1").examples == [Example(text="second", language="en")]


def test_newlines_in_cells_are_kept_and_lines_counted_to_where_a_row_begins(tmp_path: Path) -> None:
    path = write(tmp_path, 'text,n\r\n"a\r\nb\nc",1\r\n\r\n"say ""hi"", you",2\r\n')
    columns, records = read_records(path)
    assert columns == ("text", "n")
    assert records == [
        Record(line=2, cells={"text": "a\r\nb\nc", "n": "1"}),
        Record(line=6, cells={"text": 'say "hi", you', "n": "2"}),
    ]


@pytest.mark.parametrize(
    "written",
    [
        'text;sarcastic\n"so, it is";1\nso be it;0\n',
        "text\tsarcastic\nso, it is\t1\nso be it\t0\n",
        'text, sarcastic\n"so, it is", 1\nso be it, 0\n',
        'text,sarcastic,,\n"so, it is",TRUE,,\nso be it,False,,\n',
        '"text","sarcastic"\n"so, it is","1.0"\n"so be it","0.0"\n'.encode("utf-16"),
    ],
)
def test_the_dialects_of_csv_are_read_alike(written: str | bytes, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(written if isinstance(written, bytes) else written.encode())
    table = read_rows(path)
    assert table.columns == ("text", "sarcastic")
    assert [(it.text, it.sarcastic) for it in table.examples] == [("so, it is", 1), ("so be it", 0)]


def test_a_text_may_be_longer_than_what_csv_takes_by_default(tmp_path: Path) -> None:
    (tmp_path / "long.csv").write_text(f"text\n{'x' * 140_000}\n")
    assert len(read_rows(tmp_path / "long.csv").examples[0].text) == 140_000


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    assert read_rows(write(tmp_path, "\ufefftext\nhi\n")).columns == ("text",)


def test_json_lines_keep_what_they_hold(tmp_path: Path) -> None:
    rows = [{"text": "a\u2028b", "sarcastic": 1, "more": [1]}, {"text": "c", "sarcastic": False}, {"text": "d"}]
    path = write(tmp_path, "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\r\n", "rows.jsonl")
    table = read_rows(path)
    assert table.columns == ("text", "sarcastic", "more")
    assert [(row.line, row.cells) for row in table] == [(1, rows[0]), (3, rows[1]), (5, rows[2])]
    assert [it.sarcastic for it in table.examples] == [1, 0, None]


def test_standard_input_is_a_text_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, 'Oh, "great"\r\nيا سلام\n')
    table = read_rows("-")
    assert table.examples == [Example(text='Oh, "great"', language="en"), Example(text="يا سلام", language="ar")]
    assert [row.line for row in table] == [1, 2]


def test_a_table_on_standard_input_is_known_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    def given(text: str) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8"))

    for written in ('id,text\n7,"so, it is"\n', "text\nso it is\n", "id;tweet\n7;so it is\n"):
        given(written)
        (row,) = read_rows("-").rows
        assert row.line == 2
    given("post,n\nso it is,1\n")
    assert [it.text for it in read_rows("-", text_column="post").examples] == ["so it is"]
    given("posts,n\nso it is,1\n")
    with pytest.raises(DataError, match="no column 'post'; its columns are 'posts', 'n'"):
        read_rows("-", text_column="post")
    given("posts,n\nso it is,1\n")
    with pytest.warns(UserWarning, match="read as one text a line, its first line too"):
        assert len(read_rows("-")) == 2
    given('[{"text": "so it is"}]\n')
    with pytest.raises(DataError, match="is no JSON object"):
        read_rows("-")


def test_standard_input_that_begins_with_a_brace_is_json_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, '\n{"tweet": "hi", "sarcastic": "1"}\n')
    assert read_rows("-").examples == [Example(text="hi", language="en", sarcastic=1)]


def test_a_language_is_told_named_or_seen(tmp_path: Path) -> None:
    path = write(tmp_path, "text,language\nhello,ar\nيا سلام,\n")
    assert [it.language for it in read_rows(path).examples] == ["ar", "ar"]
    assert [it.language for it in read_rows(path, language="auto").examples] == ["en", "ar"]
    assert [it.language for it in read_rows(path, language="en").examples] == ["en", "en"]


def test_labels_may_be_written_as_numbers_and_may_be_unknown(tmp_path: Path) -> None:
    path = write(tmp_path, "text,sarcastic\na,1\nb,0.0\nc, 1.0\nd,\n")
    assert [it.sarcastic for it in read_rows(path).examples] == [1, 0, 1, None]


def test_categories_are_read_where_all_six_are_there(tmp_path: Path) -> None:
    six = ",".join(CATEGORIES)
    path = write(tmp_path, f"text,sarcastic,{six}\na,1,1,0,0,0,0,1\nb,0,,,,,,\nc,,,,,,,\n")
    assert [it.categories for it in read_rows(path).examples] == [(1, 0, 0, 0, 0, 1), (0,) * 6, None]
    path = write(tmp_path, "text,sarcasm\na,maybe\n")
    assert read_rows(path).examples[0].categories is None


def test_empty_texts_can_be_left_out_and_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path, 'id,text\n1,a\n2," "\n3,\n4,b\n')
    table = read_rows(path, skip_empty=True)
    assert ([it.text for it in table.examples], table.empty) == (["a", "b"], (3, 4))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "body,n\na,1\n",
            r"rows.csv has no column 'text'; its columns are 'body', 'n'. Rename the column, or name yours: --text-col",
        ),
        ("text,text\na,b\n", r"rows.csv has the column 'text' twice. Rename one"),
        ('id,text\n1,"a\nb"\n2,\n', r"rows.csv, line 4 has an empty text. Write its text, or remove the row"),
        ("text_0,text_1\na,\n", r"rows.csv, line 2 has an empty text"),
        ("text,sarcastic\na,1\nb,2\n", r"rows.csv, line 3 has the label '2' in 'sarcastic'. Write 1 for sarcastic and"),
        ("text,sarcastic\na,yes\n", r"rows.csv, line 2 has the label 'yes'"),
        ("text,sarcastic\na,nan\n", r"rows.csv, line 2 has the label 'nan'"),
        ("text_0,text_1,sarcastic_id\na,b,-1\n", r"rows.csv, line 2 has the label '-1' in 'sarcastic_id'"),
        ("text,language\na,fr\n", r"rows.csv, line 2 has the language 'fr'. Use one of: en, ar"),
        ("text,n\na,1\nb, c,2\n", r"rows.csv, line 3 has 3 cells, expected 2. Correct that row: a text with ','"),
        ("text,n\na\n", r"rows.csv, line 2 has 1 cells, expected 2"),
        ('text\n"never closed\nb\n', r"rows.csv, line 2 cannot be read \(unexpected end of data\). Close every quot"),
        ('text\nfine\n"closed" too early\n', r"rows.csv, line 3 cannot be read .* Close every quotation mark"),
        (b"text\nfine\ncaf\xe9\n", r"rows.csv, line 3 is not UTF-8 \(byte 0xe9\). Save it as UTF-8"),
        (b"\xef\xbb\xbftext\n\xff\n", r"rows.csv, line 2 is not UTF-8 \(byte 0xff\)"),
        ("text\na\0b\n", r"rows.csv, line 2 holds a NUL byte"),
        ("", r"rows.csv is empty. Give it at least one row"),
        ("\ufeff \n", r"rows.csv is empty"),
        ("text\n", r"rows.csv has a header and no rows"),
        (
            f"text,sarcastic,{','.join(CATEGORIES)}\na,0,1,0,0,0,0,0\n",
            r"rows.csv, line 2 is not sarcastic, but has a category",
        ),
    ],
)
def test_a_broken_file_is_named_with_its_line(text: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_rows(write(tmp_path, text))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "a"', r"rows.jsonl, line 2 cannot be read as JSON"),
        ("[" * 100_000, r"rows.jsonl, line 2 cannot be read as JSON"),
        ('["a"]', r"rows.jsonl, line 2 is no JSON object"),
        ('{"text": 7}', r"rows.jsonl, line 2 has 7 in 'text', which is no text"),
        ('{"text": null}', r"rows.jsonl, line 2 has an empty text"),
        ('{"tweet": "a"}', r"rows.jsonl, line 2 has an empty text"),
        ('{"text": "a", "sarcastic": 0.5}', r"rows.jsonl, line 2 has the label 0.5"),
        ('{"text": "a", "sarcastic": NaN}', r"rows.jsonl, line 2 has the label nan"),
        ('{"text": "a", "sarcastic": [1]}', r"rows.jsonl, line 2 has the label \[1\]"),
        (r'{"text": "cut \ud83d"}', r"rows.jsonl, line 2 holds half a character"),
        (r'{"text": "a\u0000b"}', r"rows.jsonl, line 2 holds half a character in 'text'"),
    ],
)
def test_a_broken_json_line_is_named(line: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, f'{{"text": "a", "sarcastic": 1}}\n{line}\n', "rows.jsonl")
    with pytest.raises(DataError, match=message):
        read_rows(path)


@pytest.mark.parametrize(
    "asked", ["text_column", "label_column", "language_column", "dialect_column", "rephrase_column"]
)
def test_a_column_that_was_named_must_be_there(asked: str, tmp_path: Path) -> None:
    named: dict[str, Any] = {asked: "absent"}
    with pytest.raises(DataError, match=r"has no column 'absent'; its columns are 'text', 'n'"):
        read_rows(write(tmp_path, "text,n\na,1\n"), **named)


def test_other_kinds_of_files_and_languages_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rows.xlsx has the ending '.xlsx'. Use a file that ends in one of .csv, .tsv"):
        read_rows(tmp_path / "rows.xlsx")
    with pytest.raises(DataError, match=r"absent.csv cannot be read \(No such file"):
        read_rows(tmp_path / "absent.csv")
    unknown: Any = "fr"
    with pytest.raises(ConfigError, match=r"The language is 'fr'. Use one of: auto, en, ar"):
        read_rows(write(tmp_path, "text\na\n"), language=unknown)


def test_broken_standard_input_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, "a\n\nb\n")
    with pytest.raises(DataError, match=r"Standard input, line 2 has an empty text"):
        read_rows("-")
    pipe(monkeypatch, b"a\n\xff\n")
    with pytest.raises(DataError, match=r"Standard input, line 2 is not UTF-8"):
        read_rows("-")
    pipe(monkeypatch, "")
    with pytest.raises(DataError, match=r"Standard input is empty"):
        read_rows("-")


PREDICTIONS = [{"sarcastic": 1, "probability": 0.75}, {"sarcastic": 0, "probability": 0.125}]


@pytest.mark.parametrize("name", ["out.csv", "out.tsv"])
def test_predictions_stand_beside_the_columns_of_the_input(name: str, tmp_path: Path) -> None:
    rows = read_rows(write(tmp_path, 'id,text\n7,"a,\tb\nc"\n8,"say ""hi"""\n')).rows
    write_predictions(tmp_path / name, rows, PREDICTIONS)
    columns, records = read_records(tmp_path / name)
    assert columns == ("id", "text", "sarcastic", "probability")
    assert [tuple(it.cells.values()) for it in records] == [
        ("7", "a,\tb\nc", "1", "0.75"),
        ("8", 'say "hi"', "0", "0.125"),
    ]


def test_a_lone_carriage_return_survives_a_csv(tmp_path: Path) -> None:
    write_predictions(tmp_path / "out.csv", [Record(line=2, cells={"text": "a\rb", "n": None})], [{"p": 0.5}])
    assert read_records(tmp_path / "out.csv")[1] == [Record(line=2, cells={"text": "a\rb", "n": "", "p": "0.5"})]


def test_json_lines_keep_their_kinds(tmp_path: Path) -> None:
    row = {"text": "يا\n", "n": 1, "tags": ["x"], "none": None}
    write_predictions(tmp_path / "out.jsonl", [Record(line=1, cells=row)], [{"probability": 0.5}])
    written = (tmp_path / "out.jsonl").read_text(encoding="utf-8")
    assert json.loads(written) == {**row, "probability": 0.5}
    assert "يا" in written


def test_standard_output_is_csv_unless_said_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [Record(line=1, cells={"text": "a"}), Record(line=2, cells={"text": "b", "tags": ["x"]})]
    write_predictions("-", rows, PREDICTIONS)
    assert capsys.readouterr().out == 'text,tags,sarcastic,probability\na,,1,0.75\nb,"[""x""]",0,0.125\n'
    write_predictions("-", rows[:1], PREDICTIONS[:1], form="jsonl")
    assert json.loads(capsys.readouterr().out) == {"text": "a", **PREDICTIONS[0]}


def test_a_column_of_the_input_is_not_replaced_and_nothing_is_written(tmp_path: Path) -> None:
    rows = [Record(line=1, cells={"text": "a", "sarcastic": "0"})]
    with pytest.raises(ConfigError, match=r"The input has a column 'sarcastic' already. Rename it"):
        write_predictions(tmp_path / "out.csv", rows, PREDICTIONS[:1])
    with pytest.raises(DataError, match=r"There are 2 predictions of 1 rows. Give one for each row"):
        write_predictions(tmp_path / "out.csv", rows, PREDICTIONS)
    with pytest.raises(DataError, match=r"out.txt has the ending '.txt'"):
        write_predictions(tmp_path / "out.txt", rows, [{}])
    assert list(tmp_path.iterdir()) == []


def test_a_column_that_is_missing_is_named_with_those_there_are() -> None:
    with pytest.raises(DataError, match=r"t.csv has no column 'c'; its columns are 'a', 'b'"):
        require_columns("t.csv", ["a", "b"], ["b", "c"])
