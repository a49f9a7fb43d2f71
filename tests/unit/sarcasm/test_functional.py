"""The equations against closed forms and the definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax

from modicum.sarcasm import functional

LOGITS = torch.tensor([-3.0, -0.5, 0.0, 0.7, 4.0], dtype=torch.float64)
LABELS = torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0], dtype=torch.float64)
P = expit(LOGITS.numpy())
Y = LABELS.numpy()


def test_positives_are_weighted() -> None:
    wanted = -np.mean(3.0 * Y * np.log(P) + (1 - Y) * np.log1p(-P))
    assert float(functional.binary_loss(LOGITS, LABELS, 3.0)) == pytest.approx(wanted, rel=1e-12)


def test_focal_loss_is_its_formula_and_half_the_cross_entropy_without_focus() -> None:
    right = np.where(Y > 0, P, 1 - P)
    wanted = -np.mean(np.where(Y > 0, 0.6, 0.4) * (1 - right) ** 2 * np.log(right))
    assert float(functional.focal_loss(LOGITS, LABELS, gamma=2.0, alpha=0.6)) == pytest.approx(wanted, rel=1e-12)
    plain = float(functional.focal_loss(LOGITS, LABELS, gamma=0.0))
    assert plain == pytest.approx(float(functional.binary_loss(LOGITS, LABELS)) / 2, rel=1e-12)


def test_asymmetric_loss_is_its_formula_and_forgets_easy_negatives() -> None:
    shifted = np.maximum(P - 0.05, 0)
    wanted = -np.mean(np.where(Y > 0, np.log(P), shifted**4 * np.log1p(-shifted)))
    assert float(functional.asymmetric_loss(LOGITS, LABELS)) == pytest.approx(wanted, rel=1e-12)
    assert float(functional.asymmetric_loss(LOGITS[:1], LABELS[:1])) == 0  # p = 0.047, below the margin


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.999])
def test_an_effective_number_is_the_sum_of_a_geometric_series(beta: float) -> None:
    counts = [1, 2, 3, 867, 2600]
    wanted = [math.fsum(beta**power for power in range(count)) for count in counts]
    assert functional.effective_number(torch.tensor(counts), beta).tolist() == pytest.approx(wanted, rel=1e-10)


def test_an_effective_number_becomes_the_number_as_beta_approaches_one() -> None:
    # (1 - beta^n) / (1 - beta) = n - n (n - 1) / 2 (1 - beta) + ...
    found = functional.effective_number(torch.tensor([5, 2000]), 1 - 2**-40).tolist()
    assert found == pytest.approx([5 - 10 * 2**-40, 2000 - 1999000 * 2**-40], rel=1e-12)


def test_pairs_cost_log_two_where_both_score_alike() -> None:
    scores = torch.randn(7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert float(functional.pairwise_loss(scores, scores)) == pytest.approx(math.log(2), rel=1e-12)
    wanted = -np.log(expit((scores[:3] - scores[3:6]).numpy())).mean()
    assert float(functional.pairwise_loss(scores[:3], scores[3:6])) == pytest.approx(wanted, rel=1e-12)


def test_antisymmetric_scores_change_sign_with_the_order() -> None:
    one, other = LOGITS, LOGITS.flip(0)
    torch.testing.assert_close(
        functional.antisymmetric(one, other), -functional.antisymmetric(other, one), rtol=0, atol=0
    )


def test_no_category_is_likelier_than_sarcasm_itself() -> None:
    categories = torch.linspace(-5, 5, 30, dtype=torch.float64).view(5, 6)
    found = functional.gated_categories(LOGITS, categories)
    np.testing.assert_allclose(found.numpy(), P[:, None] * expit(categories.numpy()), rtol=1e-12)
    assert bool((found <= torch.sigmoid(LOGITS)[:, None]).all())


def test_an_adversarial_move_has_its_length_and_the_direction_of_the_gradient() -> None:
    gradient = torch.zeros(3, 2, 2)
    gradient[0] = torch.tensor([[3.0, 0.0], [0.0, -4.0]])
    gradient[1, 0, 1] = 1e-40  # its square is 0 in single precision
    wanted = torch.zeros(3, 2, 2)
    wanted[0] = torch.tensor([[0.3, 0.0], [0.0, -0.4]])
    wanted[1, 0, 1] = 0.5
    torch.testing.assert_close(functional.adversarial_move(gradient, 0.5), wanted, rtol=1e-6, atol=0)


COMBINATIONS = torch.tensor([[0, 1, 0, 1], [1, 0, 0, 1], [1, 1, 0, 1]])  # none has the third, all have the last


def test_a_powerset_costs_the_cross_entropy_of_its_combination() -> None:
    logits = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = COMBINATIONS[[2, 0, 1, 0]].double()
    labels[3] = 0  # a combination that it does not know
    p = softmax(logits.numpy(), axis=1)
    wanted = -np.log([p[0, 2], p[1, 0], p[2, 1]]).mean()
    assert float(functional.powerset_loss(logits, labels, COMBINATIONS)) == pytest.approx(wanted, rel=1e-12)


def test_a_powerset_learns_nothing_of_combinations_that_it_does_not_know() -> None:
    logits = torch.ones(2, 3, requires_grad=True)
    found = functional.powerset_loss(logits, torch.zeros(2, 4), COMBINATIONS)
    found.backward()
    assert float(found.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_a_category_has_the_probability_of_its_combinations() -> None:
    logits = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    p = softmax(logits.numpy(), axis=1)
    found = functional.combined_categories(logits, COMBINATIONS).numpy()
    np.testing.assert_allclose(expit(found[:, 0]), p[:, 1] + p[:, 2], rtol=1e-12)
    np.testing.assert_allclose(expit(found[:, 1]), p[:, 0] + p[:, 2], rtol=1e-12)
    np.testing.assert_array_equal(found[:, 2:], [[-16, 16]] * 5)


def test_categories_of_a_powerset_are_stable_and_do_not_change_with_the_origin_of_its_logits() -> None:
    logits = torch.tensor([[0.0, 500.0, 0.0], [-900.0, 0.0, 100.0]])
    found = functional.combined_categories(logits, COMBINATIONS)
    # log((e^500 + 1) / 1) and log((1 + 1) / e^500); then log((1 + e^100) / e^-900) and log((e^100 + e^-900) / 1)
    torch.testing.assert_close(found[:, :2], torch.tensor([[500.0, math.log(2) - 500], [1000.0, 100.0]]))
    torch.testing.assert_close(functional.combined_categories(logits + 1e3, COMBINATIONS), found)


def test_shares_of_languages() -> None:
    counts = torch.tensor([3467, 3102])
    assert functional.language_shares(counts).tolist() == pytest.approx([3467 / 6569, 3102 / 6569], rel=1e-12)
    root = [math.sqrt(3467), math.sqrt(3102)]
    assert functional.language_shares(counts, 0.5).tolist() == pytest.approx([it / sum(root) for it in root], rel=1e-12)
    assert functional.language_shares(counts, 0.0).tolist() == [0.5, 0.5]


def test_divergence_is_the_definition() -> None:
    other = LOGITS.flip(0) + 0.3
    q = expit(other.numpy())
    kl = lambda a, b: a * np.log(a / b) + (1 - a) * np.log((1 - a) / (1 - b))
    assert float(functional.symmetric_divergence(LOGITS, other)) == pytest.approx(
        (kl(P, q) + kl(q, P)).mean() / 2, rel=1e-10
    )
    assert float(functional.symmetric_divergence(LOGITS, LOGITS)) == 0


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
