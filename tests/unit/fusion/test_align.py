from __future__ import annotations

import numpy as np
import pytest

from modicum.errors import DataError
from modicum.fusion.align import align


def test_a_word_has_the_mean_of_its_frames_and_one_without_frames_has_none():
    intervals = [[0.0, 0.1], [0.1, 0.2], [0.2, 0.3]]
    aligned = align(intervals, [[1.0], [2.0], [6.0]], [[0.1, 0.3], [0.15, 0.16], [5.0, 6.0]])
    assert aligned.values.tolist() == [[4.0], [2.0], [0.0]]
    assert aligned.counts.tolist() == [2, 1, 0]
    assert aligned.values.dtype == np.float32


def test_frames_that_do_not_come_in_order_are_sorted():
    aligned = align([[0.2, 0.3], [0.0, 0.1]], [[6.0], [1.0]], [[0.0, 0.1], [0.2, 0.3]])
    assert aligned.values.tolist() == [[1.0], [6.0]]


def test_a_frame_without_a_length_belongs_to_the_interval_that_begins_with_it():
    aligned = align([[1.0, 1.0]], [[3.0]], [[0.0, 1.0], [1.0, 2.0]])
    assert aligned.counts.tolist() == [0, 1]


def test_values_that_are_not_finite_count_as_zero_and_stay_where_they_are():
    aligned = align([[0, 1], [1, 2]], [[np.nan, -np.inf], [4.0, 5.0]], [[0, 1], [1, 2]])
    assert aligned.values.tolist() == [[0.0, 0.0], [4.0, 5.0]]
    assert aligned.replaced == 2


@pytest.mark.parametrize("interval", [[np.nan, 1.0], [0.0, np.inf], [2.0, 1.0]])
def test_an_interval_that_is_none_is_refused(interval):
    with pytest.raises(DataError, match="interval of frame 1 goes from"):
        align([[0.0, 1.0], interval], np.zeros((2, 1)), [[0.0, 1.0]])
    with pytest.raises(DataError, match="interval of reference interval 0 goes from"):
        align([[0.0, 1.0]], np.zeros((1, 1)), [interval])


def test_each_frame_needs_an_interval():
    with pytest.raises(DataError, match="There are 2 intervals for features of shape \\(3, 1\\)"):
        align([[0.0, 1.0], [1.0, 2.0]], np.zeros((3, 1)), [[0.0, 1.0]])
    with pytest.raises(DataError, match="shape \\(2,\\)"):
        align([0.0, 1.0], np.zeros((1, 1)), [[0.0, 1.0]])
