"""ERNIE-M's tokens and their places, for any text: nothing is lost, and each place holds what the token says."""

from __future__ import annotations

import csv
import functools
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.unit.sarcasm.erniem_folder import WORDS, encode, offsets, pieces_model, write_tokenizer

from modicum.core import catalogue
from modicum.sarcasm.erniem import ErnieMTokenizer

PROCESSOR: Any = sentencepiece.SentencePieceProcessor(model_proto=pieces_model())
ODD = [
    "▁",
    " ",
    "\u3000",
    "\t",
    "\n",
    "\u200b",
    "ﬁ",
    "½",
    "…",
    "①",
    "e\u0301",
    "ﷺ",
    "Ⅳ",
    "\x00",
    "\x07",
    "👍🏽",
    "가",
    "²",
]
normalised = functools.cache(PROCESSOR.Normalize)
TEXTS = st.lists(st.one_of(st.sampled_from([*WORDS, *ODD]), st.characters(exclude_categories=["Cs"]))).map("".join)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> ErnieMTokenizer:
    return ErnieMTokenizer.from_pretrained(write_tokenizer(tmp_path_factory.mktemp("tokenizer")))


def check_places(text: str, tokenizer: ErnieMTokenizer) -> None:
    tokens, spans = tokenizer.tokenize(text), offsets(tokenizer, text)[1:-1]
    assert len(tokens) == len(spans) == len(encode(tokenizer, text)) - 2
    assert "".join(tokens).replace("▁", "") == normalised(text).replace("▁", "")
    for token, (begin, end) in zip(tokens, spans, strict=True):
        assert 0 <= begin < end <= len(text)
        word = token.lstrip("▁")
        assert word in normalised(text[begin:end])
        assert not word or text[begin] not in " \t\n\u3000"
    assert spans == sorted(spans)


@settings(max_examples=150, deadline=None)
@given(text=TEXTS)
@example(text="a 中文。test123abc ,?")
@example(text="ﷺ ½ e\u0301 …\u200b")
def test_places_hold_what_the_tokens_say(text: str, tokenizer: ErnieMTokenizer) -> None:  # XPUDU-C8
    if not any(token in text for token in ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]")):
        check_places(text, tokenizer)


@settings(max_examples=100, deadline=None)
@given(parts=st.lists(TEXTS, min_size=1, max_size=4), special=st.sampled_from(["[SEP]", "[PAD]", "[UNK]"]))
def test_special_tokens_part_a_text(parts: list[str], special: str, tokenizer: ErnieMTokenizer) -> None:
    text = special.join(parts)
    wanted = [token for part in parts for token in [special, *tokenizer.tokenize(part)]][1:]
    assert tokenizer.tokenize(text) == wanted
    places = [text[slice(*span)] for span in offsets(tokenizer, text)[1:-1]]
    assert [place for token, place in zip(wanted, places, strict=True) if token == special] == [special] * (
        len(parts) - 1
    )


@settings(max_examples=100, deadline=None)
@given(text=TEXTS)
def test_digits_and_what_stands_alone_are_never_joined_to_anything(text: str, tokenizer: ErnieMTokenizer) -> None:
    for token in tokenizer.tokenize(text):  # XPUDU-C4
        word = token.lstrip("▁")
        assert word.isdigit() or not any(it.isdigit() for it in word)
        assert len(token) == 1 or not any(it in ",;:.?!~，；：。？！《》【】" or "一" <= it <= "\u9fff" for it in token)


@pytest.mark.data("isarcasmeval")
def test_places_hold_what_the_tokens_say_in_every_real_text(tokenizer: ErnieMTokenizer) -> None:  # XPUDU-C8
    folder = catalogue.fetch("isarcasmeval")
    files = [*folder.glob("train/train.*.csv"), *folder.glob("test/task_A_*.csv")]
    texts = [text for file in files for text in column(file)]
    assert len(texts) == 9_370
    for text in texts:
        check_places(text, tokenizer)


def column(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return [row["tweet"] if "tweet" in row else row["text"] for row in csv.DictReader(file)]
