"""The detector on real frames of NUAA: decisions, calibration, and what it says of photos that it cannot use."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest

from modicum.core import catalogue
from modicum.errors import ConfigError, DataError, StateError
from modicum.liveness import FGHVConfig, FGHVForLiveness, LivenessDetector
from modicum.liveness.data import Photo, read_photos

pytestmark = pytest.mark.data("nuaa-sample", "models/face-antispoof-onnx")


@pytest.fixture(scope="module")
def photos() -> list[Photo]:
    return read_photos(catalogue.fetch("nuaa-sample"))


def of(photos: list[Photo], label: str, session: str | None = None) -> list[Photo]:
    return [photo for photo in photos if photo.label == label and session in {None, photo.session}]


def some(photos: list[Photo], count: int) -> list[Photo]:
    return photos[:: max(1, len(photos) // count)][:count]


@pytest.fixture(scope="module")
def fitted(photos: list[Photo]) -> LivenessDetector:
    known = [each for label in ("bona_fide", "attack") for each in some(of(photos, label, "1"), 40)]
    return LivenessDetector().fit(known, steps=60)


@pytest.fixture
def detector(fitted: LivenessDetector) -> LivenessDetector:
    return copy.copy(fitted)  # a calibration replaces what it changes


@pytest.fixture
def own(photos: list[Photo]) -> list[Photo]:
    return some(of(photos, "bona_fide", "3"), 24)


def test_faces_are_scored_in_their_order_and_what_shows_none_is_unknown(
    detector: LivenessDetector, photos: list[Photo], tmp_path: Path
) -> None:
    genuine = some(of(photos, "bona_fide", "1"), 4)
    attacks = some(of(photos, "attack", "1"), 4)
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    empty = np.zeros((200, 200, 3), np.uint8)
    results = detector.score([*genuine, tmp_path / "broken.jpg", empty, *attacks])
    assert [result.decision for result in results[4:6]] == ["unknown", "unknown"]
    assert "broken.jpg" in results[4].reason
    assert (results[5].reason, results[5].score) == ("no face", None)
    scores = [result.score for result in (*results[:4], *results[6:]) if result.score is not None]
    assert len(scores) == 8
    assert min(scores[:4]) > max(scores[4:])
    assert all(result.decision != "bona_fide" for result in results[6:])
    alone = detector.score([genuine[0].path])[0]
    assert alone.score == pytest.approx(scores[0], abs=1e-3)
    assert alone.decision == results[0].decision


def test_calibration_says_what_it_assumes_and_what_others_would_have_refused(
    detector: LivenessDetector, own: list[Photo]
) -> None:
    report = detector.calibrate(own)
    assert (report.photos, report.people) == (24, len({photo.subject for photo in own}))
    assert set(report.refused) == {"FGHV", "kNN", "Mahalanobis", "pre-trained network"}
    before = report.refused["pre-trained network"]
    assert (
        f"Of 24 genuine faces, the pre-trained network's own threshold would have refused {before}," in report.sentence
    )
    assert report.level > 0.05, "12 faces allow no p-value below 1/13"
    assert any("allow no lower level" in warning for warning in report.warnings)
    assert len(report.assumptions) == 2
    results = detector.score(own)
    assert sum(result.decision == "bona_fide" for result in results) >= 20
    assert all(0 < result.p_value <= 1 for result in results if result.p_value is not None)


def test_a_calibration_leaves_the_line_between_attacks_and_the_unknown_where_it_was(
    detector: LivenessDetector, photos: list[Photo], own: list[Photo]
) -> None:
    faces = [*some(of(photos, "attack", "1"), 12), *some(of(photos, "bona_fide", "3"), 12)]
    before = detector.score(faces)
    detector.calibrate(own)
    assert all(result.decision != "bona_fide" for result in detector.score(faces)[:12])
    kinds = {(old.decision, new.decision) for old, new in zip(before, detector.score(faces), strict=True)}
    assert kinds & {("attack", "attack"), ("unknown", "unknown")}, "some are refused before and after"
    assert not kinds & {("attack", "unknown"), ("unknown", "attack")}


def test_a_detector_takes_a_model_and_each_fit_starts_anew(photos: list[Photo], tmp_path: Path) -> None:
    known = [each for label in ("bona_fide", "attack") for each in some(of(photos, label, "1"), 40)]
    given = FGHVForLiveness(FGHVConfig(bank_size=64))
    before = copy.deepcopy(given.state_dict())
    detector = LivenessDetector(given)
    first = detector.fit(known, steps=2).score(known[:3])
    detector.save(tmp_path / "saved")
    fresh = LivenessDetector(given.config).fit(known, steps=2).score(known[:3])
    assert LivenessDetector.load(tmp_path / "saved").fit(known, steps=2).score(known[:3]) == fresh
    assert detector.fit(known, steps=2).score(known[:3]) == first
    assert all(value.equal(before[name]) for name, value in given.state_dict().items())


def test_a_saved_detector_decides_as_before_and_can_be_calibrated_again(
    detector: LivenessDetector, own: list[Photo], tmp_path: Path
) -> None:
    first = detector.calibrate(own)
    detector.save(tmp_path / "saved")
    again = LivenessDetector.load(tmp_path / "saved")
    assert again.score(own[:3]) == detector.score(own[:3])
    assert again.calibrate(own) == first


def test_two_cameras_in_one_calibration_are_noticed(
    detector: LivenessDetector, photos: list[Photo], own: list[Photo]
) -> None:
    attacks = some(of(photos, "attack", "3"), 10)
    other = [Photo(photo.path, "bona_fide", "bona_fide", photo.subject, "3", "another camera") for photo in attacks]
    report = detector.calibrate([*own, *other])
    assert any("another camera" in warning and "strange" in warning for warning in report.warnings)


def test_fewer_than_ten_photos_are_refused_and_broken_ones_named(
    detector: LivenessDetector, own: list[Photo], tmp_path: Path
) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.warns(UserWarning, match=r"broken\.png"), pytest.raises(DataError, match="9 of 10 photos show one"):
        detector.calibrate([*own[:9], tmp_path / "broken.png"])
    with pytest.raises(ConfigError, match=r"alpha is 1\.5"):
        detector.calibrate(own, alpha=1.5)


def test_what_is_no_list_of_images_is_refused(detector: LivenessDetector) -> None:
    with pytest.raises(DataError, match=r"'a\.jpg' is one path"):
        detector.score("a.jpg")
    with pytest.raises(DataError, match=r"array of uint8 and shape \(9, 9, 4\)"):
        detector.score([np.zeros((9, 9, 4), np.uint8)])


def test_a_detector_that_was_not_fitted_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="scale is -2"):
        LivenessDetector(scale=-2)
    with pytest.raises(StateError, match="not fitted"):
        LivenessDetector().score([tmp_path / "one.jpg"])
    with pytest.raises(DataError, match="no liveness detector"):
        LivenessDetector.load(tmp_path)
