"""Scaling by the training split."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from modicum.core.seeding import numpy_generator
from modicum.errors import DataError
from modicum.fusion import Ragged, Recordings
from modicum.fusion.batches import Scaling


def recordings(samples: list[np.ndarray], size: int = 2) -> Recordings:
    ids = tuple(f"clip[{place}]" for place in range(len(samples)))
    return Recordings(ids=ids, streams={"audio": Ragged.of(samples, size)})


@pytest.fixture(name="train")
def _train() -> Recordings:
    draw = numpy_generator(0, "frames")
    return recordings([3 + 5 * draw.normal(size=(frames, 2)) for frames in (4, 0, 9)])


def test_the_training_frames_have_mean_0_and_deviation_1(train: Recordings) -> None:
    scaled = Scaling.fit(train).apply(train).streams["audio"]
    assert scaled.values.mean(axis=0) == pytest.approx(np.zeros(2), abs=1e-6)
    assert scaled.values.std(axis=0) == pytest.approx(np.ones(2), abs=1e-6)
    assert scaled.lengths.tolist() == [4, 0, 9]
    assert scaled.values.dtype == np.float32


def test_other_splits_do_not_count(train: Recordings) -> None:
    test = recordings([np.full((3, 2), 100.0)])
    scaling = Scaling.fit(train)
    frames = train.streams["audio"].values
    expected = (100.0 - frames.mean(axis=0)) / frames.std(axis=0)
    assert scaling.apply(test).streams["audio"][0] == pytest.approx(np.tile(expected, (3, 1)), rel=1e-5)


def test_a_constant_feature_is_0_everywhere() -> None:
    constant = np.array([[0.1, 1.0], [0.1, 2.0], [0.1, 4.0]])  # the mean of three 0.1 is not 0.1
    scaling = Scaling.fit(recordings([constant]))
    assert scaling.deviations["audio"][0] == 0
    unseen = scaling.apply(recordings([np.array([[7.0, 1.0]])])).streams["audio"].values
    assert unseen[0, 0] == 0
    assert unseen[0, 1] != 0


def test_json_keeps_every_bit(train: Recordings) -> None:
    scaling = Scaling.fit(train)
    again = Scaling(**json.loads(json.dumps(asdict(scaling))))
    assert np.array_equal(again.mean("audio"), scaling.mean("audio"))
    assert np.array_equal(again.factors("audio"), scaling.factors("audio"))
    assert again.mean("audio").dtype == np.float32


def test_what_was_never_seen_is_refused() -> None:
    with pytest.raises(DataError, match="No sample of the training split has a frame of audio"):
        Scaling.fit(recordings([np.zeros((0, 2))]))
