"""The equations of FGHV: correlations with hypotheses, three constraints, two verifications, and our additions.

The paper's text gives none of them; they are read from its figures (arXiv:2112.14894, the official repository's
main_framework.jpg), and what the figures leave open is an argument. Everything works on rows: a feature or a
hypothesis is one row of D numbers, of length 1 where correlations, which are cosines, are inner products.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

_FLOOR = 1e-12


def variance_constraint(found: Tensor) -> Tensor:
    """Compute VAR: the variance of a feature's correlations with the real hypotheses, mean over genuine faces.

    Args:
        found: correlations of genuine faces with real hypotheses, shape (n, K), K >= 2.

    Returns:
        A scalar, the unbiased estimate.
    """
    return found.var(dim=1).mean()


def relative_correlation(real: Tensor, attack: Tensor) -> Tensor:
    """Compute the score s: how much better a feature agrees with real hypotheses than with those of attacks.

    Args:
        real: correlations with the real hypotheses, shape (n, K).
        attack: correlations with the attack hypotheses, shape (n, L).

    Returns:
        Values in [-2, 2], shape (n,).
    """
    return real.mean(dim=1) - attack.mean(dim=1)


def relative_correlation_constraint(
    scores: Tensor, labels: Tensor, form: Literal["linear", "logistic"] = "linear", temperature: float = 0.1
) -> Tensor:
    """Compute RCC, which turns real hypotheses to genuine faces and attack hypotheses away, and the other way round.

    Args:
        scores: of `relative_correlation`, shape (n,).
        labels: 1 for genuine faces and 0 for attacks, shape (n,).
        form: "linear" is mean(-y s); "logistic" is tau times mean softplus(-y s / tau), both with y = 1 or -1.
        temperature: tau of the logistic form.

    Returns:
        A scalar.
    """
    signed = scores * (2 * labels.to(scores.dtype) - 1)
    if form == "linear":
        return -signed.mean()
    return temperature * softplus(-signed / temperature).mean()


def discrimination_constraint(real: Tensor, attack: Tensor) -> Tensor:
    """Compute DDC: the mean correlation of real with attack hypotheses, minus that among the real ones.

    Args:
        real: real hypotheses of length 1, shape (K, D).
        attack: attack hypotheses of length 1, shape (L, D).

    Returns:
        A scalar in [-2, 1/4], from the two means alone: no matrix of K times L is made.

    Source:
        The formula and the matrices of the paper's figure; the diagonal of the second matrix, all ones, is in it.
    """
    mean = real.mean(0)
    return mean @ attack.mean(0) - mean @ mean


def diversity(hypotheses: Tensor, ridge: float = 0.01) -> Tensor:
    """Compute the log-determinant that keeps hypotheses apart (our addition E2): subtract it from a loss.

    Args:
        hypotheses: of length 1, shape (K, D); below K > D the ridge alone keeps it finite.
        ridge: added to each eigenvalue of D times the covariance.

    Returns:
        log det(D cov + ridge I) / D, a scalar.
    """
    size = hypotheses.shape[1]
    covariance = size * torch.cov(hypotheses.T)
    return torch.linalg.slogdet(covariance + ridge * torch.eye(size).to(covariance)).logabsdet / size


def closed_form(features: Tensor, direction: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
    """Compute s and V over the entire banks, without sampling.

    Args:
        features: of length 1, shape (n, D).
        direction: mean of the real hypotheses minus that of the attacks', shape (D,).
        factor: L with L L' the covariance of the real hypotheses, shape (D, r), of `square_root`.

    Returns:
        The relative correlation, and the variance of the correlations with the real hypotheses, shape (n,) each.

    Source:
        A correlation is linear in a hypothesis of length 1, so Var f'g = f' Cov(g) f: the predictive variance of a
        Bayesian linear model whose weights are the hypotheses.
    """
    return features @ direction, (features @ factor).square().sum(-1)


def square_root(covariance: Tensor) -> Tensor:
    """Factor a covariance so that L L' is the matrix again.

    Args:
        covariance: symmetric, shape (D, D); negative eigenvalues of rounding become 0.

    Returns:
        L, shape (D, D), the largest direction last.
    """
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp(min=0).sqrt()


def leverage(features: Tensor, reference: Tensor, ridge: float = 0.1) -> Tensor:
    """Compute f' (S + ridge mean(eigenvalue) I)^-1 f with S the second moment of genuine faces: no generator.

    Args:
        features: of length 1, shape (n, D).
        reference: genuine faces of length 1, shape (m, D).
        ridge: in units of the mean eigenvalue of S, above 0 unless S has full rank.

    Returns:
        Values >= 0, shape (n,).

    Source:
        The covariance at which w_var tr(Cov S) - (w_div / D) log det Cov is least is proportional to the inverse of S,
        so this is what VAR with `diversity` trains towards.
    """
    second = reference.T @ reference / len(reference)
    level = ridge * second.diagonal().mean()
    inverse = torch.linalg.inv(second + level * torch.eye(len(second)).to(second))
    return ((features @ inverse) * features).sum(-1)


def bayesian_update(covariance: Tensor, features: Tensor, variance: float) -> Tensor:
    """Update the covariance of the hypotheses by genuine faces that they must agree on (our addition E4).

    (Cov^-1 + (D / variance) F' F / n)^-1, by the Woodbury identity with one system of n equations: Cov may be singular.

    Args:
        covariance: of the real hypotheses, shape (D, D).
        features: own genuine faces of length 1, shape (n, D).
        variance: mean V of `closed_form` over the genuine faces of the source.

    Returns:
        The covariance after it, shape (D, D); no larger in any direction.

    Source:
        The posterior of a linear model whose n observations have noise variance * n / D.
    """
    count, size = features.shape
    right = features @ covariance
    inner = right @ features.T + variance * count / size * torch.eye(count).to(covariance)
    after = covariance - right.T @ torch.linalg.solve(inner, right)
    return (after + after.T) / 2


def left_out_variance(after: Tensor, noise: float) -> Tensor:
    """Compute what V of each photo of `bayesian_update` were, had the others alone been there.

    Args:
        after: V of these photos after the update, shape (n,).
        noise: variance * n / D of the update.

    Returns:
        after / (1 - after / noise), by the Sherman-Morrison identity, shape (n,).
    """
    return after / (1 - after / noise).clamp(min=_FLOOR)


def moment_kl(latents: Tensor) -> Tensor:
    """Fit a normal distribution with a diagonal covariance and measure its KL divergence from the standard one.

    Args:
        latents: shape (..., K, d), K >= 2.

    Returns:
        1/2 sum(var + mean^2 - 1 - ln var) over d, with the variance of maximum likelihood, shape (...).
    """
    mean, variance = latents.mean(-2), latents.var(-2, correction=0)
    # A variance of half precision can be 0, and so would its floor.
    variance = variance.float().clamp(min=_FLOOR) if variance.dtype == torch.float16 else variance.clamp(min=_FLOOR)
    return 0.5 * (variance + mean.square() - 1 - variance.log()).sum(-1)


def moment_matched(latents: Tensor) -> Tensor:
    """Standardise latents so that each dimension has mean 0 and variance 1: their `moment_kl` and its gradient are 0.

    Args:
        latents: shape (..., K, d).

    Returns:
        Same shape.
    """
    return (latents - latents.mean(-2, keepdim=True)) / latents.std(-2, correction=0, keepdim=True)


class Projected(NamedTuple):
    """What of a generator and of some features the correlation's gradient needs; D is gone."""

    first: Tensor  # shape (H, d)
    bias: Tensor  # shape (H,)
    square: Tensor  # second' second, shape (H, H)
    cross: Tensor  # second' last, shape (H,)
    constant: Tensor  # last' last
    along: Tensor  # features second, shape (n, H)
    offset: Tensor  # features last, shape (n,)


def project(first: Tensor, bias: Tensor, second: Tensor, last: Tensor, features: Tensor) -> Projected:
    """Do all of a gradient that depends on the features' size, once for all steps.

    The generator is g(z) = second relu(first z + bias) + last.

    Args:
        first: shape (H, d).
        bias: shape (H,).
        second: shape (D, H).
        last: shape (D,).
        features: of length 1, shape (n, D).

    Returns:
        What `correlation_gradient` takes.
    """
    along, offset = features @ second, features @ last
    return Projected(first, bias, second.T @ second, second.T @ last, last @ last, along, offset)


def correlation_gradient(latents: Tensor, projected: Projected) -> tuple[Tensor, Tensor]:
    """Compute the correlation of each feature with the hypothesis of each of its latents, and its gradient.

    Args:
        latents: shape (n, K, d).
        projected: of `project`.

    Returns:
        The correlations, shape (n, K), and their gradients for the latents, shape (n, K, d).

    Source:
        rho = (a'u + c) / |g| with u the hidden layer, and d rho / du = (a - rho (M u + q) / |g|) / |g|.
    """
    before = latents @ projected.first.T + projected.bias
    hidden = before.relu()
    image = hidden @ projected.square
    length = ((hidden * (image + 2 * projected.cross)).sum(-1) + projected.constant).clamp(min=_FLOOR).sqrt()
    found = ((hidden * projected.along[:, None]).sum(-1) + projected.offset[:, None]) / length
    slope = projected.along[:, None] - (found / length)[..., None] * (image + projected.cross)
    return found, ((before > 0) * slope / length[..., None]) @ projected.first


def calibrated_z(values: Tensor, median: Tensor, low: Tensor) -> Tensor:
    """Measure values in distances of genuine faces from their median to their 5 % quantile.

    Args:
        values: higher is more genuine, shape (...).
        median: of genuine faces of the source.
        low: 5 % quantile of them.

    Returns:
        0 at the median and -1 at the quantile. A plain distribution function would be 0 for all that is below the last
        genuine face, and tie there.
    """
    return (values - median) / (median - low).clamp(min=_FLOOR)


def conformal_p_values(scores: Tensor, calibration: Tensor) -> Tensor:
    """Compute split-conformal p-values: refusing below alpha refuses at most a share alpha of genuine faces.

    Args:
        scores: higher is more genuine, shape (n,).
        calibration: scores of genuine faces that nothing was fitted to, shape (m,).

    Returns:
        (1 + how many of the calibration are no higher) / (m + 1), float64, shape (n,). The promise is on average over
        calibrations, and holds if the genuine faces to come are exchangeable with those: same camera, same people.
    """
    ordered = calibration.sort().values
    below = torch.searchsorted(ordered, scores.contiguous(), right=True)
    return (1 + below).double() / (len(calibration) + 1)  # in float32 1/14 would lie above the level 1/14
