"""What selection asks of a kernel and of a pool, and the refusal of what is neither."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NoReturn, Protocol, Self, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from modicum.errors import ConfigError, ModelError
from modicum.molecules.cholesky import FloatArray, IntArray

NEGATIVE = -1e-6  # ours: the graph kernel is solved to a relative 1e-7, so that a 0 may come out this far below


class Prepared(Protocol):
    """Molecules whose features are computed."""

    def __len__(self) -> int: ...

    def take(self, indices: IntArray, /) -> Self:
        """Keep the molecules of some indices, in their order."""
        ...


P = TypeVar("P", bound=Prepared)


class Kernel(Protocol[P]):
    """A positive semi-definite kernel of molecules, such as ``MarginalizedGraphKernel``."""

    def prepare(self, molecules: Sequence[str], /) -> P:
        """Compute the features of molecules once."""
        ...

    def __call__(self, x: P, y: P, /) -> npt.NDArray[np.floating]:
        """Compute k(x, y) of every pair, shape (n, m)."""
        ...

    def diag(self, x: P, /) -> npt.NDArray[np.floating]:
        """Compute k(x, x) of each molecule."""
        ...


class Pooled(Protocol):
    """A pool of molecules, such as ``modicum.molecules.pool.Pool``."""

    @property
    def smiles(self) -> tuple[str, ...]:
        """Of each molecule."""
        ...


Molecules: TypeAlias = Pooled | Sequence[str]


def smiles_of(molecules: Molecules, *, role: str = "pool") -> tuple[str, ...]:
    """Read the SMILES of a pool, or of a list."""
    if isinstance(molecules, str):
        raise ConfigError(
            f"The {role} must be many molecules, got one SMILES string {molecules!r}.", hint="Give a list of SMILES."
        )
    names = tuple(molecules) if isinstance(molecules, Sequence) else molecules.smiles
    if not names:
        raise ConfigError(f"The {role} is empty.", hint="Give at least one molecule.")
    return names


def prior_variance(kernel: Kernel[P], prepared: P, name: Callable[[int], str]) -> FloatArray:
    """Compute k(x, x) and refuse what no kernel returns."""
    variance = np.array(kernel.diag(prepared), dtype=np.float64)
    if variance.shape != (len(prepared),):
        refuse_kernel(f"its diagonal of {len(prepared)} molecules has the shape {variance.shape}")
    check_variance(variance, name)
    return variance


def cross_values(kernel: Kernel[P], x: P, y: P, name: Callable[[int], str]) -> FloatArray:
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
