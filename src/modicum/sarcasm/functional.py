"""The equations of joint training, of ranking and of shifted priors, as pure functions of torch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

# Ours: the logit of a probability within 1.2e-7 of 1. A larger one would outvote all others in the mean of an ensemble.
_CERTAIN = 16.0


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


def effective_number(counts: Tensor, beta: float) -> Tensor:
    """Give E_n = (1 - beta^n) / (1 - beta), how many of n examples tell something new.

    Args:
        counts: n, at least 1, any shape.
        beta: 0 makes all classes alike; towards 1, E_n becomes n.

    Returns:
        The same shape, float64.

    Source:
        Cui et al. 2019, proposition 1.
    """
    powers = torch.special.xlogy(counts.double(), torch.tensor(beta, dtype=torch.float64))
    return -torch.expm1(powers) / (1 - beta)


def focal_loss(logits: Tensor, labels: Tensor, *, gamma: float = 2.0, alpha: float = 0.5) -> Tensor:
    """Give the mean of -alpha_t (1 - p_t)^gamma log p_t.

    Args:
        logits: any shape.
        labels: 0 or 1, the same shape, floating.
        gamma: how much what is right already counts less.
        alpha: weight of the positives; the negatives have 1 - alpha.

    Returns:
        A number.

    Source:
        Lin et al. 2017, equation 5.
    """
    log_right = functional.logsigmoid(torch.where(labels > 0, logits, -logits))
    weight = alpha * labels + (1 - alpha) * (1 - labels)
    return -(weight * (1 - log_right.exp()) ** gamma * log_right).mean()


def asymmetric_loss(logits: Tensor, labels: Tensor, *, gamma: float = 4.0, margin: float = 0.05) -> Tensor:
    """Give the mean loss in which easy negatives count nothing: -log p, or -p_m^gamma log(1 - p_m), p_m = (p - m)+.

    Args:
        logits: any shape.
        labels: 0 or 1, the same shape, floating.
        gamma: focusing of the negatives; the positives have none.
        margin: m, below which a negative's probability counts as 0.

    Returns:
        A number.

    Source:
        Ridnik et al. 2021, equation 7, with gamma+ = 0.
    """
    shifted = (torch.sigmoid(logits) - margin).clamp(min=0)
    negative = shifted**gamma * torch.log1p(-shifted)
    return -torch.where(labels > 0, functional.logsigmoid(logits), negative).mean()


def pairwise_loss(sarcastic: Tensor, plain: Tensor) -> Tensor:
    """Give the mean of softplus(-(s(x) - s(r))): the loss of Bradley and Terry's model.

    Args:
        sarcastic: scores of the sarcastic texts, shape (n,).
        plain: scores of their rephrases, shape (n,).

    Returns:
        A number.
    """
    return functional.softplus(plain - sarcastic).mean()


def antisymmetric(forward: Tensor, backward: Tensor) -> Tensor:
    """Make the score of a pair change its sign when the two texts change places: (f(a, b) - f(b, a)) / 2.

    Args:
        forward: f(a, b), the logit that the second text is the sarcastic one.
        backward: f(b, a), the same shape.

    Returns:
        The same shape.
    """
    return (forward - backward) / 2


def gated_categories(sarcastic: Tensor, categories: Tensor) -> Tensor:
    """Give P(k) = P(sarcastic) P(k | sarcastic).

    Args:
        sarcastic: logits, shape (n,).
        categories: logits given that the text is sarcastic, shape (n, k).

    Returns:
        Probabilities, shape (n, k), none above that of being sarcastic.
    """
    return torch.sigmoid(sarcastic)[:, None] * torch.sigmoid(categories)


def adversarial_move(gradient: Tensor, epsilon: float) -> Tensor:
    """Give the move of length epsilon by which the loss of each text rises most, to first order: epsilon g / ||g||_2.

    Args:
        gradient: g, of the loss with respect to the embedded tokens of n texts, shape (n, tokens, width).
        epsilon: length of the move of a text, all its tokens together.

    Returns:
        The same shape; 0 for a text without a gradient.

    Source:
        Miyato, Dai and Goodfellow 2017, section 3. Departure: the word embeddings are not normalised.
    """
    exact = gradient.double()  # the square of a small gradient is 0 in single precision
    length = torch.linalg.vector_norm(exact, dim=(1, 2), keepdim=True)
    return torch.where(length > 0, epsilon * exact / length, 0).to(gradient.dtype)


def powerset_loss(logits: Tensor, labels: Tensor, combinations: Tensor) -> Tensor:
    """Give the mean cross entropy of a softmax over combinations of categories.

    Args:
        logits: of the combinations, shape (n, c).
        labels: 0 or 1 for each category, shape (n, k).
        combinations: all different, 0 or 1, shape (c, k).

    Returns:
        A number. A text whose combination is none of them is left out; 0 if all are.

    Source:
        Tsoumakas and Vlahavas 2007 (label powerset).
    """
    same = (labels[:, None] == combinations).all(-1)
    chosen = functional.log_softmax(logits, dim=1)[same]
    return -chosen.sum() / max(1, len(chosen))


def combined_categories(logits: Tensor, combinations: Tensor) -> Tensor:
    """Give the logit of each category from a softmax over combinations: P(k) is the sum over those that contain k.

    Args:
        logits: of the combinations, shape (n, c).
        combinations: 0 or 1, shape (c, k).

    Returns:
        Logits of P(k), shape (n, k); -16 for a category in none of the combinations, and 16 for one in all.
    """
    contains = combinations.T > 0
    least = torch.finfo(logits.dtype).min
    # P(k) / (1 - P(k)): the sum of all exponentials cancels.
    within = logits[:, None].masked_fill(~contains, least).logsumexp(-1)
    without = logits[:, None].masked_fill(contains, least).logsumexp(-1)
    odds = (within - without).masked_fill(~contains.any(-1), -_CERTAIN)
    return odds.masked_fill(contains.all(-1), _CERTAIN)


def language_shares(counts: Tensor, exponent: float = 1.0) -> Tensor:
    """Give the share of each language in a batch, p_l proportional to n_l^alpha.

    Args:
        counts: examples of each language, shape (languages,).
        exponent: alpha: 1 as the data are, 0 all alike.

    Returns:
        Shares that sum to one, the same shape, float64.
    """
    weights = counts.double() ** exponent
    return weights / weights.sum()


def symmetric_divergence(first: Tensor, second: Tensor) -> Tensor:
    """Give the mean of (KL(p || q) + KL(q || p)) / 2 between Bernoulli distributions.

    Args:
        first: logits of p, any shape.
        second: logits of q, the same shape.

    Returns:
        A number: 0 where the two agree.

    Source:
        Liang et al. 2021 (R-Drop), equation 2, for one output.
    """
    # KL(p || q) + KL(q || p) = (p - q) (logit p - logit q)
    return ((torch.sigmoid(first) - torch.sigmoid(second)) * (first - second)).mean() / 2


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
