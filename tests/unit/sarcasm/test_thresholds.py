"""Thresholds against a search over every cut."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from modicum.errors import ConfigError
from modicum.sarcasm.decisions import (
    best_threshold,
    expected_f1_threshold,
    guarded_thresholds,
    top_share_threshold,
)


@pytest.mark.parametrize("seed", range(20))
def test_no_cut_has_a_higher_f1_and_no_higher_cut_the_same(seed: int) -> None:
    generator = np.random.default_rng(seed)
    chances = generator.integers(0, 25, size=60) / 25  # many are equal
    labels = (generator.random(60) < 0.3).astype(int)
    labels[0] = 1
    found = best_threshold(chances, labels)
    scores = {cut: float(f1_score(labels, chances >= cut)) for cut in np.unique(chances)}
    assert found == max(scores, key=lambda cut: (round(scores[cut], 12), cut))


def test_ties_go_to_the_highest_threshold() -> None:
    # One hit of one kept, 2 * 1 / (1 + 2), and two of four, 2 * 2 / (4 + 2), are both 2/3.
    chances, labels = np.array([0.9, 0.8, 0.7, 0.6]), np.array([1, 0, 0, 1])
    assert best_threshold(chances, labels) == 0.9


def test_expected_threshold_is_half_of_the_best_expected_f1() -> None:
    chances = np.random.default_rng(1).beta(1.0, 3.0, size=20000)
    cuts = np.sort(chances)
    hits = np.cumsum(cuts[::-1])[::-1]
    scores = 2 * hits / (np.arange(len(cuts), 0, -1) + chances.sum())
    assert expected_f1_threshold(chances) == pytest.approx(scores.max() / 2, abs=1e-3)


def test_expected_threshold_is_close_to_the_best_where_probabilities_are_true() -> None:
    generator = np.random.default_rng(2)
    chances = generator.beta(1.0, 3.0, size=20000)
    labels = generator.random(20000) < chances
    best = f1_score(labels, chances >= best_threshold(chances, labels))
    assert (
        f1_score(labels, chances >= expected_f1_threshold(chances)) >= best - 0.01
    )  # with 5,000 positives, the labels move F1 by .005


def test_top_share_is_reached_by_that_share() -> None:
    chances = np.random.default_rng(3).random(400)
    assert (chances >= top_share_threshold(chances, 0.25)).sum() == 100
    assert top_share_threshold(np.array([0.1, 0.4, 0.4, 0.2]), 0.25) == 0.4


def test_top_share_of_too_few_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"highest 25\.0% of 1 texts"):
        top_share_threshold(np.array([0.9]), 0.25)
    with pytest.raises(ConfigError, match="cannot be labelled"):
        top_share_threshold(np.array([0.9, 0.1]), 1.5)


def test_rare_labels_are_drawn_to_the_common_threshold() -> None:
    generator = np.random.default_rng(4)
    labels = np.zeros((200, 3))
    labels[:60, 0], labels[60:65, 1] = 1, 1
    chances = np.clip(labels * 0.3 + generator.random((200, 3)) * 0.5, 0, 1)
    frequent, rare, absent = guarded_thresholds(chances, labels)
    common = best_threshold(chances.ravel(), labels.ravel())
    own = best_threshold(chances[:, 1], labels[:, 1])
    assert frequent == best_threshold(chances[:, 0], labels[:, 0])
    assert rare == pytest.approx(0.25 * own + 0.75 * common, rel=1e-12)
    assert absent == common
