"""Error rates in the words of ISO/IEC 30107-3, against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from modicum.errors import DataError
from modicum.liveness.metrics import eer_threshold, pad_metrics


def drawn(seed: int = 0, count: int = 200, shift: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """Scores far outside of 0 to 1, bona fide ones higher."""
    draws = np.random.default_rng(seed)
    labels = np.repeat([1, 0], count)
    return 1000 * (draws.normal(size=2 * count) + shift * labels) - 5000, labels


def test_three_attacks_of_ten_pass_and_nobody_is_refused() -> None:
    """FGHV-C8: APCER .3, BPCER 0, ACER .15, HTER .15."""
    scores = np.r_[np.full(10, 0.9), np.full(7, 0.1), np.full(3, 0.8)]
    found = pad_metrics(scores, np.repeat([1, 0], 10), threshold=0.5)
    assert found.apcer == {"attack": pytest.approx(0.3)}
    assert (found.apcer_max, found.bpcer, found.acer, found.hter) == pytest.approx((0.3, 0, 0.15, 0.15))
    assert (found.auc, found.eer, found.hter_oracle) == (1, 0, 0)


# FGHV-C8, the polarity: both errors, with labels or scores turned.
@pytest.mark.parametrize(
    ("scores", "labels", "apcer", "bpcer", "auc"),
    [
        ([1, 1, 0, 0], [1, 1, 0, 0], 0, 0, 1),
        ([0, 0, 1, 1], [1, 1, 0, 0], 1, 1, 0),
        ([1, 1, 0, 0], [0, 0, 1, 1], 1, 1, 0),
        ([1, 0, 0, 0], [1, 1, 0, 0], 0, 0.5, 0.75),
        ([1, 1, 1, 0], [1, 1, 0, 0], 0.5, 0, 0.75),
        ([0.5, 0.5, 0.5, 0.5], [1, 1, 0, 0], 1, 0, 0.5),  # at the threshold is bona fide
    ],
)
def test_polarity(scores: list[float], labels: list[int], apcer: float, bpcer: float, auc: float) -> None:
    found = pad_metrics(scores, labels, threshold=0.5)
    assert (found.apcer_max, found.bpcer, found.auc) == (apcer, bpcer, auc)


def test_random_scores_against_scikit_learn_and_by_counting() -> None:
    scores, labels = drawn()
    threshold = float(np.median(scores))
    found = pad_metrics(scores, labels, threshold=threshold)
    assert found.auc == roc_auc_score(labels, scores)
    assert found.bpcer == np.mean(scores[labels == 1] < threshold)
    assert found.apcer_max == np.mean(scores[labels == 0] >= threshold)
    steps = [(np.mean(scores[labels == 0] >= t), np.mean(scores[labels == 1] < t)) for t in scores]
    assert found.eer == pytest.approx(np.mean(min(steps, key=lambda pair: abs(pair[0] - pair[1]))))
    for part, value in ((10, found.bpcer10), (20, found.bpcer20), (100, found.bpcer100)):
        assert value == pytest.approx(min(bpcer for apcer, bpcer in steps if apcer <= 1 / part + 1e-9))
    assert found.bpcer10 <= found.bpcer20 <= found.bpcer100


def test_scores_of_another_scale_give_the_same() -> None:
    scores, labels = drawn()
    kinds = ["a", "b"] * 200
    one, other = pad_metrics(scores, labels, kinds), pad_metrics(np.exp(scores / 1000), labels, kinds)
    assert one == other
    assert one.bpcer is None
    assert one.apcer is None


def test_the_worst_species_counts_not_the_mean() -> None:
    labels = np.repeat([1, 0], 20)
    scores = np.r_[np.full(20, 2.0), np.full(10, 3.0), np.full(10, 1.0)]
    kinds = ["whatever"] * 20 + ["mask"] * 10 + ["print"] * 10
    found = pad_metrics(scores, labels, kinds, threshold=1.5)
    assert found.apcer == {"mask": 1, "print": 0}
    assert (found.apcer_max, found.acer, found.hter) == (1, 0.5, 0.25)
    assert found.bpcer10 == 1  # to stop the masks, everybody is refused
    assert found.counts == {"bona_fide": 20, "mask": 10, "print": 10}


def test_a_threshold_of_equal_errors_lies_between_scores() -> None:
    labels = np.array([1, 1, 0, 0])
    assert eer_threshold([3, 2, 1, 0], labels) == 1.5
    scores, labels = drawn()
    threshold = eer_threshold(scores, labels)
    found = pad_metrics(scores, labels, threshold=threshold)
    assert found.hter == found.hter_oracle == pytest.approx(found.eer)
    assert abs((found.apcer_max or 0) - (found.bpcer or 0)) <= 1 / 200
    assert np.isfinite(eer_threshold([0, 0, 1, 1], [1, 1, 0, 0]))  # the wrong way round


def test_a_source_threshold_is_no_oracle() -> None:
    source, labels = drawn(0)
    target, _ = drawn(1)
    found = pad_metrics(target + 1000, labels, threshold=eer_threshold(source, labels))
    assert found.hter is not None
    assert found.hter > found.hter_oracle


def test_a_photo_without_a_score_is_refused_and_counted() -> None:
    scores = np.array([1, np.nan, 1, 1, np.nan, 0, 0, 1])
    found = pad_metrics(scores, np.repeat([1, 0], 4), threshold=0.5)
    assert (found.bpcer, found.apcer_max, found.bpnrr, found.apnrr) == (0.25, 0.25, 0.25, 0.25)
    assert found.auc == pytest.approx(roc_auc_score(np.repeat([1, 0], 4), [1, -9, 1, 1, -9, 0, 0, 1]))


def test_intervals_of_photos_that_are_independent_are_exact() -> None:
    scores, labels = drawn()
    found = pad_metrics(scores, labels, threshold=-4500)
    errors = int(np.sum(scores[labels == 1] < -4500))
    exact = stats.binomtest(errors, 200).proportion_ci(method="exact")
    assert found.intervals["bpcer"] == pytest.approx((exact.low, exact.high))
    assert set(found.intervals) == {"apcer attack", "apcer_max", "bpcer"}


def test_intervals_by_subject_are_wider_where_photos_of_one_person_are_alike() -> None:
    draws = np.random.default_rng(0)
    person = np.tile(np.arange(20), 20)
    labels = np.repeat([1, 0], 200)
    scores = labels + draws.normal(size=20)[person] + 0.1 * draws.normal(size=400)
    kinds = ["a", "b"] * 200
    subjects = [str(each) for each in person]
    found = pad_metrics(scores, labels, kinds, 0.5, subjects)
    apart = pad_metrics(scores, labels, kinds, 0.5)
    wide, narrow = (np.ptp(each.intervals["bpcer"]) for each in (found, apart))
    assert wide > 2 * narrow
    assert set(found.intervals) == {"apcer a", "apcer b", "apcer_max", "bpcer", "acer", "hter", "auc"}
    for name in ("bpcer", "apcer_max", "acer", "hter", "auc"):
        low, high = found.intervals[name]
        assert low < getattr(found, name) < high
    # The same, drawn by hand.
    rates = np.array([np.mean(scores[(labels == 1) & (person == each)] < 0.5) for each in range(20)])
    means = [rates[draws.integers(0, 20, 20)].mean() for _ in range(4000)]
    np.testing.assert_allclose(found.intervals["bpcer"], np.quantile(means, (0.025, 0.975)), atol=0.06)


def test_no_error_of_ten_persons_is_not_shown_as_certain() -> None:
    scores, labels = np.repeat([1.0, 0.0], 50), np.repeat([1, 0], 50)
    found = pad_metrics(scores, labels, threshold=0.5, subjects=[str(row % 10) for row in range(100)])
    exact = stats.binomtest(0, 10).proportion_ci(method="exact").high
    assert found.bpcer == 0
    assert found.intervals["bpcer"] == (0, pytest.approx(exact))
    assert found.intervals["auc"] == (pytest.approx(1 - exact), 1)


def test_five_persons_have_no_interval() -> None:
    scores, labels = np.random.default_rng(0).normal(size=60), np.repeat([1, 0], 30)
    for people, keys in ((5, 0), (6, 6)):
        found = pad_metrics(scores, labels, threshold=0.0, subjects=[str(row % people) for row in range(60)])
        assert len(found.intervals) == keys


@pytest.mark.parametrize(
    ("scores", "labels", "more", "words"),
    [
        ([1, 2], [1, 1], {}, "both labels"),
        ([1, 2, 3], [1, 0], {}, r"scores of shape \[3\]"),
        ([1, 2], [1, -1], {}, "0 or 1"),
        ([1, np.inf], [1, 0], {}, "finite"),
        ([1, 2], [1, 0], {"threshold": float("nan")}, "finite"),
        ([1, 2], [1, 0], {"species": ["a"]}, "1 species"),
        ([1, 2], [1, 0], {"subjects": ["a"]}, "1 subjects"),
    ],
)
def test_what_does_not_fit_is_refused(scores: list[float], labels: list[int], more: dict, words: str) -> None:
    with pytest.raises(DataError, match=words):
        pad_metrics(scores, labels, **more)
