"""The normalisation of the kernel; K itself is solved in `kernel.compiled` and `kernel.batched`.

Source: Xiang et al. 2024.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]


def normalise(kernel: FloatArray, first: FloatArray, second: FloatArray, *, scale: float | None) -> FloatArray:
    """Normalise by size: k = K_xy / sqrt(K_xx K_yy) exp(-((K_xx - K_yy) / s)^2).

    Args:
        kernel: K_xy, shape (n, m).
        first: K_xx, shape (n,).
        second: K_yy, shape (m,).
        scale: s, in the unit of K; None leaves the exponential out (the cosine).

    Returns:
        Shape (n, m); 1 for a molecule with itself.
    """
    cosine = kernel / np.sqrt(np.outer(first, second))
    return cosine if scale is None else cosine * np.exp(-(((first[:, None] - second) / scale) ** 2))
