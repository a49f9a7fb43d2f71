"""What a Gaussian process does not know yet: posterior deviations without a label, and the certificate over a pool."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from modicum.molecules.cholesky import FloatArray
from modicum.molecules.covariance import (
    Kernel,
    Molecules,
    P,
    check_noise,
    check_threshold,
    check_variance,
    cross_values,
    prior_variance,
    refuse_kernel,
    smiles_of,
)

BLOCK = 2**22  # kernel values at once; ours: 32 MiB


@dataclass(frozen=True, kw_only=True, slots=True)
class Certificate:
    """How well a pool is covered: the largest posterior std over every molecule of it.

    Args:
        largest: the maximum; no molecule of the pool has a larger one, selected or not.
        at: SMILES of the molecule that has it.
        threshold: that all deviations must be below.
        failed: SMILES and deviation of each molecule that was taken out; they are no part of ``largest``.
    """

    largest: float
    at: str
    threshold: float
    failed: tuple[tuple[str, float], ...] = ()

    @property
    def holds(self) -> bool:
        """Whether every molecule that did not fail is below the threshold."""
        return self.largest < self.threshold


def posterior_deviation(kernel: Kernel[P], selected: Molecules, pool: Molecules, *, noise: float = 0.01) -> FloatArray:
    """Compute u(x) = sqrt(k(x, x) - k_xS (K_SS + aI)⁻¹ k_Sx), in chunks of the pool.

    Args:
        kernel: of the process.
        selected: the molecules S that have labels.
        pool: the molecules x.
        noise: a, the variance of a label's error, above 0; it is no part of u.

    Returns:
        The deviations, shape (len(pool),).

    Source:
        Rasmussen and Williams, "Gaussian Processes for Machine Learning" (2006), equation 2.26.
    """
    check_noise(noise)
    chosen, names = smiles_of(selected, role="selected set"), smiles_of(pool)
    support, prepared = kernel.prepare(chosen), kernel.prepare(names)
    gram = cross_values(kernel, support, support, chosen.__getitem__)
    try:
        factor = cholesky(gram + noise * np.eye(len(chosen)), lower=True)
    except np.linalg.LinAlgError:
        refuse_kernel(f"its matrix of the {len(chosen)} selected molecules has no Cholesky factor")
    variance = prior_variance(kernel, prepared, names.__getitem__)
    step = max(1, BLOCK // len(chosen))
    for start in range(0, len(names), step):
        rows = np.arange(start, min(start + step, len(names)))
        cross = cross_values(kernel, prepared.take(rows), support, names[start : start + step].__getitem__)
        variance[rows] -= np.square(solve_triangular(factor, cross.T, lower=True)).sum(axis=0)
    check_variance(variance, names.__getitem__)
    return np.sqrt(variance.clip(min=0))


def certify(
    kernel: Kernel[P], selected: Molecules, pool: Molecules, *, noise: float = 0.01, threshold: float = 0.5
) -> Certificate:
    """Find the molecule of a pool that a selected set covers least, whoever selected it.

    Args:
        kernel: of the process.
        selected: the molecules that have labels.
        pool: every molecule that has to be covered.
        noise: variance of a label's error, above 0.
        threshold: that all deviations must be below, in (0, 1].

    Returns:
        The certificate.
    """
    check_threshold(threshold)
    deviation = posterior_deviation(kernel, selected, pool, noise=noise)
    place = int(deviation.argmax())
    return Certificate(largest=float(deviation[place]), at=smiles_of(pool)[place], threshold=threshold)
