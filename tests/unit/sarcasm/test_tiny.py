"""The encoder that is made anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from modicum.sarcasm.comparison import make_tiny_encoder
from modicum.sarcasm.written import read_written

TEXTS = [it.text for language in ("en", "ar") for it in read_written(language)[:60]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_encoder(tmp_path_factory.mktemp("tiny"), TEXTS, seed=0)


def test_transformers_opens_it(made: Path) -> None:
    tokenizer, model = AutoTokenizer.from_pretrained(made), AutoModel.from_pretrained(made)
    assert model.config.vocab_size == len(tokenizer)
    inputs = tokenizer(TEXTS[:3], padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**inputs).last_hidden_state
    assert hidden.shape == (*inputs["input_ids"].shape, 64)
    long = tokenizer(" ".join(TEXTS), truncation=True)["input_ids"]
    assert len(long) == 96 == tokenizer.model_max_length


def test_the_vocabulary_is_of_the_texts_in_both_languages(made: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(made)
    ids = [number for text in TEXTS for number in tokenizer(text, add_special_tokens=False)["input_ids"]]
    assert tokenizer.unk_token_id not in ids
    assert np.mean([len(tokenizer.tokenize(text)) / len(text.split()) for text in TEXTS]) < 4, "letter by letter"
    first, second = (tokenizer(text)["input_ids"] for text in ("LOVELY weather", "lovely weather"))
    assert first == second
    assert first[0] == tokenizer.cls_token_id
    assert first[-1] == tokenizer.sep_token_id


def test_a_letter_within_a_word_is_no_special_token(made: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(made)
    assert sorted(tokenizer.all_special_tokens) == ["[CLS]", "[MASK]", "[PAD]", "[SEP]", "[UNK]"]
    assert "##a" not in tokenizer.tokenize("what ##a sign")


def test_weights_are_a_function_of_the_seed_and_the_vocabulary_of_the_texts(made: Path, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    for folder, seed in (("same", 0), ("other", 1)):
        (tmp_path / folder).mkdir()
        make_tiny_encoder(tmp_path / folder, TEXTS, seed=seed)
    assert torch.equal(torch.get_rng_state(), before)
    weights = [(path / "model.safetensors").read_bytes() for path in (made, tmp_path / "same", tmp_path / "other")]
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]
    # tokenizers' trainer alone gives another vocabulary each time.
    for folder in ("same", "other"):
        assert (tmp_path / folder / "tokenizer.json").read_bytes() == (made / "tokenizer.json").read_bytes()
