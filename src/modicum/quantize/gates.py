"""Gates between two neighbours of a grid: what lets a rounding be learned by gradient descent."""

from __future__ import annotations

import torch
from torch import Tensor

# A gate reaches 0 and 1 since the sigmoid is stretched to (LOW, HIGH) and cut off.
_LOW, _HIGH = -0.1, 1.1


def gate(logit: Tensor) -> Tensor:
    """Rectified sigmoid: h(x) = clip(sigmoid(x) (zeta - gamma) + gamma, 0, 1), zeta = 1.1, gamma = -0.1."""
    return (torch.sigmoid(logit) * (_HIGH - _LOW) + _LOW).clamp(0, 1)


def gate_logit(opening: Tensor) -> Tensor:
    """Invert the gate on [0, 1]: x = -ln((zeta - gamma) / (h - gamma) - 1)."""
    return -torch.log((_HIGH - _LOW) / (opening - _LOW) - 1)


def gate_regularizer(opening: Tensor, temperature: float) -> Tensor:
    """Sum 1 - |2h - 1|^b over gates: 0 where a gate has decided, 1 where it is half open."""
    return (1 - (2 * opening - 1).abs().pow(temperature)).sum()


def temperature(step: int, steps: int, *, warm_up: float = 0.2, first: float = 20.0, last: float = 2.0) -> float:
    """Anneal b: ``first`` during the warm-up, then on a line to ``last``."""
    begin = warm_up * steps
    if step <= begin:
        return first
    return first + (last - first) * min(1.0, (step - begin) / (steps - begin))


def soft_scale(floor_exponent: Tensor, logit: Tensor) -> Tensor:
    """Give a scale between two powers of two, s = 2^(floor(log2 s0) + h(beta))."""
    return torch.exp2(floor_exponent + gate(logit))
