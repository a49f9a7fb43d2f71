"""The equations of power-of-two quantization as pure functions of torch."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

Rounding = Literal["half_even", "half_up"]


def round_to(x: Tensor, rounding: Rounding = "half_even") -> Tensor:
    """Round to integers; a tie goes to the even one, or up (towards plus infinity).

    Args:
        x: any shape, floating.
        rounding: what happens to a tie.

    Returns:
        Integers of the same dtype.
    """
    if rounding == "half_even":
        return torch.round(x)
    below = torch.floor(x)  # x + 0.5 would itself be rounded: 0.49999997 to 1, and 2^23 + 1 to the next even number
    return below + (x - below >= 0.5).to(x.dtype)


def power_of_two(exponent: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Give 2 to a whole power, exactly.

    Args:
        exponent: integers, any integer dtype and shape.
        dtype: of the result.

    Returns:
        Same shape.
    """
    return torch.ldexp(torch.ones_like(exponent, dtype=dtype), exponent.to(torch.int32))


def fake_quantize(
    x: Tensor, scale: Tensor | float, low: float | Tensor, high: float | Tensor, rounding: Rounding = "half_even"
) -> Tensor:
    """Round to the grid k scale, k = low ... high: s clamp(round(x / s), low, high).

    Args:
        x: any shape.
        scale: s > 0, of a shape that broadcasts with x.
        low: smallest k.
        high: largest k.
        rounding: what happens to a tie.

    Returns:
        Same shape and dtype as x.

    Source:
        Yao et al. 2022, section 2, in the form with w_int = q - z; the zero point is in ``low`` and ``high``.
    """
    bounds = (torch.as_tensor(it, dtype=x.dtype, device=x.device) for it in (low, high))
    return round_to(x / scale, rounding).clamp(*bounds) * scale


def shift_right(number: Tensor, shift: Tensor | int, rounding: Rounding = "half_even") -> Tensor:
    """Divide integers by 2 to a power and round, with integer operations alone.

    A negative shift multiplies, exactly as long as the result fits its type. This is how an accumulator is brought to
    the grid of the next tensor.

    Args:
        number: any shape, an integer dtype.
        shift: bits to drop; broadcasts with ``number``.
        rounding: what happens to a tie.

    Returns:
        Shape of the broadcast, dtype of ``number``.
    """
    shift = torch.as_tensor(shift, dtype=number.dtype, device=number.device)
    most = 8 * number.element_size() - 1
    right, left = shift.clamp(0, most), (-shift).clamp(min=0)
    dropped = (right - 1).clamp(min=0)  # bits below the one that decides
    below = torch.bitwise_right_shift(number, right)
    up = torch.bitwise_right_shift(number, dropped) & 1
    if rounding == "half_even":
        tie = torch.bitwise_left_shift(torch.bitwise_right_shift(number, dropped), dropped) == number
        up = torch.where(tie, up & below, up)
    rounded = torch.where(right > 0, below + up, number)  # nothing is added to `number`, which could overflow
    return torch.where(shift > most, 0, torch.bitwise_left_shift(rounded, left))


def learnable_quantize(
    x: Tensor,
    exponent: Tensor,
    low: int,
    high: int,
    *,
    ceiling: float | None = None,
    rounding: Rounding = "half_even",
) -> Tensor:
    """Round to the grid k 2^round(e) with a gradient for e, and for x.

    Roundings pass gradients on as if they were not there. With s = 2^round(e) and k = round(x / s),

    d/de = s ln 2 (k - x / s) where low <= k <= high, s ln 2 low below, s ln 2 high above;
    d/dx = 1 in the middle and 0 outside.

    Args:
        x: any shape.
        exponent: e, a real scalar; its gradient is the sum over x.
        low: smallest k.
        high: largest k.
        ceiling: the largest real value (6 of a ReLU6); k then ends at floor(ceiling / s) at most.
        rounding: what happens to a tie.

    Returns:
        Shape of x, on the grid exactly.

    Source:
        Jain et al. 2020 (TQT), equations 6 to 8; Yao et al. 2022, section 2. Departure: e is the exponent of the step
        and not of the largest value, and it is rounded, not taken up to the next integer.
    """
    step = power_of_two(torch.round(exponent.detach()), x.dtype) * torch.exp2(exponent - exponent.detach())
    level = _straight_through(x / step, round_to(x.detach() / step.detach(), rounding))
    top = torch.as_tensor(float(high), dtype=x.dtype, device=x.device)
    if ceiling is not None:
        last = ceiling / step
        highest = torch.floor(last.detach())
        top = top if high <= float(highest) else _straight_through(last, highest)
    # Not torch.minimum, which halves the gradient of the highest level.
    return torch.where(level > top, top, level.clamp(min=low)) * step


def _straight_through(x: Tensor, rounded: Tensor) -> Tensor:
    return rounded + (x - x.detach())


def loss_exponent(gamma: Tensor, slope: float) -> float:
    """Give the exponent of a unit's reconstruction loss, p = round(1 + a sigmoid((sum gamma - 1) / C), 1 decimal).

    Args:
        gamma: weight of the unit's last batch norm, shape (channels,), as it was before folding.
        slope: a.

    Returns:
        p in [1, 1 + a].

    Source:
        Yao et al. 2022, the batch-norm-based loss, as in the released code.
    """
    mean = (float(gamma.double().sum()) - 1) / gamma.numel()
    return round(1 + slope / (1 + math.exp(-mean)), 1)


def unit_loss(output: Tensor, target: Tensor, p: float) -> Tensor:
    """Average over batch and positions the sum over channels of |output - target|^p.

    Args:
        output: shape (batch, channels, ...).
        target: likewise.
        p: in [1, 2]; the gradient at 0 is 0.

    Returns:
        A scalar.

    Source:
        Yao et al. 2022, the batch-norm-based loss.
    """
    error = output - target
    power = error.square() if p == 2 else error.abs().pow(p)
    return power.sum(dim=1).mean()


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
