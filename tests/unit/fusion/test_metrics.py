"""The scores, on numbers that can be checked by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torchmetrics.functional import (
    concordance_corrcoef,  # pyright: ignore[reportUnknownVariableType]
    mean_absolute_error,
    pearson_corrcoef,
)

from modicum.core.catalogue import fetch
from modicum.core.seeding import numpy_generator
from modicum.fusion import functional
from modicum.fusion.metrics import (
    class_scores,
    concordance,
    depression_scores,
    pearson,
    sentiment_scores,
)
from modicum.fusion.readers.catalogue import SYSTEMS, read_ces


@pytest.fixture(name="series")
def _series() -> tuple[np.ndarray, np.ndarray]:
    draw = numpy_generator(0, "series")
    truth = draw.normal(size=50)
    return truth, 0.7 * truth + draw.normal(size=50) + 0.3


def test_both_zero_conventions_differ_as_they_are_said_to() -> None:  # CUBEMLP-C8
    scores = sentiment_scores([-1.0, 0.0, 0.0, 2.0], [0.0, 0.1, -0.1, 1.0])
    assert scores["acc2_has0"] == 0.5  # the first is >= 0 and should not be, the third < 0
    assert scores["acc2_non0"] == 1.0  # 0 is not > 0, so the first counts as negative
    assert scores["f1_non0"] == 1.0
    assert scores["f1_has0"] == pytest.approx(0.75 * 2 / 3 + 0.25 * 0)


def test_halves_are_rounded_to_the_even_number() -> None:  # CUBEMLP-C8
    halves = sentiment_scores([2.5, 1.5, 0.5, -0.5], [2.0, 2.0, 0.0, 0.0])
    assert halves["acc7"] == 1.0
    assert sentiment_scores([3.0, -3.0, 2.0], [7.0, -9.0, 3.0])["acc7"] == pytest.approx(2 / 3)
    assert sentiment_scores([3.0, -3.0, 2.0], [7.0, -9.0, 3.0])["acc5"] == 1.0


def test_a_truth_of_zeros_alone_has_no_scores_without_zeros() -> None:
    scores = sentiment_scores([0.0, 0.0], [1.0, -1.0])
    assert "acc2_non0" not in scores
    assert scores["acc2_has0"] == 0.5
    assert scores["pearson"] == 0.0


def test_concordance_in_closed_form(series: tuple[np.ndarray, np.ndarray]) -> None:  # CUBEMLP-C9
    y = series[0] - series[0].mean()
    n, variance = len(y), y.var()
    assert concordance(y, y) == pytest.approx(1)
    assert concordance(y, -y) == pytest.approx(-1)
    assert concordance(y, y + 0.8) == pytest.approx(2 * variance / (2 * variance + 0.8**2))
    assert concordance(y, y, variant="CES") == pytest.approx(1 - 1 / n)
    wider = variance * n / (n - 1)
    assert concordance(y, y + 0.8, variant="CES") == pytest.approx(2 * variance / (2 * wider + 0.8**2))


def test_torchmetrics_agrees(series: tuple[np.ndarray, np.ndarray]) -> None:
    truth, guess = (torch.from_numpy(values) for values in series)
    scores = depression_scores(*series)
    assert scores["mae"] == pytest.approx(mean_absolute_error(guess, truth).item())
    assert scores["pearson"] == pytest.approx(pearson_corrcoef(guess, truth).item())
    # torchmetrics divides covariance and variances alike by n - 1.
    n = len(truth)
    apart = float((truth.mean() - guess.mean()) ** 2)
    var = float(truth.var() + guess.var())
    unbiased = concordance_corrcoef(guess, truth).item() * (var + apart)
    assert scores["ccc"] == pytest.approx(unbiased * (n - 1) / n / (var * (n - 1) / n + apart))
    assert scores["ccc_ces"] == pytest.approx(unbiased * (n - 1) / n / (var + apart))
    assert scores["rmse"] == pytest.approx(np.sqrt(np.mean((series[0] - series[1]) ** 2)))


def test_the_loss_and_the_score_are_one_coefficient(series: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = (torch.from_numpy(values) for values in series)
    assert functional.concordance(first, second).item() == pytest.approx(concordance(*series))


@pytest.mark.parametrize("other", [[2.0, 2.0, 2.0], [1.0, 2.0, 3.0]])
def test_a_constant_series_has_no_correlation(other: list[float]) -> None:
    constant = [0.1, 0.1, 0.1]  # 0.1 * 3 / 3 is not 0.1
    for first, second in ((constant, other), (other, constant)):
        assert pearson(first, second) == 0.0
        assert concordance(first, second) == 0.0
        assert concordance(first, second, variant="CES") == 0.0


def test_one_sample_has_scores() -> None:
    assert depression_scores([4.0], [6.0]) == {"ccc": 0.0, "ccc_ces": 0.0, "mae": 2.0, "rmse": 2.0, "pearson": 0.0}
    assert class_scores([1], [1])["balanced_accuracy"] == 1.0


def test_classes() -> None:
    scores = class_scores([0, 0, 0, 1], [0, 0, 2, 1])
    assert scores["accuracy"] == 0.75
    assert scores["balanced_accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    assert scores["f1_macro"] == pytest.approx((0.8 + 1 + 0) / 3)
    assert scores["f1_weighted"] == pytest.approx(0.75 * 0.8 + 0.25)


def test_pearson_is_scipys(series: tuple[np.ndarray, np.ndarray]) -> None:
    assert pearson(*series) == stats.pearsonr(*series).statistic


@pytest.mark.data("avec2019-ces")
def test_the_published_values_of_avec_are_reproduced() -> None:  # CUBEMLP-C9
    sequences = read_ces(fetch("avec2019-ces"))
    labels = np.concatenate([sequence.labels for sequence in sequences])
    published = {"egemaps-func_STD": (0.371, 0.286, 0.159), "visual-func": (0.531, 0.565, 0.083)}
    for system, expected in published.items():
        place = SYSTEMS.index(system)
        predicted = np.concatenate([sequence.predictions[:, place] for sequence in sequences])
        found = [concordance(labels[:, target], predicted[:, target], variant="CES") for target in range(3)]
        assert found == pytest.approx(expected, abs=5e-4)  # three digits are known
