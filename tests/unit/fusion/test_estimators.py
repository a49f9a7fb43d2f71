"""The estimators against what scikit-learn expects of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import Pipeline
from tests.unit.fusion.made_up import recordings

from modicum.core.seeding import numpy_generator
from modicum.errors import ConfigError, DataError
from modicum.fusion import Recordings
from modicum.fusion.estimators import CubeMLPClassifier, CubeMLPRegressor, to_recordings

SMALL: dict[str, Any] = {"channels": 8, "encoder": "linear", "batch": 16}
LEARNING: dict[str, Any] = {"batch": 16, "epochs": 12, "encoder": "linear"}


def arrays(count: int, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    draw = numpy_generator(seed, "arrays")
    y = draw.normal(size=count)
    sizes = {"accelerometer": 3, "gyroscope": 2}
    return {name: y[:, None, None] + 0.4 * draw.normal(size=(count, 6, size)) for name, size in sizes.items()}, y


def test_targets_of_any_unit_are_learnt() -> None:
    (X, y), (test, truth) = arrays(64), arrays(40, seed=1)
    model = CubeMLPRegressor(**LEARNING).fit(X, 500 + 1000 * y)
    assert model.score(test, 500 + 1000 * truth) > 0.5
    assert model.score(test, 500 + 1000 * truth) == r2_score(500 + 1000 * truth, model.predict(test))


@pytest.mark.parametrize("device", ["abacus", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:  # case 16
    with pytest.raises(ConfigError, match=f"torch cannot use the device '{device}'"):
        CubeMLPRegressor(**SMALL, device=device).fit(*arrays(24))


def test_scikit_learn_splits_recordings() -> None:
    X, y = arrays(24)
    given = Recordings.from_arrays(X, lengths={"gyroscope": np.arange(24) % 7}, groups=np.arange(24) // 2)
    model = CubeMLPRegressor(**SMALL, epochs=1)
    (train, test), *_ = folds = list(KFold(2).split(y))
    strict: Any = {"error_score": "raise"}  # which the stubs of scikit-learn take for a float
    scores, fresh = cross_val_score(model, given, y, cv=folds), cast("CubeMLPRegressor", clone(model))
    assert scores[0] == fresh.fit(given.take(train), y[train]).score(given.take(test), y[test])
    search = GridSearchCV(Pipeline([("model", model)]), {"model__channels": [4, 8]}, cv=2, **strict)
    assert search.fit(given, y).predict(given[[0, 3]]).shape == (2,)
    named = CubeMLPClassifier(**SMALL, epochs=1)
    assert len(cross_val_score(named, given, y > 0, cv=2, scoring="accuracy", **strict)) == 2


def test_recordings_are_indexed_as_arrays_are_and_print_in_a_line() -> None:
    given = recordings(8, words=True)
    assert given[2].ids == given.ids[2:3]
    assert given[:2].ids == given.ids[:2]
    assert given[np.arange(8) > 5].streams["audio"].lengths.tolist() == given.streams["audio"].lengths[6:].tolist()
    assert given.shape == (8, 2)
    assert repr(given) == "Recordings(8 samples: audio of 3 values, video of 2 values, words; labels)"


def test_several_targets_and_one_that_never_changes() -> None:
    X, y = arrays(24)
    targets = np.stack([y, -2 * y, np.full(24, 3.0)], axis=1)
    model = CubeMLPRegressor(**SMALL, epochs=2).fit(X, targets)
    assert model.predict(X).shape == (24, 3)
    assert model.std_[2] == 1


def test_classes_of_any_name_are_learnt() -> None:
    (X, y), (test, truth) = arrays(64), arrays(40, seed=1)
    names = np.where(y > 0, "walk", "rest")
    model = CubeMLPClassifier(**LEARNING).fit(X, names)
    assert model.classes_.tolist() == ["rest", "walk"]
    assert model.score(test, np.where(truth > 0, "walk", "rest")) > 0.75  # half of them by guessing
    probabilities = model.predict_proba(test)
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(40), abs=1e-6)
    assert (model.predict(test) == model.classes_[probabilities.argmax(axis=1)]).all()


def test_what_lies_behind_a_length_changes_nothing() -> None:
    X, y = arrays(24)
    lengths = {"gyroscope": numpy_generator(0, "lengths").integers(0, 7, size=24)}
    model = CubeMLPRegressor(**SMALL, epochs=2).fit(X, y, lengths=lengths)
    behind = np.arange(6) >= lengths["gyroscope"][:, None]
    filled = {**X, "gyroscope": np.where(behind[..., None], np.nan, X["gyroscope"])}
    assert np.array_equal(model.predict(X, lengths=lengths), model.predict(filled, lengths=lengths))


def test_recordings_are_taken_as_they_are() -> None:
    drawn = recordings(24, words=True)
    model = CubeMLPRegressor(**SMALL, epochs=2).fit(drawn)
    assert np.array_equal(model.predict(drawn), model.predict(replace(drawn, words=None)))
    classes = recordings(24, classes=2)
    classifier = CubeMLPClassifier(**SMALL, epochs=2).fit(classes)
    assert classifier.score(classes) == np.mean(classifier.predict(classes) == classes.labels)


def test_groups_stay_whole() -> None:
    X, y = arrays(24)
    with pytest.raises(DataError, match="of 1 group"):
        CubeMLPRegressor(**SMALL, epochs=2).fit(X, y, groups=np.zeros(24))


def test_a_clone_repeats_to_the_bit() -> None:
    X, y = arrays(24)
    model = CubeMLPRegressor(**SMALL, epochs=2, seed=3).fit(X, y)
    again: Any = clone(model)
    assert again.get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        again.predict(X)
    assert np.array_equal(again.fit(X, y).predict(X), model.predict(X))
    other: Any = clone(model)
    other.set_params(seed=4).fit(X, y)
    assert not np.array_equal(other.predict(X), model.predict(X))


@pytest.mark.parametrize(
    ("streams", "lengths", "message"),
    [
        ({"audio": np.zeros((4, 3))}, None, r"shape \(4, 3\), expected \(n, frames, size\)"),
        ({"audio": np.zeros((4, 3, 2))}, {"audio": [1, 2, 3, 4]}, "4 integers from 0 to 3"),
        ({"audio": np.zeros((4, 3, 2))}, {"audio": [1, 2, 3]}, "4 integers"),
        ({"audio": np.zeros((4, 3, 2))}, {"audio": [0.5, 1, 1, 1]}, "4 integers"),
        ({"audio": np.zeros((4, 3, 2))}, {"video": [1, 1, 1, 1]}, "lengths of video, but the streams are audio"),
        ({"audio": np.zeros((4, 3, 2)), "video": np.zeros((3, 3, 2))}, None, "4 samples, but video has 3"),
        (recordings(3), {"audio": [1, 1, 1]}, "of their own"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(streams: Any, lengths: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        to_recordings(streams, lengths=lengths)


@pytest.mark.parametrize(
    "labels", [np.array(["a", "b", "c", "a"]), ["0", "1", "0", "1"], [None, "b", 1, 2.0], [[1], []]]
)
def test_labels_that_are_no_numbers_are_refused_with_how_classes_are_given(labels: Any) -> None:
    streams = {"audio": np.zeros((4, 3, 2))}
    with pytest.raises(DataError, match="labels should be an numeric array") as told:
        Recordings.from_arrays(streams, labels=labels)
    assert "classes as integers" in told.value.hint
    with pytest.raises(DataError, match="The stream 'audio' should be an numeric array"):
        Recordings.from_arrays({"audio": [[["loud"]]]})
    found = [Recordings.from_arrays(streams, labels=it).labels for it in ([0, 1, 2, 0], [0, 0.5, 1, 2])]
    assert [it.dtype for it in found if it is not None] == [np.int64, np.float32]


def test_labels_that_do_not_fit_are_refused() -> None:
    X, y = arrays(24)
    with pytest.raises(DataError, match=r"24 samples, and the labels have the shape \(23,\)"):
        CubeMLPRegressor(**SMALL).fit(X, y[1:])
    with pytest.raises(DataError, match=r"shape \(\)"):
        CubeMLPRegressor(**SMALL).fit(X)
    with pytest.raises(DataError, match="All samples are of the class"):
        CubeMLPClassifier(**SMALL).fit(X, np.ones(24))
    named = np.where(y > 0, "walk", "rest").astype(object)
    for kind, labels, value in (
        (CubeMLPRegressor, y, np.nan),
        (CubeMLPRegressor, np.stack([y, y], axis=1), np.inf),
        (CubeMLPClassifier, (y > 0).astype(float), np.nan),
        (CubeMLPClassifier, named, np.nan),
        (CubeMLPClassifier, named, None),
    ):
        wrong = labels.copy()
        wrong[3] = value
        with pytest.raises(DataError, match=r"The label of row 3 is .*(nan|inf)"):
            kind(**SMALL).fit(X, wrong)


def test_labels_in_a_column_are_those_in_a_row() -> None:
    X, y = arrays(24)
    for kind, labels in ((CubeMLPRegressor, y), (CubeMLPClassifier, y > 0)):
        models = [kind(**SMALL, epochs=1).fit(X, each) for each in (labels, labels[:, None])]
        found, wanted = (model.predict(X) for model in models)
        assert np.array_equal(found, wanted)
