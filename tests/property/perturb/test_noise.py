from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from modicum.perturb.functional import fold, hash_bits, hash_normal, hash_uniform, normal_tables

TABLES = normal_tables()
keys = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3).map(
    lambda words: fold(torch.zeros((), dtype=torch.int32), *words)
)
sizes = st.integers(1, 6)


@given(key=keys, samples=sizes, tokens=sizes, features=sizes, start=st.integers(0, 2**20), cut=st.integers(0, 6))
def test_a_part_of_a_batch_has_the_noise_of_the_part(
    key: torch.Tensor, samples: int, tokens: int, features: int, start: int, cut: int
) -> None:
    cut = min(cut, samples)
    whole = hash_normal((samples, tokens, features), key, TABLES, first_sample=start)
    part = hash_normal((samples - cut, tokens, features), key, TABLES, first_sample=start + cut)
    assert torch.equal(whole[cut:], part)


@given(key=keys, samples=sizes, tokens=sizes, more=sizes, features=sizes)
def test_padding_to_a_longer_sentence_leaves_the_noise_of_the_tokens(
    key: torch.Tensor, samples: int, tokens: int, more: int, features: int
) -> None:
    longer = hash_uniform((samples, tokens + more, features), key)
    assert torch.equal(longer[:, :tokens], hash_uniform((samples, tokens, features), key))


@given(key=keys, samples=sizes, elements=st.integers(1, 500))
def test_the_elements_of_a_sample_have_different_bits(key: torch.Tensor, samples: int, elements: int) -> None:
    for row in hash_bits((samples, elements), key):
        assert row.unique().numel() == elements


@given(key=keys)
def test_noise_stays_in_its_bounds(key: torch.Tensor) -> None:
    assert hash_uniform((4, 100), key).abs().max() < 1
    assert hash_normal((4, 100), key, TABLES).abs().max() < 4.86
