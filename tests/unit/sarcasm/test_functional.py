"""The equations against closed forms and the definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import expit

from modicum.sarcasm import functional

LOGITS = torch.tensor([-3.0, -0.5, 0.0, 0.7, 4.0], dtype=torch.float64)
LABELS = torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0], dtype=torch.float64)
P = expit(LOGITS.numpy())
Y = LABELS.numpy()


def test_positives_are_weighted() -> None:
    wanted = -np.mean(3.0 * Y * np.log(P) + (1 - Y) * np.log1p(-P))
    assert float(functional.binary_loss(LOGITS, LABELS, 3.0)) == pytest.approx(wanted, rel=1e-12)


def test_pairs_cost_log_two_where_both_score_alike() -> None:
    scores = torch.randn(7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert float(functional.pairwise_loss(scores, scores)) == pytest.approx(math.log(2), rel=1e-12)
    wanted = -np.log(expit((scores[:3] - scores[3:6]).numpy())).mean()
    assert float(functional.pairwise_loss(scores[:3], scores[3:6])) == pytest.approx(wanted, rel=1e-12)


def test_prior_shift_finds_the_share_of_positives_in_a_gaussian_mixture() -> None:
    # Two normal classes at +1 and -1 of deviation 1: P(1 | x) = sigmoid(2 x + logit of the prior), exactly.
    generator = np.random.default_rng(0)
    positive = generator.random(200_000) < 0.14
    x = generator.normal(np.where(positive, 1.0, -1.0), 1.0)
    before = torch.from_numpy(expit(2 * x + math.log(0.25 / 0.75)))
    corrected, share = functional.prior_shift(before, 0.25)
    assert share == pytest.approx(0.14, abs=0.005)
    wanted = expit(2 * x + math.log(share / (1 - share)))
    np.testing.assert_allclose(corrected.numpy(), wanted, atol=1e-6)


def test_prior_shift_leaves_alone_what_has_not_shifted() -> None:
    probabilities = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    corrected, share = functional.prior_shift(probabilities, 0.25)
    assert share == pytest.approx(0.25, abs=1e-8)
    torch.testing.assert_close(corrected, probabilities)
