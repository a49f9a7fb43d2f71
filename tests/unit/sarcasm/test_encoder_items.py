"""Items, their batches, and the shares of the languages."""

from __future__ import annotations

import math

import pytest
from tests.unit.sarcasm.tiny_encoder import write_encoder

from modicum.core.seeding import torch_generator
from modicum.sarcasm.data.examples import Example, Language
from modicum.sarcasm.encoder.batches import Collator, LanguageSampler, Tokenizer, make_items
from modicum.sarcasm.encoder.model import open_tokenizer

EXAMPLES = [
    Example(text="the cat sat", language="en", sarcastic=0, categories=(0,) * 6),
    Example(text="great rain", language="en", sarcastic=1, rephrase="rain", categories=(1, 0, 0, 0, 0, 1)),
    Example(text="مطر", language="ar", sarcastic=1),
    Example(text="wow the bus", language="en", rephrase="the bus ran late"),
]
CLS, SEP, GREAT, RAIN = 2, 3, 15, 14


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return open_tokenizer(write_encoder(tmp_path_factory.mktemp("encoder")))


def test_a_batch_has_the_texts_and_behind_them_the_rephrases(tokenizer: Tokenizer) -> None:
    batch = Collator.of(tokenizer)(make_items(EXAMPLES, tokenizer, length=16))
    assert set(batch) == {"texts", "targets"}
    assert batch["texts"]["attention_mask"].sum(1).tolist() == [5, 4, 3, 5, 3, 6]
    assert batch["texts"]["input_ids"][4].tolist() == [CLS, RAIN, SEP, 0, 0, 0]
    targets = batch["targets"]
    assert targets["parents"].tolist() == [1, 3]
    assert targets["language"].tolist() == [0, 0, 1, 0]
    assert [None if math.isnan(it) else it for it in targets["sarcastic"].tolist()] == [0, 1, 1, None]


def test_categories_are_targets_of_sarcastic_texts_alone(tokenizer: Tokenizer) -> None:
    targets = Collator.of(tokenizer)(make_items(EXAMPLES, tokenizer, length=16))["targets"]
    assert targets["categories"].isnan().all(1).tolist() == [True, False, True, True]
    assert targets["categories"][1].tolist() == [1, 0, 0, 0, 0, 1]
    assert targets["parents"].tolist() == [1, 3]


def test_a_batch_without_a_pair_has_none(tokenizer: Tokenizer) -> None:
    items = make_items(EXAMPLES, tokenizer, length=16)
    batch = Collator.of(tokenizer)([items[0], items[2]])
    assert set(batch) == {"texts", "targets"}
    assert batch["targets"]["parents"].tolist() == []


def split(**counts: int) -> list[Example]:
    languages: list[Language] = [language for language in ("en", "ar") for _ in range(counts[language])]
    return [Example(text="x", language=language) for language in languages]


def test_every_item_comes_once_an_epoch_and_each_epoch_has_its_order() -> None:
    sampler = LanguageSampler(split(en=40, ar=20), torch_generator(0, "order"))
    first, second = list(sampler), list(sampler)
    assert len(sampler) == 60
    assert sorted(first) == sorted(second) == list(range(60))
    assert first != second
    assert first == list(LanguageSampler(split(en=40, ar=20), torch_generator(0, "order")))


def test_a_batch_mixes_the_languages() -> None:
    sampler = LanguageSampler(split(en=320, ar=320), torch_generator(0, "order"))
    order = list(sampler)
    shares = [sum(place >= 320 for place in order[start : start + 32]) / 32 for start in range(0, 640, 32)]
    assert 0 < min(shares) < max(shares) < 1
