"""Calibration against closed forms, scikit-learn and a brute search."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, log_expit
from sklearn.linear_model import LogisticRegression

from modicum.errors import ConfigError, DataError
from modicum.sarcasm.calibration import CALIBRATIONS, Isotonic, Scaling, isotonic, temperature

GENERATOR = np.random.default_rng(0)
LOGITS = GENERATOR.normal(size=4000) * 2
LABELS = (GENERATOR.random(4000) < expit(LOGITS / 2.5 - 1.1)).astype(float)


def loss(calibration: Scaling) -> float:
    scaled = LOGITS / calibration.temperature + calibration.bias
    return float(-np.mean(LABELS * log_expit(scaled) + (1 - LABELS) * log_expit(-scaled)))


def test_temperature_is_the_best_of_a_fine_grid() -> None:
    found = temperature(LOGITS, LABELS)
    grid = [Scaling(temperature=it) for it in np.geomspace(0.01, 100, 4001)]
    assert loss(found) <= min(map(loss, grid)) + 1e-12
    assert found.bias == 0.0


def test_temperature_and_bias_are_those_of_an_unpenalised_logistic_regression() -> None:
    found = temperature(LOGITS, LABELS, bias=True)
    reference = LogisticRegression(C=1e12, tol=1e-10).fit(LOGITS[:, None], LABELS)
    assert 1 / found.temperature == pytest.approx(reference.coef_[0, 0], rel=1e-3)
    assert found.bias == pytest.approx(reference.intercept_[0], rel=1e-3)
    # Which gives the truth within its sampling error, and the share of positives.
    assert found.temperature == pytest.approx(2.5, rel=0.1)
    assert found(LOGITS).mean() == pytest.approx(LABELS.mean(), abs=1e-5)


def test_separable_labels_stop_at_the_bound() -> None:
    assert temperature(np.array([-1.0, 1.0]), np.array([0.0, 1.0])).temperature == pytest.approx(0.01, rel=1e-3)


def test_isotonic_pools_what_falls() -> None:
    # Pool adjacent violators by hand: (1, 0) becomes (1/2, 1/2).
    found = isotonic(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 1.0, 0.0, 1.0]))
    assert found(np.array([-5.0, 0.0, 1.0, 1.5, 2.0, 2.5, 3.0, 9.0])).tolist() == [0, 0, 0.5, 0.5, 0.5, 0.75, 1, 1]


@pytest.mark.parametrize("name", CALIBRATIONS)
def test_calibrations_keep_the_order(name: str) -> None:
    found = CALIBRATIONS[name](LOGITS, LABELS)  # pyright: ignore[reportArgumentType]
    chances = found(np.sort(LOGITS))
    assert (np.diff(chances) >= 0).all()


def test_logits_that_are_no_numbers_and_labels_of_one_kind_are_refused() -> None:
    with pytest.raises(DataError, match="needs a finite logit for each label"):
        temperature(np.array([0.0, np.nan]), np.array([0.0, 1.0]))
    with pytest.raises(DataError, match="labels of both kinds"):
        isotonic(np.array([0.0, 1.0]), np.array([1.0, 1.0]))
    with pytest.raises(DataError, match=r"logits of shape \(3,\)"):
        temperature(np.zeros(3), np.array([0.0, 1.0]))


def test_calibrations_that_are_none_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"temperature is 0\.0"):
        Scaling(temperature=0.0)
    with pytest.raises(ConfigError, match="do not rise"):
        Isotonic(logits=(0.0, 0.0), probabilities=(0.1, 0.2))
    with pytest.raises(ConfigError, match="do not rise"):
        Isotonic(logits=(0.0, 1.0), probabilities=(0.3, 0.2))
