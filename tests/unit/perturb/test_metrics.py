from __future__ import annotations

import math

import numpy as np
import pytest

from modicum.perturb.metrics import MetricName, constant_answer, constant_loss, main_score, second_score

LABELS = np.array([1, 1, 1, 0, 0])
GUESSES = np.array([1, 1, 0, 1, 0])  # 2 true positives, 1 false positive, 1 false negative, 1 true negative


@pytest.mark.parametrize(
    ("metric", "score"),
    [("accuracy", 3 / 5), ("f1", 2 / 3), ("matthews", (2 * 1 - 1 * 1) / math.sqrt(3 * 3 * 2 * 2))],
)
def test_scores_of_classes_are_those_of_their_definitions(metric: MetricName, score: float) -> None:
    assert main_score(metric, GUESSES, LABELS) == pytest.approx(score)
    assert second_score(metric, GUESSES, LABELS) == pytest.approx(3 / 5)


def test_pearson_is_of_the_values_and_spearman_of_the_ranks() -> None:
    labels, guesses = np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0, 8.0])
    # covariance 8 over the roots of the squared deviations 2 and 38
    assert main_score("pearson", guesses, labels) == pytest.approx(8 / math.sqrt(2 * 38))
    assert second_score("pearson", guesses, labels) == pytest.approx(1.0)


@pytest.mark.parametrize("metric", ["matthews", "pearson"])
def test_a_constant_answer_has_no_correlation(metric: MetricName) -> None:
    assert main_score(metric, np.ones(5), LABELS) == 0


def test_f1_of_no_positive_at_all_is_0_without_a_warning() -> None:
    assert main_score("f1", np.zeros(3), np.zeros(3)) == 0


def test_the_constant_answer_is_the_commonest_class_or_the_mean_score() -> None:
    assert constant_answer("accuracy", np.array([2, 0, 2, 1])) == 2
    assert constant_answer("pearson", np.array([1.0, 4.0])) == 2.5


def test_the_constant_loss_is_the_entropy_or_the_variance() -> None:
    assert constant_loss("accuracy", np.array([0, 1, 2, 3])) == pytest.approx(math.log(4))
    assert constant_loss("pearson", np.array([1.0, 4.0])) == pytest.approx(2.25)
