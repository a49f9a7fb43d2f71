"""The linear control of the comparison."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from modicum.core.seeding import numpy_generator
from modicum.fusion import Ragged, Recordings
from modicum.fusion.comparison import Problem
from modicum.fusion.comparison.linear import PENALTIES, Linear, frames_in_order
from modicum.fusion.comparison.problem import score

ALL = np.ones((60, 2), dtype=np.bool_)


def drawn(seed: int, kind: str) -> Recordings:
    """Draw three frames of audio and two of video, from which labels follow."""
    draw = numpy_generator(seed, "linear")
    audio, video = draw.normal(2, 3, size=(60, 3, 2)), draw.normal(size=(60, 2, 1))
    target = audio[:, 1, 0] - 2 * video[:, 0, 0] + 0.3 * draw.normal(size=60)
    labels: dict[str, Any] = {
        "classes": np.digitize(target, [0, 4]),
        "estimates": target,
        "several": np.stack([target, audio[:, 0, 1]], axis=1),
    }
    return Recordings.from_arrays({"audio": audio, "video": video}, labels=labels[kind])


def posed(kind: str) -> Problem:
    return Problem(train=drawn(0, kind), valid=drawn(1, kind), test=drawn(2, kind))


def columns(recordings: Recordings, train: Recordings) -> np.ndarray:
    """All frames side by side, each feature with mean 0 and std 1 in the frames of training."""
    streams = zip(recordings.streams.values(), train.streams.values(), strict=True)
    scaled = [(stream.values - known.values.mean(0)) / known.values.std(0) for stream, known in streams]
    return np.concatenate([values.reshape(60, -1) for values in scaled], axis=1)


@pytest.mark.parametrize(("kind", "size"), [("classes", 3 * 9), ("estimates", 9), ("several", 2 * 9)])
def test_it_is_the_regression_of_scikit_learn_that_is_best_on_validation(kind: str, size: int) -> None:
    problem = posed(kind)
    x, y = columns(problem.train, problem.train), np.asarray(problem.train.labels)
    make: Any = (lambda it: LogisticRegression(C=1 / it)) if kind == "classes" else Ridge
    models = [make(penalty).fit(x, y) for penalty in PENALTIES]
    answers = [
        [model.predict_proba(rows) if kind == "classes" else model.predict(rows) for model in models]
        for rows in (columns(problem.valid, problem.train), columns(problem.test, problem.train))
    ]
    best = int(np.argmax([score(problem.valid, answer) for answer in answers[0]]))
    found = Linear(problem)
    assert found.predict(problem.test, ALL) == pytest.approx(answers[1][best], abs=1e-3)
    assert found.parameters == size
    assert score(problem.test, found.predict(problem.test, ALL)) > 0.6


@pytest.mark.parametrize("kind", ["classes", "estimates"])
def test_a_stream_that_is_not_present_is_as_its_mean(kind: str) -> None:
    problem = posed(kind)
    audio, video = problem.test.streams.values()
    mean = problem.train.streams["video"].values.mean(0)
    usual = Ragged(values=np.full_like(video.values, mean), lengths=video.lengths)
    found, without = Linear(problem), ALL & [True, False]
    absent = Ragged(values=video.values[:0], lengths=np.zeros(60, np.int64))
    parts = [Recordings(ids=problem.test.ids, streams={"audio": audio, "video": it}) for it in (usual, absent)]
    answers = [found.predict(problem.test, without), *(found.predict(part, ALL) for part in parts)]
    assert answers[1] == pytest.approx(answers[0], abs=1e-5)
    assert np.array_equal(answers[2], answers[0])
    assert not np.allclose(answers[0], found.predict(problem.test, ALL))


def test_a_class_that_no_training_sample_has_is_never_found() -> None:
    problem = posed("classes")
    few = problem.train.take(np.flatnonzero(np.asarray(problem.train.labels) != 1))
    answer = Linear(Problem(train=few, valid=problem.valid, test=problem.test)).predict(problem.test, ALL)
    assert answer.shape == (60, 3)
    assert not answer[:, 1].any()
    assert answer.sum(1) == pytest.approx(1)


def test_frames_are_in_their_order_cropped_or_followed_by_zeros() -> None:
    stream = Ragged.of([[[1, 2], [3, 4], [5, 6]], [], [[7, 8]]], 2)
    assert frames_in_order(stream, 2).tolist() == [[1, 2, 3, 4], [0, 0, 0, 0], [7, 8, 0, 0]]
