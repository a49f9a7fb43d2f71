"""What an active selection must beat: molecules at random, and equally many of each size."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
import numpy.typing as npt

from modicum.core.seeding import numpy_generator
from modicum.core.splits import shuffled
from modicum.errors import ConfigError
from modicum.molecules.pool import Pool

IntArray = npt.NDArray[np.int64]


def pick_random(pool: Pool, n: int, *, seed: int) -> IntArray:
    """Pick molecules at random, each subset with equal chance."""
    _check(n, len(pool))
    return shuffled(len(pool), seed, "random pick", count=n)


def pick_per_size(pool: Pool, n: int, *, seed: int) -> IntArray:
    """Pick equally many molecules of each heavy-atom count, at random within each."""
    _check(n, len(pool))
    sizes, counts = np.unique(pool.sizes, return_counts=True)
    random = numpy_generator(seed, "pick per size")
    shares = zip(sizes, equal_shares(counts, n), strict=True)
    return np.concatenate([random.permutation(np.flatnonzero(pool.sizes == size))[:share] for size, share in shares])


def equal_shares(counts: IntArray, n: int) -> IntArray:
    """Deal n picks over groups as evenly as their sizes let."""
    # All groups get the same share, a group that is smaller gives the rest of it to the others, and what is left after
    # that, fewer than there are groups, goes one each to the last groups that still have some.
    level = bisect_right(range(n + 1), n, key=lambda share: int(np.minimum(counts, share).sum())) - 1
    shares = np.minimum(counts, level)
    unfilled = np.flatnonzero(counts > level)
    shares[unfilled[len(unfilled) - (n - shares.sum()) :]] += 1
    return shares


def _check(n: int, there: int) -> None:
    if not 1 <= n <= there:
        raise ConfigError(
            f"A pool of {there:,} molecules gives 1 to {there:,} of them, got {n:,}.", hint="Ask for fewer, or for one."
        )
