from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from modicum.molecules.comparison import equal_shares


def dealt(counts: list[int], n: int) -> list[int]:
    """Deal one at a time: to the poorest group that still has some, to the last of several."""
    shares = [0] * len(counts)
    for _ in range(n):
        _, place = min((share, -place) for place, share in enumerate(shares) if share < counts[place])
        shares[-place] += 1
    return shares


@given(st.lists(st.integers(1, 12), min_size=1, max_size=8), st.data())
def test_shares_are_those_of_dealing_one_at_a_time(counts: list[int], data: st.DataObject) -> None:
    n = data.draw(st.integers(0, sum(counts)))
    assert equal_shares(np.array(counts), n).tolist() == dealt(counts, n)
