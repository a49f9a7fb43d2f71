from __future__ import annotations

import numpy as np

from modicum.fusion.finite import make_finite
from modicum.fusion.recordings import Ragged, Recordings

BAD = [[np.nan, 1.0], [-np.inf, 2.0]], [[np.nan, np.inf]], [[3.0, 4.0]]


def recordings(**given):
    streams = {"audio": Ragged.of(BAD, 2), "video": Ragged.of([[[1.0]], [[2.0]], [[3.0]]], 1)}
    return Recordings(ids=("a", "b", "c"), streams=streams, **given)


def test_values_that_are_not_finite_become_zero_and_are_counted():
    clean = make_finite(recordings())
    assert clean.streams["audio"][0].tolist() == [[0.0, 1.0], [0.0, 2.0]]
    assert clean.streams["audio"][2].tolist() == [[3.0, 4.0]]
    assert clean.replaced == {"audio": 4}


def test_a_stream_without_a_finite_value_in_a_sample_is_absent_there():
    assert make_finite(recordings()).streams["audio"].lengths.tolist() == [2, 0, 1]


def test_a_finite_stream_is_left_as_it_is():
    given = recordings()
    assert make_finite(given).streams["video"] is given.streams["video"]


def test_counts_of_the_file_are_kept():
    once = make_finite(recordings(replaced={"audio": 5}))
    assert once.replaced == {"audio": 9}
    assert make_finite(once).replaced == {"audio": 9}
