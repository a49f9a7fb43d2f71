"""The equations of Go-tuning as pure functions of torch.

The abstract gives none of them; those of the label subspace are derived from how a masked language model scores labels,
the others are named with their source.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import one_hot


def label_subspace(rows: Tensor) -> Tensor:
    """Give an orthonormal basis of the span of W_y - W_y', all that decides between labels.

    Args:
        rows: label rows W, shape (K, d).

    Returns:
        Shape (r, d), where r is the rank of the differences, at most K - 1.
    """
    _, sizes, basis = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
    tiny = sizes[0] * max(rows.shape) * torch.finfo(rows.dtype).eps
    return basis[sizes > tiny]


def subspace_overlap(rows: Tensor, others: Tensor) -> float:
    """Give the share of the squared differences of label rows that lies in the label subspace of other rows.

    Args:
        rows: label rows, shape (K, d).
        others: label rows that span the subspace, shape (K', d).

    Returns:
        Between 0 (orthogonal) and 1 (inside it).
    """
    centred = rows - rows.mean(0)
    inside = (centred @ label_subspace(others).T).square().sum()
    return float(inside / centred.square().sum())


def consistency_margin(scores: Tensor, labels: Tensor) -> Tensor:
    """Give by how much the score of each row's own label exceeds the best of the others.

    Args:
        scores: h W_y for every label, shape (N, K) with K >= 2.
        labels: integers in [0, K), shape (N,).

    Returns:
        Shape (N,); negative where the model contradicts the mined label.
    """
    own = scores.gather(1, labels[:, None])
    others = scores.scatter(1, labels[:, None], -math.inf)
    return own[:, 0] - others.max(1).values


def kkt_residual(weight: Tensor, bias: Tensor, features: Tensor, labels: Tensor, c: float) -> float:
    """Give the largest entry in absolute value of the gradient of the objective of the Go-head; 0 at the minimum.

    That is the mean cross entropy over the K label rows and ||W||^2 / (2 c N), scikit-learn's of LogisticRegression
    divided by c N. At its minimum the rows of W add up to 0: they span a label subspace of rank K - 1.

    Args:
        weight: label rows W, shape (K, d).
        bias: shape (K,), not penalised.
        features: h, shape (N, d).
        labels: integers in [0, K), shape (N,).
        c: inverse strength of the penalty.

    Returns:
        At least 0. The objective is convex, so that this says how near the minimum is.
    """
    surplus = (features @ weight.T + bias).softmax(1) - one_hot(labels, len(weight)).to(features.dtype)
    rows = (surplus.T @ features + weight / c) / len(features)
    return float(torch.maximum(rows.abs().max(), surplus.mean(0).abs().max()))


def prior_bias(scores: Tensor) -> Tensor:
    """Give the bias b_y of each label: the logarithm of its mean probability over inputs that should favour none.

    Args:
        scores: as logarithms up to a constant, shape (M, K). Of content-free inputs for contextual calibration; of the
            texts asked about for the batch mean, which assumes that the classes are equally frequent there.

    Returns:
        Shape (K,). With one input, its `calibrated` scores are uniform.

    Source:
        Zhao et al. 2021 (arXiv:2102.09690), contextual calibration.
    """
    return scores.log_softmax(1).logsumexp(0) - math.log(len(scores))


def calibrated(scores: Tensor, bias: Tensor) -> Tensor:
    """Give s_y - b_y; a bias of 0 leaves the scores as they are.

    Args:
        scores: as logarithms up to a constant, shape (N, K).
        bias: b, shape (K,).

    Returns:
        Shape (N, K).
    """
    return scores - bias


def conformal_threshold(nonconformity: Tensor, alpha: float) -> float:
    """Give the threshold that a new row from the same source exceeds with probability alpha at most.

    Args:
        nonconformity: of held-out rows, such as 1 - p(true label), shape (n,).
        alpha: share of new rows that may exceed it, in (0, 1).

    Returns:
        The ceil((n + 1)(1 - alpha))-th smallest value, or infinity where n is too small to promise anything.

    Source:
        Papadopoulos et al. 2002; Vovk et al. 2005, split conformal prediction.
    """
    rank = math.ceil((len(nonconformity) + 1) * (1 - alpha) - 1e-9)
    return math.inf if rank > len(nonconformity) else float(nonconformity.sort().values[max(rank, 1) - 1])
