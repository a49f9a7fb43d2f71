"""Tokens, padding, and batches under a budget."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.sarcasm.tiny_encoder import write_encoder

from modicum.errors import ModelError
from modicum.sarcasm.encoder.batches import Tokenizer, budget_batches, encode, pad, padding_of
from modicum.sarcasm.encoder.model import open_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return open_tokenizer(write_encoder(tmp_path_factory.mktemp("encoder")))


@given(st.lists(st.integers(2, 96), max_size=60), st.integers(1, 400))
def test_every_row_comes_once_and_no_batch_has_more_slots_than_the_budget(lengths: list[int], budget: int) -> None:
    batches = list(budget_batches(lengths, budget))
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[place] for place in batch)
        assert len(batch) * longest <= budget or len(batch) == 1
    longest_of_each = [max(lengths[place] for place in batch) for batch in batches]
    assert longest_of_each == sorted(longest_of_each, reverse=True)


def test_batches_of_like_length_have_fewer_slots_than_those_in_the_order_of_the_file() -> None:
    lengths = np.random.default_rng(0).integers(5, 90, size=640).tolist()
    slots = lambda groups: sum(len(group) * max(lengths[place] for place in group) for group in groups)
    in_order = [range(start, start + 64) for start in range(0, 640, 64)]
    assert slots(budget_batches(lengths, 4096)) < 0.7 * slots(in_order)


def test_padding_is_on_the_right_and_masked(tokenizer: Tokenizer) -> None:
    rows = encode(tokenizer, ["the cat", "wow", "the cat sat on a mat"], length=16)
    batch = pad(rows, padding=77)
    assert {name: tuple(tensor.shape) for name, tensor in batch.items()} == dict.fromkeys(
        ("input_ids", "token_type_ids", "attention_mask"), (3, 8)
    )
    assert batch["attention_mask"].sum(1).tolist() == [4, 3, 8]
    assert bool((batch["input_ids"][batch["attention_mask"] == 0] == 77).all())
    assert bool((batch["input_ids"][batch["attention_mask"] == 1] != 77).all())
    assert batch["input_ids"].dtype == torch.int64


def test_long_texts_are_cut_and_counted(tokenizer: Tokenizer) -> None:
    texts = ["the cat sat on a mat", "the cat sat on a mat .", "wow", "the cat sat on a mat . ."]
    with pytest.warns(UserWarning, match=r"2 of 4 texts have more than 8 tokens and were cut there\."):
        rows = encode(tokenizer, texts, length=8)
    assert [len(row["input_ids"]) for row in rows] == [8, 8, 3, 8]
    assert {row["input_ids"][-1] for row in rows} == {3}, "a text that was cut has lost its [SEP]"


def test_texts_that_just_fit_are_not_reported(tokenizer: Tokenizer) -> None:
    assert len(encode(tokenizer, ["the cat sat on a mat"], length=8)[0]["input_ids"]) == 8  # warnings are errors


def test_a_tokenizer_without_padding_is_refused(tmp_path: Path) -> None:
    tokenizer = open_tokenizer(write_encoder(tmp_path))
    assert padding_of(tokenizer) == 0
    setattr(tokenizer, "pad_token", None)  # noqa: B010 - the protocol has it for reading
    with pytest.raises(ModelError, match=r"The tokenizer has no padding token.*set its pad_token"):
        padding_of(tokenizer)
