"""The equations of joint training, of ranking and of shifted priors, as pure functions of torch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def binary_loss(logits: Tensor, labels: Tensor, positive_weight: Tensor | float = 1.0) -> Tensor:
    """Give the mean cross entropy of sigmoids, with the positives weighted.

    Args:
        logits: any shape.
        labels: 0 or 1, the same shape, floating.
        positive_weight: n_negative / n_positive of the whole training split, or one for each column.

    Returns:
        A number.
    """
    weight = torch.as_tensor(positive_weight, dtype=logits.dtype, device=logits.device)
    return functional.binary_cross_entropy_with_logits(logits, labels, pos_weight=weight)


def pairwise_loss(sarcastic: Tensor, plain: Tensor) -> Tensor:
    """Give the mean of softplus(-(s(x) - s(r))): the loss of Bradley and Terry's model.

    Args:
        sarcastic: scores of the sarcastic texts, shape (n,).
        plain: scores of their rephrases, shape (n,).

    Returns:
        A number.
    """
    return functional.softplus(plain - sarcastic).mean()


def prior_shift(
    probabilities: Tensor, prior: float, *, steps: int = 1000, tolerance: float = 1e-10
) -> tuple[Tensor, float]:
    """Correct probabilities for a share of positives that has changed, which is estimated from them alone.

    E: p_i' = p_i w1 / (p_i w1 + (1 - p_i) w0), w1 = q / prior, w0 = (1 - q) / (1 - prior); M: q = mean of p_i'.

    Args:
        probabilities: of the positive class, calibrated where the share was ``prior``, shape (n,).
        prior: share of positives where the model was trained, between 0 and 1.
        steps: at most.
        tolerance: on q.

    Returns:
        The corrected probabilities, and the estimated share.

    Source:
        Saerens, Latinne and Decaestecker 2002, equation 2.3.
    """
    share, corrected = prior, probabilities
    for _ in range(steps):
        positive = probabilities * (share / prior)
        negative = (1 - probabilities) * ((1 - share) / (1 - prior))
        corrected = positive / (positive + negative)
        last, share = share, float(corrected.mean())
        if abs(share - last) < tolerance:
            break
    return corrected, share
