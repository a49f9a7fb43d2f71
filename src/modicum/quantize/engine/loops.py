"""The loops of the engine without a C compiler, on int32 arrays, compiled by numba."""

from __future__ import annotations

import numpy as np
from numba import njit  # noqa: TID253 - this module is imported when the program is run

__all__ = ["convolve", "finish", "maximum"]


@njit(cache=True, nogil=True)
def convolve(x, weight, bias, window, out):
    """Convolve x (batch, height, width, incoming) into out (batch, height, width, outgoing).

    Args:
        x: int32.
        weight: int32, shape (rows, columns, incoming, outgoing / groups).
        bias: int32, shape (outgoing,).
        window: (stride, padding, dilation, groups), the first three of rows and of columns.
        out: int32, filled.
    """
    stride, padding, dilation, groups = window
    rows, columns, incoming, each = weight.shape
    per_group = incoming // groups
    for n, i, j in np.ndindex(out.shape[:3]):
        out[n, i, j] = bias
        for k in range(rows):
            y = i * stride[0] + k * dilation[0] - padding[0]
            for m in range(columns):
                z = j * stride[1] + m * dilation[1] - padding[1]
                if 0 <= y < x.shape[1] and 0 <= z < x.shape[2]:
                    for c in range(incoming):
                        first = c // per_group * each
                        _add(out[n, i, j, first : first + each], x[n, y, z, c], weight[k, m, c])


@njit(cache=True, nogil=True)
def _add(sums, factor, weights):
    for o in range(len(sums)):
        sums[o] += factor * weights[o]


@njit(cache=True, nogil=True)
def maximum(x, kernel, stride, padding, out):
    """Take the largest number of each window of x (batch, height, width, channels).

    Args:
        x: int32.
        kernel: rows and columns.
        stride: of rows and columns.
        padding: of rows and columns.
        out: int32, filled.
    """
    for n, i, j, c in np.ndindex(out.shape):
        top, left = i * stride[0] - padding[0], j * stride[1] - padding[1]
        largest = np.int32(-(2**31))
        for k in range(max(top, 0), min(top + kernel[0], x.shape[1])):
            for m in range(max(left, 0), min(left + kernel[1], x.shape[2])):
                largest = max(largest, x[n, k, m, c])
        out[n, i, j, c] = largest


@njit(cache=True, nogil=True)
def finish(numbers, added, adds, own, other, shift, low, high, even):
    """Add, shift with rounding and clip, in place.

    Args:
        numbers: int32, shape (batch, height, width, channels).
        added: of the same shape; read if ``adds``.
        adds: whether something is added.
        own: left shift of ``numbers``, int32 of shape (channels,).
        other: left shift of ``added``.
        shift: right shift of the sum; left if it is negative.
        low: smallest result.
        high: largest result.
        even: whether a tie goes to the even number rather than up.
    """
    for n, i, j, c in np.ndindex(numbers.shape):
        v = numbers[n, i, j, c] << own[c]
        if adds:
            v += added[n, i, j, c] << other[c]
        right = shift[c]
        if right > 0:
            half = np.int64(1) << (right - 1)
            if even:
                half += ((v >> right) & 1) - 1
            v = (v + half) >> right
        elif right < 0:
            v = v << -right
        numbers[n, i, j, c] = min(max(v, low), high)
