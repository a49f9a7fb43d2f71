"""The equations of power-of-two quantization as pure functions of torch."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

__all__ = ["Rounding", "fake_quantize", "power_of_two", "round_to", "shift_right"]

Rounding = Literal["half_even", "half_up"]


def round_to(x: Tensor, rounding: Rounding = "half_even") -> Tensor:
    """Round to whole numbers; a tie goes to the even one, or up (towards plus infinity).

    Args:
        x: any shape, floating.
        rounding: what happens to a tie.

    Returns:
        Whole numbers of the same dtype.
    """
    if rounding == "half_even":
        return torch.round(x)
    below = torch.floor(x)  # x + 0.5 would itself be rounded: 0.49999997 to 1, and 2^23 + 1 to the next even number
    return below + (x - below >= 0.5).to(x.dtype)


def power_of_two(exponent: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Give 2 to a whole power, exactly.

    Args:
        exponent: whole numbers, any integer dtype and shape.
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
    """Divide whole numbers by 2 to a power and round, with integer operations alone.

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
