from __future__ import annotations

from typing import Any

import numpy as np
from sktime.datasets import load_basic_motions

from modicum.fusion.readers import read_motions


def test_basic_motions_are_two_streams_of_three_axes():
    splits = read_motions()
    for split, recordings in splits.items():
        assert len(recordings) == 40
        assert {name: stream.size for name, stream in recordings.streams.items()} == {
            "accelerometer": 3,
            "gyroscope": 3,
        }
        assert all((stream.lengths == 100).all() for stream in recordings.streams.values())
        assert recordings.classes == ("badminton", "running", "standing", "walking")
        assert recordings.labels is not None
        assert np.bincount(recordings.labels).tolist() == [10] * 4
        assert recordings.ids[3] == f"{split}[3]"


def test_frames_are_the_time_steps_of_sktime():
    loaded: Any = load_basic_motions("test", return_type="numpy3d")
    series, names = loaded
    test = read_motions()["test"]
    np.testing.assert_array_equal(test.streams["gyroscope"][7][20], series[7, 3:, 20].astype(np.float32))
    assert test.labels is not None
    assert [test.classes[label] for label in test.labels] == list(names)
