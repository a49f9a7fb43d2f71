"""Items, their batches, and the shares of the languages."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from tests.unit.sarcasm.tiny_encoder import write_encoder

from modicum.core.seeding import torch_generator
from modicum.sarcasm.encoder.batches import Tokenizer
from modicum.sarcasm.encoder.items import Collator, LanguageSampler, make_items
from modicum.sarcasm.encoder.opening import open_tokenizer
from modicum.sarcasm.examples import Example, Language

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
    batch = Collator.of(tokenizer)(make_items(EXAMPLES, tokenizer, length=16, pairs="rank"))
    assert set(batch) == {"texts", "targets"}
    assert batch["texts"]["attention_mask"].sum(1).tolist() == [5, 4, 3, 5, 3, 6]
    assert batch["texts"]["input_ids"][4].tolist() == [CLS, RAIN, SEP, 0, 0, 0]
    targets = batch["targets"]
    assert targets["parents"].tolist() == [1, 3]
    assert targets["language"].tolist() == [0, 0, 1, 0]
    assert [None if math.isnan(it) else it for it in targets["sarcastic"].tolist()] == [0, 1, 1, None]


def test_categories_are_targets_of_sarcastic_texts_alone(tokenizer: Tokenizer) -> None:
    targets = Collator.of(tokenizer)(make_items(EXAMPLES, tokenizer, length=16, pairs=None))["targets"]
    assert targets["categories"].isnan().all(1).tolist() == [True, False, True, True]
    assert targets["categories"][1].tolist() == [1, 0, 0, 0, 0, 1]
    assert targets["parents"].tolist() == []


def test_pairs_that_are_read_together_come_in_both_orders(tokenizer: Tokenizer) -> None:
    batch = Collator.of(tokenizer)(make_items(EXAMPLES, tokenizer, length=16, pairs="cross"))
    assert len(batch["texts"]["input_ids"]) == 4
    pairs = batch["pairs"]["input_ids"].tolist()
    assert len(pairs) == 4
    assert pairs[0][:6] == [CLS, GREAT, RAIN, SEP, RAIN, SEP]
    assert pairs[2][:6] == [CLS, RAIN, SEP, GREAT, RAIN, SEP]


def test_a_batch_without_a_pair_has_none(tokenizer: Tokenizer) -> None:
    for pairs in ("rank", "cross"):
        items = make_items(EXAMPLES, tokenizer, length=16, pairs=pairs)
        batch = Collator.of(tokenizer)([items[0], items[2]])
        assert set(batch) == {"texts", "targets"}
        assert batch["targets"]["parents"].tolist() == []


def split(**counts: int) -> list[Example]:
    languages: list[Language] = [language for language in ("en", "ar") for _ in range(counts[language])]
    return [Example(text="x", language=language) for language in languages]


def test_every_item_comes_once_an_epoch_when_alpha_is_1_and_each_epoch_has_its_order() -> None:
    sampler = LanguageSampler(split(en=40, ar=20), 1.0, torch_generator(0, "order"))
    first, second = list(sampler), list(sampler)
    assert len(sampler) == 60
    assert sorted(first) == sorted(second) == list(range(60))
    assert first != second
    assert first == list(LanguageSampler(split(en=40, ar=20), 1.0, torch_generator(0, "order")))


@pytest.mark.parametrize(("exponent", "arabic"), [(0.5, 500 / (1 + 2)), (0.0, 250), (1.0, 100)])
def test_languages_have_the_shares_of_their_exponent(exponent: float, arabic: float) -> None:
    # 400 and 100 texts: with alpha = 1/2 the shares are 20 to 10.
    sampler = LanguageSampler(split(en=400, ar=100), exponent, torch_generator(0, "order"))
    drawn = Counter(sampler)
    assert sum(count for place, count in drawn.items() if place >= 400) == round(arabic)
    assert sum(drawn.values()) == len(sampler) == 500
    for places in (range(400), range(400, 500)):  # nothing comes again before all have come
        counts = [drawn[place] for place in places]
        assert max(counts) - min(counts) <= 1


def test_a_batch_mixes_the_languages() -> None:
    sampler = LanguageSampler(split(en=320, ar=320), 1.0, torch_generator(0, "order"))
    order = list(sampler)
    shares = [sum(place >= 320 for place in order[start : start + 32]) / 32 for start in range(0, 640, 32)]
    assert 0 < min(shares) < max(shares) < 1
