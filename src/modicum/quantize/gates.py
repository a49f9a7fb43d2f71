"""Gates between two neighbours of a grid: what lets a rounding be learned by gradient descent."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["gate", "gate_logit", "gate_regularizer", "soft_scale", "temperature"]

# A gate reaches 0 and 1 since the sigmoid is stretched to (LOW, HIGH) and cut off.
_LOW, _HIGH = -0.1, 1.1


def gate(logit: Tensor) -> Tensor:
    """Rectified sigmoid: h(x) = clip(sigmoid(x) (zeta - gamma) + gamma, 0, 1), zeta = 1.1, gamma = -0.1.

    Args:
        logit: x, any shape; alpha of a weight or beta of an exponent.

    Returns:
        h in [0, 1], same shape; 0 rounds down and 1 rounds up.

    Source:
        Nagel et al. 2020 (AdaRound), equation 23; Yao et al. 2022 use it for exponents, too.
    """
    return (torch.sigmoid(logit) * (_HIGH - _LOW) + _LOW).clamp(0, 1)


def gate_logit(opening: Tensor) -> Tensor:
    """Invert the gate on [0, 1]: x = -ln((zeta - gamma) / (h - gamma) - 1).

    Args:
        opening: h, any shape.

    Returns:
        x, same shape, finite: -2.4 at 0 and 2.4 at 1.
    """
    return -torch.log((_HIGH - _LOW) / (opening - _LOW) - 1)


def gate_regularizer(opening: Tensor, temperature: float) -> Tensor:
    """Sum 1 - |2h - 1|^b over gates: 0 where a gate has decided, 1 where it is half open.

    Args:
        opening: h, any shape.
        temperature: b >= 2; a large one leaves gates alone that are not near a decision.

    Returns:
        A scalar.

    Source:
        Nagel et al. 2020 (AdaRound), equation 24.
    """
    return (1 - (2 * opening - 1).abs().pow(temperature)).sum()


def temperature(step: int, steps: int, *, warm_up: float = 0.2, first: float = 20.0, last: float = 2.0) -> float:
    """Anneal b: ``first`` during the warm-up, then on a line to ``last``.

    Args:
        step: t, 0 to ``steps``.
        steps: T.
        warm_up: share of the steps before the line begins.
        first: b at its beginning.
        last: b at step T.

    Returns:
        b(t).
    """
    begin = warm_up * steps
    if step <= begin:
        return first
    return first + (last - first) * min(1.0, (step - begin) / (steps - begin))


def soft_scale(floor_exponent: Tensor, logit: Tensor) -> Tensor:
    """Give a scale between two powers of two, s = 2^(floor(log2 s0) + h(beta)).

    Args:
        floor_exponent: floor(log2 s0), integers in a floating dtype, shape (channels,).
        logit: beta, shape (channels,).

    Returns:
        s, shape (channels,).

    Source:
        Yao et al. 2022, section 2 (the power-of-two scale group).
    """
    return torch.exp2(floor_exponent + gate(logit))
