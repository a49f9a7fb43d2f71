"""The tokenizer of ERNIE-M gives the numbers of the reference, and their places in the text."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tests.unit.sarcasm.erniem_folder import encode, offsets, pieces_model, vocabulary, write_tokenizer

from modicum.errors import ConfigError, DataError, ModelError
from modicum.sarcasm.erniem import ErnieMTokenizer, has_ernie_m_tokenizer

CRAFTED = "a 中文。test123abc ,?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> ErnieMTokenizer:
    return ErnieMTokenizer(folder / "vocab.txt", folder / "sentencepiece.bpe.model")


def number(token: str) -> int:
    return vocabulary().index(token) if token in vocabulary() else 3


def test_a_crafted_text(tokenizer: ErnieMTokenizer) -> None:  # XPUDU-C4
    tokens = tokenizer.tokenize(CRAFTED)
    assert tokens[:4] == ["▁a", "中", "文", "。"]
    assert tokens[-3:] == ["▁", ",", "?"]
    middle = tokens[4:-3]
    assert "".join(middle) == "test123abc"
    assert all(token.isdigit() or not any(it.isdigit() for it in token) for token in middle)
    assert encode(tokenizer, CRAFTED) == [0, *(number(token) for token in tokens), 2]


def test_special_tokens_have_the_first_numbers_and_unknown_ones_are_number_three(tokenizer: ErnieMTokenizer) -> None:
    assert (tokenizer.cls_token_id, tokenizer.pad_token_id, tokenizer.sep_token_id, tokenizer.unk_token_id) == (
        0,
        1,
        2,
        3,
    )
    assert encode(tokenizer, "☃") == [0, 3, 2]
    assert tokenizer.convert_ids_to_tokens([0, 1, 2, 3]) == ["[CLS]", "[PAD]", "[SEP]", "[UNK]"]
    assert len(tokenizer) == len(vocabulary())


@pytest.mark.parametrize("text", ["", "  ", "\n", "▁", " ▁ "])
def test_a_text_of_spaces_has_no_token(text: str, tokenizer: ErnieMTokenizer) -> None:
    assert encode(tokenizer, text) == [0, 2]
    assert offsets(tokenizer, text) == [(0, 0), (0, 0)]


def test_a_pair_has_two_separators_between(tokenizer: ErnieMTokenizer) -> None:  # XPUDU-C4
    first, second = encode(tokenizer, "the cat")[1:-1], encode(tokenizer, "中文 12")[1:-1]
    assert encode(tokenizer, "the cat", "中文 12") == [0, *first, 2, 2, *second, 2]


def test_special_tokens_in_a_text_are_read_as_such(tokenizer: ErnieMTokenizer) -> None:
    text = "nile [SEP] the cat[MASK]a [sep]"
    tokens = tokenizer.tokenize(text)
    assert tokens.count("[SEP]") == tokens.count("[MASK]") == 1
    at = tokens.index("[SEP]")
    assert tokens[:at] == tokenizer.tokenize("nile ")
    assert encode(tokenizer, text)[at + 1] == 2
    begin, end = offsets(tokenizer, text)[at + 1]
    assert text[begin:end] == "[SEP]"
    begin, end = offsets(tokenizer, text)[at + 2]
    assert text[begin:end] == tokens[at + 1].strip("▁")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("the cat", ["the", "cat"]),
        ("  the \n\t cat ", ["the", "cat"]),
        ("ｔｈｅ　ｃａｔ", ["ｔｈｅ", "ｃａｔ"]),
        ("a 中文。", ["a", "中", "文", "。"]),
        ("①②", ["①②"]),
        ("a…", ["a", "…", "…", "…"]),
        ("a ,", ["a", " ", ","]),
        ("e\u0301", ["e\u0301"]),
        ("👍🏽 a", ["👍🏽", "a"]),
    ],
)
def test_offsets_are_places_in_the_text_as_written(text: str, wanted: list[str], tokenizer: ErnieMTokenizer) -> None:
    spans = offsets(tokenizer, text)
    assert spans[0] == spans[-1] == (0, 0)
    found = [text[begin:end] for begin, end in spans[1:-1]]
    if len(found) != len(wanted):  # a word may be in several pieces
        assert "".join(found) == "".join(wanted)
    else:
        assert found == wanted


def test_a_call_gives_lists(tokenizer: ErnieMTokenizer) -> None:
    texts = ["the cat", "", CRAFTED]
    encoded = tokenizer(texts, return_offsets_mapping=True)
    assert encoded["input_ids"] == [encode(tokenizer, text) for text in texts]
    assert encoded["attention_mask"] == [[1] * len(row) for row in encoded["input_ids"]]
    assert encoded["offset_mapping"] == [offsets(tokenizer, text) for text in texts]
    assert set(tokenizer(texts)) == {"input_ids", "attention_mask"}
    assert tokenizer([]) == {"input_ids": [], "attention_mask": []}


def test_a_call_with_pairs(tokenizer: ErnieMTokenizer) -> None:
    encoded = tokenizer(["a", "the"], ["cat", "中文"], return_offsets_mapping=True)
    assert encoded["input_ids"] == [encode(tokenizer, "a", "cat"), encode(tokenizer, "the", "中文")]
    first, second = offsets(tokenizer, "the")[1:-1], offsets(tokenizer, "中文")[1:-1]
    assert encoded["offset_mapping"][1] == [(0, 0), *first, (0, 0), (0, 0), *second, (0, 0)]


def test_what_is_too_long_loses_its_end(tokenizer: ErnieMTokenizer) -> None:
    text = "the cat loves rain " * 200
    ids = encode(tokenizer, text)
    assert len(ids) > 512
    assert tokenizer([text])["input_ids"] == [ids]
    assert tokenizer([text], truncation=True)["input_ids"] == [[*ids[:511], 2]]
    cut = tokenizer([text, "a"], truncation=True, max_length=8, return_offsets_mapping=True)
    assert cut["input_ids"] == [[*ids[:7], 2], encode(tokenizer, "a")]
    assert [len(row) for row in cut["offset_mapping"]] == [len(row) for row in cut["input_ids"]] == [8, 3]


@pytest.mark.parametrize("max_length", [5, 6, 9, 12, 30])
@pytest.mark.parametrize(("first", "second"), [(2, 9), (9, 2), (6, 6), (5, 6), (6, 5), (0, 8), (8, 0)])
def test_of_a_pair_the_longer_loses_its_end_first(
    first: int, second: int, max_length: int, tokenizer: ErnieMTokenizer
) -> None:
    ones, others = ["中"] * first, ["文"] * second
    encoded = tokenizer(["".join(ones)], ["".join(others)], truncation=True, max_length=max_length)["input_ids"][0]
    while len(ones) + len(others) + 4 > max_length:  # token by token, as transformers tells
        (ones if len(ones) > len(others) else others).pop()
    assert encoded == encode(tokenizer, "".join(ones), "".join(others))


def test_padding_is_on_the_right(tokenizer: ErnieMTokenizer) -> None:
    encoded = tokenizer(["the cat 12", "a", ""], return_offsets_mapping=True)
    rows = [{name: column[row] for name, column in encoded.items()} for row in range(3)]
    padded = tokenizer.pad(rows, return_tensors="pt")
    width = max(len(row) for row in encoded["input_ids"])
    assert padded["input_ids"].shape == padded["attention_mask"].shape == (3, width)
    assert padded["offset_mapping"].shape == (3, width, 2)
    assert padded["input_ids"].dtype == torch.int64
    for row, mask, ids in zip(padded["input_ids"], padded["attention_mask"], encoded["input_ids"], strict=True):
        assert row[: len(ids)].tolist() == ids
        assert (row[len(ids) :] == 1).all()
        assert mask.tolist() == [1] * len(ids) + [0] * (width - len(ids))


def test_it_serves_the_collator_of_transformers(tokenizer: ErnieMTokenizer) -> None:
    encoded = tokenizer(["the cat", "a"])
    rows = [
        {"input_ids": ids, "attention_mask": mask, "labels": label}
        for ids, mask, label in zip(encoded["input_ids"], encoded["attention_mask"], [1, 0], strict=True)
    ]
    batch = transformers.DataCollatorWithPadding(tokenizer)(rows)  # type: ignore[arg-type]
    assert batch["input_ids"][0].tolist() == encoded["input_ids"][0]
    assert batch["labels"].tolist() == [1, 0]


def test_it_is_the_same_after_saving(tokenizer: ErnieMTokenizer, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path / "new" / "folder")
    again = ErnieMTokenizer.from_pretrained(tmp_path / "new" / "folder")
    assert has_ernie_m_tokenizer(tmp_path / "new" / "folder")
    assert again([CRAFTED, "مرحبا 12"]) == tokenizer([CRAFTED, "مرحبا 12"])
    assert (len(again), again.model_max_length) == (len(tokenizer), 512)
    assert pickle.loads(pickle.dumps(tokenizer))([CRAFTED]) == tokenizer([CRAFTED])


def test_a_token_may_be_a_line_separator_or_come_twice(folder: Path, tmp_path: Path) -> None:
    copy = write_tokenizer(tmp_path / "tokenizer")
    lines = [*vocabulary(), "\u2028", "\x85", " x ", "a", "▁a"]
    (copy / "vocab.txt").write_text("\n".join(lines), encoding="utf-8")  # and no line end at the end
    tokenizer = ErnieMTokenizer.from_pretrained(copy)
    assert len(tokenizer) == len(lines)
    assert tokenizer.convert_ids_to_tokens(range(len(lines))) == lines
    assert encode(tokenizer, "a") == [0, len(lines) - 1, 2]  # the last line counts, as in the reference
    tokenizer.save_pretrained(tmp_path / "again")
    assert ErnieMTokenizer.from_pretrained(tmp_path / "again").convert_ids_to_tokens(range(len(lines))) == lines


@pytest.mark.parametrize(
    ("config", "settings", "longest"),
    [
        (None, {"model_max_length": 514}, 512),  # as transformers wrote it, two more than the model takes
        ({"max_position_embeddings": 130}, {"model_max_length": 514}, 128),
        (None, {"model_max_length": 64}, 64),
        ({}, {}, 512),
    ],
)
def test_it_takes_no_more_tokens_than_the_model(
    config: dict[str, Any] | None, settings: dict[str, Any], longest: int, tmp_path: Path
) -> None:
    folder = write_tokenizer(tmp_path / "tokenizer")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    assert ErnieMTokenizer.from_pretrained(folder).model_max_length == longest


def test_lower_case_is_refused(tmp_path: Path) -> None:
    folder = write_tokenizer(tmp_path / "tokenizer")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    with pytest.raises(ModelError, match="asks for lower case"):
        ErnieMTokenizer.from_pretrained(folder)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("vocab.txt", "[CLS]\n[PAD]\n[SEP]\n", r"vocab.txt has no line \[UNK\]"),
        ("vocab.txt", "[PAD]\n[CLS]\n[SEP]\n[UNK]\n", r"\[PAD\] as number 0, not 1"),
        ("vocab.txt", "[CLS]\n\udcff", r"vocab.txt is not UTF-8"),
        ("sentencepiece.bpe.model", "nothing", r"sentencepiece.bpe.model is no model of SentencePiece"),
    ],
)
def test_a_damaged_file_is_named(file: str, content: str, words: str, tmp_path: Path) -> None:
    folder = write_tokenizer(tmp_path / "tokenizer")
    (folder / file).write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(DataError, match=words):
        ErnieMTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("file", ["vocab.txt", "sentencepiece.bpe.model"])
def test_a_missing_file_is_named(file: str, tmp_path: Path) -> None:
    folder = write_tokenizer(tmp_path / "tokenizer")
    (folder / file).unlink()
    with pytest.raises(ConfigError, match=f"has no {file}"):
        ErnieMTokenizer.from_pretrained(folder)


def test_bytes_have_no_place(tmp_path: Path) -> None:
    tokenizer = ErnieMTokenizer.from_pretrained(
        write_tokenizer(tmp_path / "tokenizer", pieces=pieces_model(byte_fallback=True))
    )
    assert offsets(tokenizer, "the cat")[0] == (0, 0)
    with pytest.raises(ModelError, match="splits into bytes"):
        offsets(tokenizer, "☃")


def test_half_of_a_surrogate_pair_is_refused(tokenizer: ErnieMTokenizer) -> None:
    with pytest.raises(DataError, match=r"half of a surrogate pair: 'a \\ud83d'"):
        tokenizer(["a \ud83d"])


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (("one text",), {}, "A list of texts was expected"),
        ((["one"], ["a", "b"]), {}, "1 texts came with 2 others"),
        ((["one"],), {"truncation": True, "max_length": 2}, "max_length 2 leaves no room"),
        ((["one"], ["b"]), {"truncation": True, "max_length": 4}, "max_length 4 leaves no room"),
    ],
)
def test_wrong_calls(arguments: Any, options: dict[str, Any], words: str, tokenizer: ErnieMTokenizer) -> None:
    with pytest.raises(ConfigError, match=words):
        tokenizer(*arguments, **options)


@pytest.mark.parametrize("options", [{"padding": False}, {"padding": "max_length", "max_length": 2}])
def test_other_padding_is_refused(options: dict[str, Any], tokenizer: ErnieMTokenizer) -> None:
    with pytest.raises(ConfigError, match="is not offered"):
        tokenizer.pad([{"input_ids": [0, 7, 2]}], **options)
