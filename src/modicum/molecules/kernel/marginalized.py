"""The marginalized graph kernel of molecules, as scikit-learn knows kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
from sklearn.gaussian_process.kernels import Hyperparameter, Kernel

from modicum.core.devices import check_device
from modicum.errors import ConfigError
from modicum.molecules.functional import FloatArray, normalise
from modicum.molecules.kernel.features import ATOM_ATTRIBUTES, BOND_ATTRIBUTES, Prepared, prepare
from modicum.molecules.kernel.hyperparameters import Hyperparameters, read_hyperparameters, write_hyperparameters
from modicum.molecules.kernel.microkernels import (
    Bounds,
    Composite,
    Constant,
    Convolution,
    KroneckerDelta,
    Microkernel,
    TensorProduct,
)
from modicum.molecules.kernel.solver import Equation, Solver

if TYPE_CHECKING:
    from rdkit.Chem import Mol


Molecules: TypeAlias = "Sequence[Mol | str] | npt.NDArray[Any] | Prepared"


class MarginalizedGraphKernel(Kernel):
    """The kernel of the published active learning: random walks on two molecules at once, compared atom by atom.

    An exact evaluation solves one sparse linear system a pair of molecules, by conjugate gradients. Use it wherever
    scikit-learn takes a kernel; ``X`` is then a sequence of SMILES strings or of RDKit molecules.

    Args:
        nodes: kernel of two atoms, with values in [0, 1].
        edges: kernel of two bonds, likewise.
        p: starting probability of each atom. The published 1 lets K grow with the molecule.
        q: probability that the walk stops at a step, in (0, 1).
        scale: s of the normalisation by size; None for the cosine alone.
        normalize: whether to normalise at all; False gives K itself.
        tolerance: residual of a solve, relative to that of zero.
        backend: "numba" (threads of the CPU) or "torch" (batches on `device`).
        device: of torch.

    Raises:
        ConfigError: if an argument is out of its range, or torch has no such device.

    Source:
        Tang and de Jong 2019, and Xiang et al. 2024 for the normalisation. Departures from the official code: float64
        and a relative tolerance, since its absolute one is below what float32 resolves; exact gradients, also of the
        normalisation.
    """

    def __init__(
        self,
        nodes: Composite,
        edges: Composite,
        *,
        p: Constant = Constant(1.0),  # noqa: B008 - frozen
        q: Constant = Constant(0.01),  # noqa: B008 - frozen
        scale: Constant | None = None,
        normalize: bool = True,
        tolerance: float = 1e-9,
        backend: Literal["numba", "torch"] = "numba",
        device: str = "cpu",
    ) -> None:
        self.nodes = nodes
        self.edges = edges
        self.p = p
        self.q = q
        self.scale = scale
        self.normalize = normalize
        self.tolerance = tolerance
        self.backend: Literal["numba", "torch"] = backend
        self.device = device
        if not 0 < q.value < 1:
            raise ConfigError(f"q must be in (0, 1), got {q.value}.", hint="The published value is 0.01.")
        if not p.value or (scale is not None and not scale.value):
            raise ConfigError("p and scale must be > 0, got 0.", hint="The published values are 1 and 100.")
        if not 0 < tolerance < 1:
            raise ConfigError(f"tolerance must be in (0, 1), got {tolerance}.", hint="The default is 1e-9.")
        if backend not in get_args(Literal["numba", "torch"]):
            raise ConfigError(f"There is no backend {backend!r}.", hint="Use numba or torch.")
        check_device(device)

    @classmethod
    def from_json(cls, path: Path | str, *, normalize: bool = True, **settings: Any) -> Self:
        """Read the published hyper-parameters, ``tMGR.json`` and others of mgktools.

        Args:
            path: of the file.
            normalize: whether to normalise as the file says; False gives K itself.
            settings: `tolerance`, `backend` and `device` of the constructor.

        Raises:
            DataError: if it is no such file.
        """
        read = read_hyperparameters(Path(path))
        return cls(read.nodes, read.edges, p=read.p, q=read.q, scale=read.scale, normalize=normalize, **settings)

    def to_json(self) -> str:
        """Give the text of a file that `from_json` reads back.

        Raises:
            ConfigError: if a microkernel has no name in the format of mgktools.
        """
        numbers = Hyperparameters(nodes=self.nodes, edges=self.edges, p=self.p, q=self.q, scale=self.scale)
        return write_hyperparameters(numbers)

    @classmethod
    def published(cls, **settings: Any) -> Self:
        """Make the kernel of the paper, with the numbers of its ``tMGR.json``.

        Args:
            settings: `normalize`, `tolerance`, `backend` and `device` of the constructor.
        """
        numbers: dict[str, Bounds] = {"bounds": (0.75, 1.0)}
        plain, listed = KroneckerDelta(0.9, **numbers), Convolution(KroneckerDelta(0.9, **numbers))
        nodes: dict[str, Microkernel] = {name: listed if "list" in name else plain for name in ATOM_ATTRIBUTES}
        nodes["AtomicNumber"] = KroneckerDelta(0.75, **numbers)
        return cls(
            TensorProduct(**nodes),
            TensorProduct(**dict.fromkeys(BOND_ATTRIBUTES, plain)),
            q=Constant(0.01, (0.01, 0.5)),
            scale=Constant(100.0, (100.0, 30000.0)),  # the file's own 1000 leaves the value out
            **settings,
        )

    def prepare(self, molecules: Molecules) -> Prepared:
        """Compute the features of molecules once, for many calls.

        Raises:
            DataError: if one of them cannot be read.
        """
        return molecules if isinstance(molecules, Prepared) else prepare(np.asarray(molecules, dtype=object).ravel())

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride] - X holds molecules
        self,
        X: Molecules,  # noqa: N803
        Y: Molecules | None = None,  # noqa: N803
        eval_gradient: bool = False,  # noqa: FBT001, FBT002
    ) -> Any:
        """Evaluate the kernel.

        Args:
            X: n molecules.
            Y: m molecules; X if None.
            eval_gradient: whether to give the derivatives by `theta`, too; only without Y.

        Returns:
            Shape (n, m); with gradients, that and shape (n, n, len(theta)).

        Raises:
            ConfigError: if gradients are asked with Y, or the node and edge kernels exceed 1.
            DataError: if a molecule cannot be read.
        """
        left = self.prepare(X)
        if eval_gradient:
            if Y is not None:
                raise ConfigError("Gradients are given for X alone, but Y was given.", hint="Leave Y out.")
            return self._with_gradient(left)
        raw = self._block(left, None if Y is None else self.prepare(Y))
        if not self.normalize:
            return raw
        right = left if Y is None else self.prepare(Y)
        return normalise(raw, self._own(left), self._own(right), scale=self._scale)

    def diag(self, X: Molecules) -> FloatArray:  # noqa: N803 # pyright: ignore[reportIncompatibleMethodOverride]
        """Evaluate the kernel of each molecule with itself: 1 if it is normalised, else K; shape (n,)."""
        prepared = self.prepare(X)
        return np.ones(len(prepared)) if self.normalize else self._own(prepared).copy()

    def is_stationary(self) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Tell that the kernel is no function of a difference."""
        return False

    @property
    def requires_vector_input(self) -> bool:  # pyright: ignore
        """Tell scikit-learn that X holds molecules, not vectors."""
        return False

    @property
    def hyperparameters(self) -> list[Hyperparameter]:
        """The numbers that can be learnt, by name: ``nodes:Hcount``, ``edges:Order``, ``p``, ``q``, ``scale``."""
        return [
            Hyperparameter(name, "numeric", part.bounds if part.bounds == "fixed" else np.array([part.bounds]))
            for name, part in self._numbers().items()
        ]

    @property
    def theta(self) -> FloatArray:
        """Logarithms of the numbers that are not fixed, in the order of `hyperparameters`."""
        return np.array([math.log(part.value) for part in self._free().values()])

    @theta.setter
    def theta(self, theta: FloatArray) -> None:
        free = self._free()
        if len(theta) != len(free):
            raise ConfigError(
                f"theta must have {len(free)} values, got {len(theta)}.", hint=f"Give one each of {', '.join(free)}."
            )
        values = {name: math.exp(number) for name, number in zip(free, theta, strict=True)}
        inside = {
            room: {name.partition(":")[2]: value for name, value in values.items() if name.startswith(f"{room}:")}
            for room in ("nodes", "edges")
        }
        self.nodes = self.nodes.with_values(inside["nodes"])
        self.edges = self.edges.with_values(inside["edges"])
        self.p = self.p.with_value(values.get("p", self.p.value))
        self.q = self.q.with_value(values.get("q", self.q.value))
        if self.scale is not None:
            self.scale = self.scale.with_value(values.get("scale", self.scale.value))

    @property
    def bounds(self) -> FloatArray:
        """Logarithms of the bounds of theta, shape (len(theta), 2)."""
        return np.log(np.array([part.bounds for part in self._free().values()], dtype=np.float64).reshape(-1, 2))

    def clone_with_theta(self, theta: FloatArray) -> Self:
        """Give a copy with other numbers, as logarithms."""
        return super().clone_with_theta(theta)  # pyright: ignore[reportReturnType]

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name}={part.value:.4g}" for name, part in self._numbers().items())
        return f"{type(self).__name__}({numbers}, normalize={self.normalize})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_solver"}

    @property
    def _scale(self) -> float | None:
        return None if self.scale is None else self.scale.value

    def _numbers(self) -> dict[str, Microkernel]:
        numbers: dict[str, Microkernel] = {f"nodes:{name}": part for name, part in self.nodes.parts.items()}
        numbers |= {f"edges:{name}": part for name, part in self.edges.parts.items()}
        numbers |= {"p": self.p, "q": self.q}
        return numbers if self.scale is None or not self.normalize else numbers | {"scale": self.scale}

    def _free(self) -> dict[str, Microkernel]:
        return {name: part for name, part in self._numbers().items() if part.bounds != "fixed"}

    def _solving(self) -> Solver:
        # Made anew when a number has changed: scikit-learn sets attributes from outside.
        equation = Equation(self.nodes, self.edges, self.p.value, self.q.value, self.tolerance)
        held: Solver | None = getattr(self, "_solver", None)
        if held is None or held.equation != equation or held.place != (self.backend, self.device):
            held = Solver(equation, (self.backend, self.device))
            self._solver = held
        return held

    def _own(self, molecules: Prepared) -> FloatArray:
        return self._solving().own(molecules)

    def _block(self, left: Prepared, right: Prepared | None) -> FloatArray:
        solver = self._solving()
        if right is not None:
            return solver.block(left, right)
        n = len(left)
        rows, columns = np.triu_indices(n, k=1)
        block = np.diag(solver.own(left))
        block[rows, columns] = block[columns, rows] = solver.pairs(left, left, rows, columns)
        return block

    def _with_gradient(self, molecules: Prepared) -> tuple[FloatArray, FloatArray]:
        n = len(molecules)
        rows, columns = np.triu_indices(n)
        free = [name for name in self._free() if name != "scale"]
        values, by = self._solving().gradients(molecules, rows, columns, free)
        raw, slopes = np.empty((n, n)), np.empty((n, n, len(free)))
        raw[rows, columns] = raw[columns, rows] = values
        # theta holds logarithms: d/d log h = h d/dh.
        slopes[rows, columns] = slopes[columns, rows] = by * np.exp(self.theta[: len(free)])
        if not self.normalize:
            return raw, slopes
        return self._normalised_gradient(raw, slopes)

    def _normalised_gradient(self, raw: FloatArray, slopes: FloatArray) -> tuple[FloatArray, FloatArray]:
        own = np.diag(raw)
        kernel = normalise(raw, own, own, scale=self._scale)
        relative = slopes / raw[..., None]
        self_slopes = np.einsum("iip->ip", slopes)
        halves = np.einsum("iip->ip", relative) / 2
        logarithmic = relative - halves[:, None] - halves
        if self._scale is not None:
            gap = (own[:, None] - own) / self._scale**2
            logarithmic -= 2 * gap[..., None] * (self_slopes[:, None] - self_slopes)
            if "scale" in self._free():
                by_scale = 2 * ((own[:, None] - own) / self._scale) ** 2
                logarithmic = np.concatenate([logarithmic, by_scale[..., None]], axis=2)
        return kernel, kernel[..., None] * logarithmic
