"""The loops of the engine without a C compiler, on int32 arrays, compiled by numba."""

from __future__ import annotations

import numpy as np
from numba import njit  # noqa: TID253 - this module is imported when the program is run


@njit(cache=True, nogil=True)
def convolve(x, weight, bias, window, out):
    """Convolve x (batch, height, width, incoming) into out (batch, height, width, outgoing)."""
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
    """Take the largest number of each window of x (batch, height, width, channels)."""
    for n, i, j, c in np.ndindex(out.shape):
        top, left = i * stride[0] - padding[0], j * stride[1] - padding[1]
        largest = np.int32(-(2**31))
        for k in range(max(top, 0), min(top + kernel[0], x.shape[1])):
            for m in range(max(left, 0), min(left + kernel[1], x.shape[2])):
                largest = max(largest, x[n, k, m, c])
        out[n, i, j, c] = largest


@njit(cache=True, nogil=True)
def finish(numbers, added, adds, own, other, shift, low, high, even):
    """Add, shift with rounding and clip, in place."""
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
