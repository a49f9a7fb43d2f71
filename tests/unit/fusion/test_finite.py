from __future__ import annotations

import numpy as np

from modicum.fusion.readers.common import finished
from modicum.fusion.recordings import Ragged, make_finite

BAD = [[np.nan, 1.0], [-np.inf, 2.0]], [[np.nan, np.inf]], [[3.0, 4.0]]


def test_values_that_are_not_finite_become_zero_and_are_counted():
    clean, count = make_finite(Ragged.of(BAD, 2))
    assert clean[0].tolist() == [[0.0, 1.0], [0.0, 2.0]]
    assert clean[2].tolist() == [[3.0, 4.0]]
    assert count == 4


def test_a_stream_without_a_finite_value_in_a_sample_is_absent_there():
    assert make_finite(Ragged.of(BAD, 2))[0].lengths.tolist() == [2, 0, 1]


def test_a_finite_stream_is_left_as_it_is():
    given = Ragged.of([[[1.0]], [[2.0]], [[3.0]]], 1)
    assert make_finite(given)[0] is given


def test_counts_of_the_file_are_kept():
    streams = {"audio": Ragged.of(BAD, 2), "video": Ragged.of([[[1.0]], [[2.0]], [[3.0]]], 1)}
    assert finished("a", lambda _: None, ids=("a", "b", "c"), streams=streams, replaced={"audio": 5}).replaced == {
        "audio": 9
    }
