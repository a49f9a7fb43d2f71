from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from modicum.molecules.comparison import equal_shares, pick_per_size, pick_random
from modicum.molecules.data.pool import Pool

POOL = Pool.alkanes(4, 10)  # 2, 3, 5, 9, 18, 35, 75 molecules

each_way = pytest.mark.parametrize("pick", [pick_random, pick_per_size])


@each_way
@pytest.mark.parametrize("n", [1, 40, len(POOL)])
def test_as_many_as_asked_none_twice_and_the_seed_says_which(pick, n: int) -> None:
    picked = pick(POOL, n, seed=1)
    assert picked.dtype == np.int64
    assert len(set(picked.tolist())) == len(picked) == n
    assert set(picked.tolist()) <= set(range(len(POOL)))
    np.testing.assert_array_equal(picked, pick(POOL, n, seed=1))
    if n == 40:
        assert set(picked.tolist()) != set(pick(POOL, n, seed=2).tolist())


def test_a_shorter_random_pick_is_the_beginning_of_a_longer_one() -> None:
    np.testing.assert_array_equal(pick_random(POOL, 10, seed=3), pick_random(POOL, 50, seed=3)[:10])


@pytest.mark.parametrize("pick", [pick_random, pick_per_size])
def test_each_molecule_of_a_size_has_the_same_chance(pick) -> None:
    draws = np.concatenate([pick(POOL, 21, seed=seed) for seed in range(400)])
    of_c10 = np.bincount(draws, minlength=len(POOL))[POOL.sizes == 10]
    expected = of_c10.sum() / 75
    chi_square = float(((of_c10 - expected) ** 2 / expected).sum())
    assert 40 < chi_square < 115  # 74 degrees of freedom: 0.1 % to either side; the seeds are fixed


def test_sizes_get_equal_shares_and_small_ones_give_theirs_to_the_others() -> None:
    picked = pick_per_size(POOL, 40, seed=0)
    assert Counter(POOL.sizes[picked].tolist()) == {4: 2, 5: 3, 6: 5, 7: 7, 8: 7, 9: 8, 10: 8}
    assert (np.diff(POOL.sizes[picked]) >= 0).all()


@pytest.mark.parametrize(
    ("n", "shares"), [(2, [0, 0, 1, 1]), (4, [1, 1, 1, 1]), (13, [2, 3, 4, 4]), (49, [2, 3, 9, 35])]
)
def test_shares_by_hand(n: int, shares: list[int]) -> None:
    assert equal_shares(np.array([2, 3, 9, 35]), n).tolist() == shares
