from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from modicum.perturb.functional import fold, hash_bits, hash_normal, hash_uniform, normal_tables, root_mean_square

SHAPE = (16, 128, 384)


def key(*words: int) -> torch.Tensor:
    return fold(torch.zeros((), dtype=torch.int32), *words)


def test_bits_are_those_of_plain_integers() -> None:
    mask = 0xFFFFFFFF

    def first(x: int) -> int:
        return (x ^ x >> 16) * 0x7FEB352D & mask

    def second(x: int) -> int:
        x = (x ^ x >> 15) * 0x846CA68B & mask
        return x ^ x >> 16

    def mix(start: int, *words: int) -> int:
        for word in words:
            start = second(first((start ^ word) + 0x9E3779B9 & mask))
        return start

    bits = hash_bits((3, 2, 5), key(7, 11), first_sample=4)
    for sample in range(3):
        outer = mix(4 + sample, mix(0, 7, 11))
        inner = mix(outer, 1)
        expected = [second(first(element ^ outer) + inner & mask) for element in range(10)]
        assert [bit & mask for bit in bits[sample].tolist()] == expected


# HYPE-C15
def test_uniform_has_the_variance_and_no_correlation() -> None:
    noise = hash_uniform(SHAPE, key(1)).double().flatten()
    # 786 432 values: the standard error of the variance is 3.4e-4, that of a correlation 1.1e-3.
    assert noise.var().item() == pytest.approx(1 / 3, abs=1e-3)
    assert noise.abs().max() < 1
    for lag in (1, 2, 384, 128 * 384):
        assert abs(np.corrcoef(noise[lag:], noise[:-lag])[0, 1]) < 1e-2


@pytest.mark.parametrize("seed", range(3))
def test_distributions_pass_a_test_of_kolmogorov_and_smirnov(seed: int) -> None:
    # A wrong distribution gives p < 1e-30 at this size; a right one fails once in 1e6 seeds, and these are fixed.
    uniform = hash_uniform(SHAPE, key(seed)).flatten().double().numpy()
    normal = hash_normal(SHAPE, key(seed), normal_tables()).flatten().double().numpy()
    assert stats.kstest(uniform, stats.uniform(-1, 2).cdf).pvalue > 1e-6
    assert stats.kstest(normal, stats.norm.cdf).pvalue > 1e-6


def test_normal_has_the_moments_of_a_normal() -> None:
    noise = hash_normal(SHAPE, key(2), normal_tables()).double().flatten().numpy()
    # Standard errors at 786 432 values: 1.1e-3, 1.6e-3, 2.8e-3, 5.5e-3; allowed are four of them.
    assert noise.mean() == pytest.approx(0, abs=4.5e-3)
    assert noise.var() == pytest.approx(1, abs=6.4e-3)
    assert stats.skew(noise) == pytest.approx(0, abs=1.1e-2)
    assert stats.kurtosis(noise) == pytest.approx(0, abs=2.2e-2)


def test_radius_and_angle_of_the_normal_are_independent() -> None:
    bits = hash_bits(SHAPE, key(3)).flatten()
    table = np.histogram2d((bits >> 16 & 0xFFFF).numpy() >> 12, (bits & 0xFFFF).numpy() >> 12, bins=16)[0]
    assert stats.chi2_contingency(table).pvalue > 1e-6


# HYPE-C15
@pytest.mark.parametrize("words", [(1, 0, 0), (0, 1, 0), (0, 0, 1)], ids=["seed", "layer", "step"])
def test_noise_is_unrelated_across_seed_layer_and_step(words: tuple[int, int, int]) -> None:
    here, there = hash_uniform(SHAPE, key(0, 0, 0)).flatten(), hash_uniform(SHAPE, key(*words)).flatten()
    assert abs(np.corrcoef(here, there)[0, 1]) < 5e-3  # the standard error is 1.1e-3
    assert (here == there).float().mean() < 1e-4


def test_samples_are_unrelated_and_not_shifted_copies() -> None:
    noise = hash_uniform((64, 4096), key(5))
    assert np.abs(np.corrcoef(noise) - np.eye(64)).max() < 0.1  # 2016 pairs, standard error 0.016
    assert noise.unique().numel() > 0.98 * noise.numel()  # 2**18 values of 2**24: 0.8 % meet by chance


def test_a_tensor_and_an_integer_fold_to_the_same_key() -> None:
    assert torch.equal(key(3, 9), fold(key(3), torch.tensor(9, dtype=torch.int32)))
    assert torch.equal(key(2**31 + 5), key(5 - 2**31))


def test_root_mean_square_is_that_of_each_token() -> None:
    hidden = torch.tensor([[[3.0, 4.0], [0.0, 0.0]]], requires_grad=True)
    size = root_mean_square(hidden)
    torch.testing.assert_close(size, torch.tensor([[[12.5**0.5], [0.0]]]))
    assert not size.requires_grad
