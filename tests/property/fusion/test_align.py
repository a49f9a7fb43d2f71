from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from modicum.fusion.align import align

# Few distinct times, so that ends meet, frames nest and some have no length.
TIMES = st.integers(0, 12).map(lambda tenth: tenth / 10)
INTERVALS = st.lists(st.tuples(TIMES, TIMES).map(sorted), max_size=12).map(lambda rows: np.array(rows).reshape(-1, 2))


def brute_force(intervals, features, reference):
    values, counts = np.zeros((len(reference), features.shape[1])), []
    for place, (begin, end) in enumerate(reference):
        rows = [
            features[row]
            for row, (a, b) in enumerate(intervals)
            if (a < end and b > begin) or (a == b and begin <= a < end)
        ]
        counts.append(len(rows))
        if rows:
            values[place] = np.mean(rows, axis=0, dtype=np.float64)
    return values, np.array(counts, dtype=np.int64)


@settings(deadline=None, max_examples=200)
@given(INTERVALS, INTERVALS, st.integers(0, 2**32 - 1))
def test_running_sums_equal_a_loop_over_words_and_frames(intervals, reference, seed):  # CUBEMLP-C11
    features = np.random.default_rng(seed).normal(5, 100, (len(intervals), 3)).astype(np.float32)
    aligned = align(intervals, features, reference)
    values, counts = brute_force(intervals, features, reference)
    assert aligned.counts.tolist() == counts.tolist()
    np.testing.assert_allclose(aligned.values, values.astype(np.float32), rtol=2e-7, atol=1e-10)


@settings(deadline=None, max_examples=50)
@given(INTERVALS, INTERVALS, st.integers(0, 2**32 - 1))
def test_the_order_of_the_frames_does_not_matter(intervals, reference, seed):
    rng = np.random.default_rng(seed)
    features, order = rng.normal(size=(len(intervals), 2)), rng.permutation(len(intervals))
    first, second = align(intervals, features, reference), align(intervals[order], features[order], reference)
    assert first.counts.tolist() == second.counts.tolist()
    np.testing.assert_allclose(first.values, second.values, rtol=2e-7, atol=1e-10)
