"""The equations of PeerPL as pure functions: peer terms, peer rewards, noise and its inverse, and the policies."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

NoiseKind = Literal["uniform", "anti_identity", "norm_all", "norm_one", "two_extremes"]


def peer_cross_entropy(logits: Tensor, actions: Tensor, clip: float, *, distinct: bool = False) -> Tensor:
    """Average the clipped cross-entropy over all pairs of a state and an action, in O(N A).

    Args:
        logits: of the policy, shape (N, A).
        actions: integers in [0, A), shape (N,).
        clip: added to probabilities before the logarithm; bounds the term at -log(clip).
        distinct: leave out the N pairs of a state with its own action.

    Returns:
        A scalar, at least 0 up to ``clip``.

    Source:
        Wang, Guo, Zhu and Liu 2021; this is the expectation of the one permutation that the released PeerBC draws.
    """
    # The mean over states of the log-probabilities, weighted by how often each action occurs.
    scores = clipped_log_softmax(logits, clip)
    shares = torch.bincount(actions, minlength=logits.shape[1]).to(scores.dtype) / len(actions)
    mean = -(shares * scores.mean(dim=0)).sum()
    return without_own_pairs(mean, -scores.gather(1, actions[:, None])) if distinct else mean


def clipped_log_softmax(logits: Tensor, clip: float) -> Tensor:
    """Take log(softmax(logits) + clip) over the last axis.

    Args:
        logits: shape (..., A).
        clip: at least 0; 1e-8 in the released code.

    Returns:
        The shape of ``logits``, in float32 if they have half precision.
    """
    # Half precision rounds 1e-8 to 0.
    dtype = torch.promote_types(logits.dtype, torch.float32)
    # Inside the logarithm: a clip of logits would bound nothing, since a probability depends on all of them.
    return logits.log_softmax(-1, dtype=dtype) if clip == 0 else (logits.softmax(-1, dtype=dtype) + clip).log()


def without_own_pairs(mean: Tensor, own: Tensor) -> Tensor:
    """Turn a mean over all N x N pairs into one over the N (N - 1) pairs of different samples.

    Args:
        mean: over all pairs, a scalar.
        own: the N terms of samples with themselves, any shape with N elements.

    Returns:
        A scalar.
    """
    count = own.numel()
    return (count * count * mean - own.sum()) / (count * (count - 1))


def peer_gaussian(mean: Tensor, std: Tensor, actions: Tensor) -> Tensor:
    """Average the negative log-density of a Gaussian policy over all pairs of a state and an action.

    Args:
        mean: of the policy, shape (N, D).
        std: of the policy, > 0, shape (N, D) or one that broadcasts to it.
        actions: shape (N, D).

    Returns:
        A scalar.
    """
    # Two moments of the actions are enough: E (a - mu)^2 = Var a + (E a - mu)^2.
    spread = actions.var(dim=0, correction=0) + (actions.mean(dim=0) - mean).square()
    return gaussian_nll(spread, std).mean()


def gaussian_nll(squared_error: Tensor, std: Tensor) -> Tensor:
    """Compute the negative log-density of independent Gaussians, summed over the last axis.

    Args:
        squared_error: (a - mu)^2, shape (..., D).
        std: shape (..., D) or one that broadcasts to it.

    Returns:
        Shape (...).
    """
    return 0.5 * (squared_error / std.square() + 2 * std.log() + math.log(2 * math.pi)).sum(dim=-1)


def peer_reward(reward: Tensor, peer: Tensor | float, xi: float) -> Tensor:
    """Subtract a share of the reward of unrelated samples: r - xi r' (target form).

    Args:
        reward: noisy, any shape.
        peer: rewards of other samples in the same shape, or their mean, which adds no variance.
        xi: at least 0.

    Returns:
        The shape of ``reward``.

    Source:
        Wang, Guo, Zhu and Liu 2021, PeerRL.
    """
    return reward - xi * peer


def difference_reward(reward: Tensor, peer: Tensor | float, xi: float) -> Tensor:
    """Give the reward that the difference of two squared losses amounts to: (r - xi r') / (1 - xi).

    grad (L - xi L') = (1 - xi) grad of the squared loss to this reward plus the same bootstrap; at xi = 1 there is no
    curvature, and no minimum beyond.

    Args:
        reward: noisy, any shape.
        peer: rewards of other samples, or their mean.
        xi: in [0, 1).

    Returns:
        The shape of ``reward``.

    Source:
        The released peer DQN; the identity is ours.
    """
    return (reward - xi * peer) / (1 - xi)


def absorbing_value(shift: float, gamma: float) -> float:
    """Give the value of an end from which a constant reward would be paid for ever.

    Where episodes end, a constant in each reward pays or charges for survival and changes which policy is best. With
    this value of terminal states all policies gain the same.

    Args:
        shift: the constant, in units of reward.
        gamma: discount, in [0, 1).
    """
    return shift / (1 - gamma)


def td_target(
    reward: Tensor, next_value: Tensor, terminated: Tensor, gamma: float, terminal_value: float = 0.0
) -> Tensor:
    """Bootstrap: r + gamma V(s'), with a fixed value of states where an episode ended.

    Args:
        reward: shape (...).
        next_value: V(s'), the same shape.
        terminated: 1 or True where s' is terminal (a time limit is not), the same shape.
        gamma: discount.
        terminal_value: 0, or `absorbing_value`.

    Returns:
        The same shape.
    """
    ended = terminated.to(reward.dtype)
    return reward + gamma * ((1 - ended) * next_value + ended * terminal_value)


def difference_loss(values: Tensor, target: Tensor, peer_target: Tensor, xi: float) -> Tensor:
    """Subtract the half squared error to the peer target from that to the own target.

    Args:
        values: Q(s, a), any shape.
        target: of the sample, the same shape.
        peer_target: with the reward of another sample and the same bootstrap, the same shape.
        xi: in [0, 1).

    Returns:
        A scalar.

    Source:
        The released peer DQN, both of its steps as one.
    """
    return 0.5 * ((values - target).square().mean() - xi * (values - peer_target).square().mean())


def confusion_matrix(kind: NoiseKind, levels: int, weight: float, generator: torch.Generator | None = None) -> Tensor:
    """Build a published confusion matrix: weight times a kind of noise, and the identity for the rest.

    Args:
        kind: "uniform" (any level), "anti_identity" (the mirrored level), "norm_all" (random rows), "norm_one" (for
            each level one random other) or "two_extremes" (the far extreme; for a middle level both).
        levels: how many, M, at least 2.
        weight: of the noise, in [0, 1].
        generator: for "norm_all" and "norm_one".

    Returns:
        Probabilities of the observed level (column) given the true one (row), float64, shape (M, M).

    Source:
        Wang, Liu and Li, "Reinforcement Learning with Perturbed Rewards" (AAAI 2020). Departure: its released
        "norm_one" shuffles nothing in Python 3, and what was meant could be the identity.
    """
    identity = torch.eye(levels, dtype=torch.float64)
    match kind:
        case "uniform":
            noise = torch.full_like(identity, 1 / levels)
        case "anti_identity":
            noise = identity.flip(1)
        case "norm_all":
            drawn = torch.rand(levels, levels, dtype=torch.float64, generator=generator)
            noise = drawn / drawn.sum(dim=1, keepdim=True)
        case "norm_one":
            other = torch.randint(1, levels, (levels,), generator=generator)
            noise = identity[(torch.arange(levels) + other) % levels]
        case "two_extremes":
            noise = torch.zeros_like(identity)
            noise[: levels // 2, -1] = noise[(levels + 1) // 2 :, 0] = 1
            if levels % 2:
                noise[levels // 2, [0, -1]] = 0.5
    return weight * noise + (1 - weight) * identity


def is_class_independent(matrix: ArrayLike | Tensor, tolerance: float = 1e-9) -> bool:
    """Say whether wrong levels are as likely whatever the true level is: the condition of the affine theorem.

    Then C = (1 - sum of e) I + 1 e^T, and rewards and peer losses under noise are affine in those without.

    Args:
        matrix: a confusion matrix, shape (M, M).
        tolerance: on the difference between the entries of a column off the diagonal.
    """
    entries = np.asarray(matrix, dtype=np.float64)
    wrong = np.where(np.eye(len(entries)), np.nan, entries)
    return bool((np.nanmax(wrong, axis=0) - np.nanmin(wrong, axis=0) <= tolerance).all())


def surrogate_levels(matrix: Tensor, levels: Tensor) -> Tensor:
    """Invert the noise: the levels r^ with C r^ = r, so that E[r^ | r] = r.

    Args:
        matrix: a confusion matrix that can be inverted, shape (M, M).
        levels: the true levels, shape (M,).

    Returns:
        What to learn from when a level is observed, shape (M,).

    Source:
        Wang, Liu and Li (AAAI 2020), lemmas 1 and 2.
    """
    return torch.linalg.solve(matrix, levels)


def majority_confusion(counts: Tensor) -> Tensor:
    """Estimate a confusion matrix from repeated observations, the majority of a cell being taken for its truth.

    Args:
        counts: how often each level was observed in each cell of states and actions, shape (cells, M).

    Returns:
        Shape (M, M); the row of a level that is nowhere in the majority is that of the identity.

    Source:
        Wang, Liu and Li (AAAI 2020), algorithm 1.
    """
    seen = counts[counts.sum(dim=1) > 0].to(torch.float64)
    matrix = torch.zeros(counts.shape[1], counts.shape[1], dtype=torch.float64)
    matrix.index_add_(0, seen.argmax(dim=1), seen)
    total = matrix.sum(dim=1, keepdim=True)
    return torch.where(total > 0, matrix / total, torch.eye(len(matrix), dtype=torch.float64))


def peer_policy(probabilities: Tensor, marginal: Tensor, xi: float) -> Tensor:
    """Give the optimum of the peer objective: pi(a | s) proportional to [p(a | s) - xi m(a)]_+.

    Where nothing is left (xi > 1, or xi = 1 and p = m), the policy is the limit from smaller xi: the actions with
    the largest p / m, in proportion to p.

    Args:
        probabilities: p(a | s) of behavioural cloning, shape (..., A).
        marginal: m(a), its mean over the states of the demonstrations, > 0, shape (A,).
        xi: at least 0.

    Returns:
        Probabilities, the shape of ``probabilities``.

    Source:
        Ours: the optimum of E[log pi(a | s)] - xi E[log(pi(a' | s) + clip)] over all policies, as clip goes to 0.
    """
    left = (probabilities - xi * marginal).clamp(min=0)
    total = left.sum(dim=-1, keepdim=True)
    ratio = probabilities / marginal
    limit = probabilities * (ratio >= ratio.amax(dim=-1, keepdim=True) * (1 - 1e-6))  # ties up to float32's rounding
    # What rounding leaves of p - m is no policy.
    enough = total > 1e-7 * probabilities.sum(dim=-1, keepdim=True)
    return torch.where(enough, left / total.clamp(min=1e-30), limit / limit.sum(dim=-1, keepdim=True))


def sharpen(probabilities: Tensor, exponent: float) -> Tensor:
    """Raise a policy to a power and normalise it: p^b / sum p^b.

    Args:
        probabilities: shape (..., A).
        exponent: b; above 1 sharpens, below 1 flattens.

    Returns:
        Probabilities of the same shape.
    """
    return (exponent * probabilities.clamp(min=torch.finfo(probabilities.dtype).tiny).log()).softmax(dim=-1)


def mean_entropy(probabilities: Tensor) -> Tensor:
    """Average the entropy of a policy over states, in nats.

    Args:
        probabilities: shape (N, A).

    Returns:
        A scalar.
    """
    return torch.special.entr(probabilities).sum(dim=-1).mean()


def matching_exponent(probabilities: Tensor, entropy: float) -> float:
    """Find the exponent of `sharpen` at which the mean entropy has a given value, by bisection.

    Args:
        probabilities: shape (N, A).
        entropy: wanted, in nats.

    Returns:
        In [2^-6, 2^10]; at an end of it if the value cannot be reached.
    """
    low, high = -6.0, 10.0
    for _ in range(50):
        middle = (low + high) / 2
        sharper = mean_entropy(sharpen(probabilities, 2**middle)) > entropy
        low, high = (middle, high) if sharper else (low, middle)
    return 2 ** ((low + high) / 2)


def adjust_prior(probabilities: Tensor, marginal: Tensor, tau: float) -> Tensor:
    """Divide a policy by a power of its marginal: p / m^tau, normalised (logit adjustment).

    Args:
        probabilities: shape (..., A).
        marginal: > 0, shape (A,).
        tau: 0 leaves the policy, 1 makes all actions equally common.

    Returns:
        Probabilities of the same shape.

    Source:
        Menon et al., "Long-tail Learning via Logit Adjustment" (ICLR 2021), after the fit.
    """
    adjusted = probabilities * (marginal.min() / marginal) ** tau  # of the rarest by 1, so that nothing overflows
    return adjusted / adjusted.sum(dim=-1, keepdim=True)
