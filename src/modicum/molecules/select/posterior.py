"""Posterior std without a label and the certificate over a pool, and the kernel that they are computed by."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol, Self, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from modicum.errors import ConfigError, ModelError
from modicum.molecules.data.pool import Pool
from modicum.molecules.functional import FloatArray, IntArray

NEGATIVE = -1e-6  # ours: the graph kernel is solved to a relative 1e-7, so that a 0 may come out this far below


class Prepared(Protocol):
    """Molecules whose features are computed."""

    def __len__(self) -> int: ...

    def take(self, indices: IntArray, /) -> Self:
        """Keep the molecules of some indices, in their order."""
        ...


P = TypeVar("P", bound=Prepared)


class MoleculeKernel(Protocol[P]):
    """A positive semi-definite kernel of molecules, such as ``MarginalizedGraphKernel``."""

    def prepare(self, molecules: Sequence[str], /) -> P:
        """Compute the features of molecules once."""
        ...

    def __call__(self, x: P, y: P | None = None, /) -> npt.NDArray[np.floating]:
        """Compute k(x, y) of every pair, shape (n, m); y is x if it is left out."""
        ...

    def diag(self, x: P, /) -> npt.NDArray[np.floating]:
        """Compute k(x, x) of each molecule."""
        ...


Molecules: TypeAlias = Pool | Sequence[str]


def smiles_of(molecules: Molecules, *, role: str = "pool") -> tuple[str, ...]:
    """Read the SMILES of a pool, or of a list."""
    if isinstance(molecules, str):
        raise ConfigError(
            f"The {role} must be many molecules, got one SMILES string {molecules!r}.", hint="Give a list of SMILES."
        )
    names = molecules.smiles if isinstance(molecules, Pool) else tuple(molecules)
    if not names:
        raise ConfigError(f"The {role} is empty.", hint="Give at least one molecule.")
    return names


def prior_variance(kernel: MoleculeKernel[P], prepared: P, name: Callable[[int], str]) -> FloatArray:
    """Compute k(x, x) and refuse what no kernel returns."""
    variance = np.array(kernel.diag(prepared), dtype=np.float64)
    if variance.shape != (len(prepared),):
        refuse_kernel(f"its diagonal of {len(prepared)} molecules has the shape {variance.shape}")
    check_variance(variance, name)
    return variance


def cross_values(kernel: MoleculeKernel[P], x: P, y: P, name: Callable[[int], str]) -> FloatArray:
    """Compute k(x, y) and refuse what no kernel returns."""
    cross = np.asarray(kernel(x, y), dtype=np.float64)
    if cross.shape != (len(x), len(y)):
        refuse_kernel(f"{len(x)} and {len(y)} molecules gave the shape {cross.shape}")
    if not np.isfinite(cross).all():
        row, column = np.argwhere(~np.isfinite(cross))[0]
        refuse_kernel(f"a value of {name(int(row))} is {cross[row, column]}")
    return cross


def check_variance(variance: FloatArray, name: Callable[[int], str]) -> None:
    """Refuse variances that no positive semi-definite kernel gives."""
    wrong = np.flatnonzero(~(np.isfinite(variance) & (variance >= NEGATIVE)))
    if wrong.size:
        refuse_kernel(f"the variance of {name(int(wrong[0]))} is {variance[wrong[0]]:g}")


def refuse_kernel(fact: str) -> NoReturn:
    """Say what a positive semi-definite kernel would not have returned."""
    raise ModelError(
        f"The kernel is not positive semi-definite: {fact}.",
        hint="Check its hyper-parameters, and compute it in float64 with a smaller tolerance.",
    )


def check_noise(noise: float) -> None:
    """Refuse a noise that is no variance."""
    if not 0 < noise < math.inf:
        raise ConfigError(f"The noise must be a number above 0, got {noise}.", hint="Give a variance, such as 0.01.")


def check_threshold(threshold: float) -> None:
    """Refuse a threshold that no deviation of a normalised kernel could be compared with."""
    if not 0 < threshold <= 1:
        raise ConfigError(
            f"The uncertainty to stop at must lie in (0, 1], got {threshold}.", hint="The paper uses 0.5, 0.4 and 0.3."
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


def posterior_deviation(
    kernel: MoleculeKernel[P], selected: Molecules, pool: Molecules, *, noise: float = 0.01
) -> FloatArray:
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
    from scipy.linalg import cholesky, solve_triangular  # the command checks its numbers before it is imported

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
    kernel: MoleculeKernel[P], selected: Molecules, pool: Molecules, *, noise: float = 0.01, threshold: float = 0.5
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
