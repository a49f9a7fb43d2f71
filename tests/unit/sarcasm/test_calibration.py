"""Calibration against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from modicum.errors import ConfigError, DataError
from modicum.sarcasm.decisions import Scaling, calibrate

GENERATOR = np.random.default_rng(0)
LOGITS = GENERATOR.normal(size=4000) * 2
LABELS = (GENERATOR.random(4000) < expit(LOGITS / 2.5 - 1.1)).astype(float)


def test_temperature_and_bias_are_those_of_an_unpenalised_logistic_regression() -> None:
    found = calibrate(LOGITS, LABELS)
    reference = LogisticRegression(C=1e12, tol=1e-10).fit(LOGITS[:, None], LABELS)
    assert 1 / found.temperature == pytest.approx(reference.coef_[0, 0], rel=1e-3)
    assert found.bias == pytest.approx(reference.intercept_[0], rel=1e-3)
    # Which gives the truth within its sampling error, and the share of positives.
    assert found.temperature == pytest.approx(2.5, rel=0.1)
    assert found(LOGITS).mean() == pytest.approx(LABELS.mean(), abs=1e-5)


def test_separable_labels_stop_within_the_bound() -> None:
    found = calibrate(np.array([-1.0, 1.0]), np.array([0.0, 1.0]))
    assert 0.01 <= found.temperature < 1
    assert found(np.array([-1.0, 1.0])) == pytest.approx([0, 1], abs=1e-5)


def test_logits_that_are_no_numbers_and_labels_of_one_kind_are_refused() -> None:
    with pytest.raises(DataError, match="needs finite logits"):
        calibrate(np.array([0.0, np.nan]), np.array([0.0, 1.0]))
    with pytest.raises(DataError, match="labels of both kinds"):
        calibrate(np.array([0.0, 1.0]), np.array([1.0, 1.0]))


def test_scalings_that_are_none_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"temperature is 0\.0"):
        Scaling(temperature=0.0)
