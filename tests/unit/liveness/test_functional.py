"""The equations of FGHV against closed forms, simulation and autograd, by the numbers of the specification."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch.nn.functional import normalize

from modicum.core.seeding import torch_generator
from modicum.liveness import functional as F  # noqa: N812


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch_generator(seed, "test"), dtype=dtype)


def test_moments_give_the_mean_and_the_variance_of_all_correlations() -> None:
    # FGHV-C1
    scaled = normalize(normal(7, 24))
    real, attack = normalize(normal(300, 24, seed=1) + 0.3), normalize(normal(200, 24, seed=2))
    mean, covariance, attack_mean = real.mean(0), torch.cov(real.T), attack.mean(0)
    found = scaled @ real.T
    torch.testing.assert_close(scaled @ mean, found.mean(1), rtol=0, atol=1e-12)
    wanted = found.var(1)
    torch.testing.assert_close(((scaled @ covariance) * scaled).sum(1), wanted, rtol=0, atol=1e-12)
    score, variance = F.closed_form(scaled, mean - attack_mean, F.square_root(covariance))
    torch.testing.assert_close(variance, wanted, rtol=0, atol=1e-12)
    torch.testing.assert_close(F.variance_constraint(found), wanted.mean(), rtol=0, atol=1e-12)
    relative = F.relative_correlation(found, scaled @ attack.T)
    torch.testing.assert_close(score, relative, rtol=0, atol=1e-12)


@pytest.mark.parametrize("count", [4, 16, 64, 256])
def test_few_hypotheses_estimate_the_variance_without_bias_and_with_the_noise_of_a_chi_square(count: int) -> None:
    # FGHV-C1
    draws = normal(1500, count, 32) + 0.2
    found = (normalize(draws, dim=-1) @ normalize(normal(1, 32, seed=1))[0]).var(1)
    exact = (normalize(normal(50_000, 32, seed=2) + 0.2) @ normalize(normal(1, 32, seed=1))[0]).var()
    error = found.std() / len(found) ** 0.5
    assert abs(found.mean() - exact) < 5 * error + 0.01 * exact
    assert float(found.std() / exact) == pytest.approx(math.sqrt(2 / (count - 1)), rel=0.1)


def test_ddc_is_the_difference_of_two_matrix_means_and_has_the_known_values() -> None:
    # FGHV-C2
    real, attack = normalize(normal(9, 16)), normalize(normal(9, 16, seed=1))
    matrices = (real @ attack.T).mean() - (real @ real.T).mean()
    torch.testing.assert_close(F.discrimination_constraint(real, attack), matrices, rtol=0, atol=1e-12)
    ray = normalize(normal(1, 16)).expand(5, 16)
    assert float(F.discrimination_constraint(ray, -ray)) == pytest.approx(-2)
    assert float(F.discrimination_constraint(real, real)) == pytest.approx(0)
    axes = torch.eye(16, dtype=torch.float64)
    assert float(F.discrimination_constraint(axes[:4], axes[4:8])) == pytest.approx(-1 / 4)


def test_rcc_is_two_for_the_ideal_face_and_turns_its_sign_with_the_label() -> None:
    # FGHV-C3
    ray = normal(1, 16)
    face = normalize(3 * ray)
    score = F.relative_correlation(face @ normalize(ray).T, face @ normalize(-7 * ray).T)
    assert float(score) == pytest.approx(2)
    assert float(F.relative_correlation_constraint(score, torch.ones(1))) == pytest.approx(-2)
    assert float(F.relative_correlation_constraint(score, torch.zeros(1))) == pytest.approx(2)
    assert float(F.relative_correlation_constraint(score, torch.ones(1), "logistic")) == pytest.approx(
        0.1 * math.log1p(math.exp(-20))
    )
    features = normal(5, 16, seed=1).requires_grad_()
    real, attack = (normalize(features) @ normalize(normal(6, 16, seed=seed)).T for seed in (2, 3))
    F.relative_correlation_constraint(F.relative_correlation(real, attack), torch.ones(5)).backward()
    assert features.grad is not None
    along = (features.grad * features).sum(1)
    torch.testing.assert_close(along, torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-12)


def test_the_kl_divergence_of_a_fit_is_that_of_torch() -> None:
    # FGHV-C4
    latents = 1.7 * normal(40, 8) + 0.4
    fitted = Normal(latents.mean(0), latents.std(0, correction=0))
    torch.testing.assert_close(F.moment_kl(latents), kl_divergence(fitted, Normal(0.0, 1.0)).sum())
    mean = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    shifted = F.moment_matched(normal(40, 3)) + mean
    assert float(F.moment_kl(shifted)) == pytest.approx(float(mean.square().sum() / 2))
    assert F.moment_kl(torch.zeros(4, 3, dtype=torch.float16)).isfinite()


@pytest.mark.parametrize(("size", "count", "wanted"), [(64, 8, 9.0604), (64, 20, 3.3551), (64, 100, 0.6459)])
def test_the_kl_divergence_of_so_few_latents_has_the_expectation_that_was_derived(
    size: int, count: int, wanted: float
) -> None:
    # FGHV-C4
    half = torch.tensor((count - 1) / 2, dtype=torch.float64)
    assert -size / 2 * float(torch.digamma(half) + math.log(2 / count)) == pytest.approx(wanted, abs=5e-5)
    found = F.moment_kl(normal(1500, count, size))
    assert abs(float(found.mean()) - wanted) < 5 * float(found.std()) / len(found) ** 0.5


def test_moment_matched_latents_are_at_the_minimum() -> None:
    latents = F.moment_matched(normal(40, 8)).requires_grad_()
    divergence = F.moment_kl(latents)
    divergence.backward()
    assert float(divergence.detach()) == pytest.approx(0, abs=1e-12)
    assert latents.grad is not None
    assert float(latents.grad.abs().max()) < 1e-12


def generator(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (
        normal(32, 6, dtype=dtype), normal(32, seed=1, dtype=dtype), normal(24, 32, seed=2, dtype=dtype),
        normal(24, seed=3, dtype=dtype),
    )  # fmt: skip


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_the_analytic_gradient_of_a_latent_is_that_of_autograd(dtype: torch.dtype, tolerance: float) -> None:
    # FGHV-C5
    first, bias, second, last = generator(dtype)
    features = normalize(normal(3, 24, seed=4, dtype=dtype))
    latents = normal(3, 10, 6, seed=5, dtype=dtype).requires_grad_()
    hypotheses = (latents @ first.T + bias).relu() @ second.T + last
    wanted = (normalize(hypotheses, dim=-1) * features[:, None]).sum(-1)
    wanted.sum().backward()
    found, gradient = F.correlation_gradient(latents.detach(), F.project(first, bias, second, last, features))
    torch.testing.assert_close(found, wanted.detach(), rtol=0, atol=tolerance)
    torch.testing.assert_close(gradient, latents.grad, rtol=0, atol=tolerance)


def test_small_steps_along_the_gradient_raise_the_correlation_each_time() -> None:
    # FGHV-C5
    projected = F.project(*generator(torch.float64), normalize(normal(2, 24, seed=4)))
    latents, before = normal(2, 10, 6, seed=5), -torch.ones(2, 10)
    for _ in range(20):
        found, gradient = F.correlation_gradient(latents, projected)
        assert (found > before).all()
        before, latents = found, latents + 0.01 * gradient


def test_the_best_latent_of_a_linear_generator_is_the_projection_of_the_feature() -> None:
    # FGHV-C5: with orthonormal columns W the correlation is largest at z = W'f, and is |P f| there.
    columns, feature = torch.linalg.qr(normal(24, 6)).Q, normalize(normal(1, 24, seed=4))
    shift = torch.full((6,), 10.0, dtype=torch.float64)  # so that no ReLU is at work
    generator = (torch.eye(6, dtype=torch.float64), shift, columns, -columns @ shift)
    best = feature @ columns
    found, gradient = F.correlation_gradient(best[:, None], F.project(*generator, feature))
    torch.testing.assert_close(found[0, 0], best.norm(), rtol=0, atol=1e-12)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-12)
    others = F.correlation_gradient(normal(1, 50, 6, seed=7), F.project(*generator, feature))[0]
    assert (others < found).all()


def test_diversity_is_the_mean_log_eigenvalue() -> None:
    rows = normal(50, 6)
    values = torch.linalg.eigvalsh(6 * torch.cov(rows.T) + 0.01 * torch.eye(6))
    torch.testing.assert_close(F.diversity(rows), values.log().mean())


def test_leverage_is_the_quadratic_form_of_the_best_covariance() -> None:
    # The covariance of the specification's section 11.1: no other has a lower loss.
    reference = normalize(normal(200, 6) * torch.tensor([3.0, 1, 1, 1, 1, 0.3]))
    second = reference.T @ reference / len(reference)

    def loss(covariance: Tensor) -> float:
        return float(10 * (covariance @ second).trace() - 0.1 / 6 * torch.logdet(covariance))

    best = 0.1 / 6 / 10 * torch.linalg.inv(second)
    for seed in range(5):
        root = torch.linalg.cholesky(best) @ (torch.eye(6) + 0.05 * normal(6, 6, seed=seed))
        assert loss(root @ root.T) > loss(best)
    new = normalize(normal(4, 6, seed=9))
    exact = F.closed_form(new, new[0], F.square_root(best))[1] * 10 * 6 / 0.1
    torch.testing.assert_close(F.leverage(new, reference, ridge=0.0), exact)


def test_the_update_by_own_photos_is_the_posterior_of_the_definition() -> None:
    # FGHV section 11.2, E4
    covariance, own = torch.cov(normal(40, 6).T), normalize(normal(9, 6, seed=1))
    wanted = torch.linalg.inv(torch.linalg.inv(covariance) + 6 / 0.02 * own.T @ own / 9)
    after = F.bayesian_update(covariance, own, 0.02)
    torch.testing.assert_close(after, wanted, rtol=1e-9, atol=1e-12)
    assert (torch.linalg.eigvalsh(covariance - after) > -1e-12).all()
    left = F.bayesian_update(covariance, own[1:], 0.02 * 9 / 8)  # the noise of nine, for the eight others
    without = (own[0] @ left @ own[0])[None]
    known = (own[0] @ after @ own[0])[None]
    torch.testing.assert_close(F.left_out_variance(known, 0.02 * 9 / 6), without)
    singular = torch.diag(torch.tensor([1.0, 1, 0, 0, 0, 0], dtype=torch.float64))
    assert F.bayesian_update(singular, own, 0.02).isfinite().all()


def test_a_side_of_the_box_does_not_saturate() -> None:
    values = torch.tensor([3.0, 2.0, 1.0, -10.0, -1000.0])
    found = F.calibrated_z(values, torch.tensor(2.0), torch.tensor(1.0))
    assert found.tolist() == [1, 0, -1, -12, -1002]


def test_conformal_p_values_are_uniform_or_larger_on_genuine_faces() -> None:
    assert F.conformal_p_values(torch.tensor([-9.0, 2.0, 9.0]), torch.tensor([3.0, 1.0, 2.0])).tolist() == [
        0.25, 0.75, 1.0,
    ]  # fmt: skip
    scores, calibration = normal(4000, 1), normal(4000, 19, seed=1)
    found = torch.cat([F.conformal_p_values(*pair) for pair in zip(scores, calibration, strict=True)])
    refused = int((found <= 0.05).sum())
    assert stats.binomtest(refused, 4000, 0.05).pvalue > 1e-3
