"""The Gaussian process: any kernel of molecules times a squared exponential in T, over a trend in size and T."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast, overload

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Kernel

from modicum.core.files import aside, make_folder
from modicum.core.safeload import load_npz
from modicum.core.seeding import numpy_generator
from modicum.errors import ConfigError, DataError, RunError, StateError
from modicum.molecules.configuration import GP_FILE
from modicum.molecules.data.smiles import canonical, read_molecule
from modicum.molecules.data.table import Property, PropertyTable, check_labels, kelvins
from modicum.molecules.functional import FloatArray, IntArray
from modicum.molecules.predict.scores import calibrate
from modicum.molecules.select.posterior import MoleculeKernel

TREND_DEVIATION = 10.0  # ours: in units of the spread of the labels, so that the trend is as good as free


@dataclass(frozen=True, kw_only=True, slots=True)
class Numbers:
    """What marginal likelihood chooses; variances are in units of the variance of the labels."""

    signal: float  # variance that similar molecules share
    own: float  # variance that a molecule shares with no other, as a part of `signal`
    length: float  # of the squared exponential in T, K
    noise: float  # variance of a single row

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be > 0, got {getattr(self, name)}.", hint="Give a positive number.")


def trend(sizes: FloatArray, temperature: FloatArray) -> FloatArray:
    """Give the seven terms of the trend: 1, n, 1/n, T, T^2, nT, T/n."""
    # The specification asks for seven terms in n and T without naming them; these are ours. 1/n is the share of chain
    # ends, T/n its change with temperature.
    n, t = sizes, temperature / 300
    return np.column_stack([np.ones_like(t), n, 1 / n, t, t**2, n * t, t / n])


class RowKernel(Kernel):
    """The covariance of rows, for scikit-learn: a row is the index of a molecule, a temperature and its trend terms."""

    # b^2 h h' + signal (k + own [same molecule]) exp(-(T - T')^2 / 2 length^2) + noise [same row], where b is
    # `TREND_DEVIATION`: a linear trend with a wide normal prior is one more kernel, and all else stays plain formulas.

    def __init__(self, numbers: Numbers, molecules: FloatArray, diagonal: FloatArray) -> None:
        self.numbers = numbers
        self.molecules = molecules  # k of each molecule with those that have labels, which come first
        self.diagonal = diagonal  # k of each molecule with itself

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        X: FloatArray,  # noqa: N803
        Y: FloatArray | None = None,  # noqa: N803
        eval_gradient: bool = False,  # noqa: FBT001, FBT002
    ) -> Any:
        """Give the covariance of rows, of X with itself with the noise, and its slopes by `theta`."""
        numbers, other = self.numbers, X if Y is None else Y
        first, second = X[:, 0].astype(int), other[:, 0].astype(int)
        gap = (X[:, 1][:, None] - other[:, 1]) / numbers.length
        smooth = numbers.signal * np.exp(-0.5 * gap**2)
        alone = numbers.own * (first[:, None] == second)
        both = (self.molecules[np.ix_(first, second)] + alone) * smooth
        full = both + TREND_DEVIATION**2 * (X[:, 2:] @ other[:, 2:].T)
        if Y is None:
            full[np.diag_indices_from(full)] += numbers.noise
        if not eval_gradient:
            return full
        return full, np.stack([both, alone * smooth, both * gap**2, numbers.noise * np.eye(len(X))], axis=2)

    def diag(self, X: FloatArray) -> FloatArray:  # noqa: N803 # pyright: ignore[reportIncompatibleMethodOverride]
        """Give the variance of a new label of each row."""
        molecules = self.diagonal[X[:, 0].astype(int)] + self.numbers.own
        trend = TREND_DEVIATION**2 * (X[:, 2:] ** 2).sum(axis=1)
        return self.numbers.noise + (self.numbers.signal * molecules + trend)

    def is_stationary(self) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Tell that it is no function of a difference."""
        return False

    @property
    def theta(self) -> FloatArray:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Logarithms of the numbers."""
        return np.log(astuple(self.numbers))

    @theta.setter
    def theta(self, theta: FloatArray) -> None:
        self.numbers = Numbers(**dict(zip(Numbers.__slots__, np.exp(theta).tolist(), strict=True)))


def leave_groups_out(full: FloatArray, target: FloatArray, groups: IntArray) -> tuple[FloatArray, FloatArray]:
    """Predict each group of rows from all others, without a refit."""
    # With P the inverse of the covariance and I the rows of a group, the rows' labels given all others are normal with
    # mean y_I - (P_II)^-1 (P y)_I and covariance (P_II)^-1: the block of the joint precision is the precision of the
    # conditional. For groups of one row these are the formulas of Rasmussen and Williams 2006, eqs. 5.12.
    inverse = cho_solve(cho_factor(full, lower=True, check_finite=False), np.eye(len(target)), check_finite=False)
    weights = inverse @ target
    mean, deviation = np.empty_like(target), np.empty_like(target)
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        conditional = np.linalg.inv(inverse[np.ix_(rows, rows)])
        mean[rows] = target[rows] - conditional @ weights[rows]
        deviation[rows] = np.sqrt(np.diag(conditional))
    return mean, deviation


# Ours: what the search for hyper-parameters sees; a step of it takes about a second on one core.
_SEARCH_TEMPERATURES, _SEARCH_ROWS = 4, 1_300


def search_rows(molecule: IntArray, temperature: FloatArray, seed: int) -> IntArray:
    """Choose the rows that the search for hyper-parameters sees: four temperatures of at most 325 molecules or so."""
    kept: list[IntArray] = []
    for index in np.unique(molecule):
        rows = np.flatnonzero(molecule == index)
        rows = rows[np.argsort(temperature[rows], kind="stable")]
        count = min(_SEARCH_TEMPERATURES, len(rows))
        kept.append(rows[np.unique(np.linspace(0, len(rows) - 1, count).round().astype(int))])
    rows = np.sort(np.concatenate(kept))
    if len(rows) <= _SEARCH_ROWS:
        return rows
    shuffled = numpy_generator(seed, "search").permutation(np.unique(molecule))
    count = np.cumsum(np.bincount(molecule[rows])[shuffled])
    return rows[np.isin(molecule[rows], shuffled[count <= _SEARCH_ROWS])]


_MOST_ROWS = 8_000  # ours: the covariance of so many takes 0.5 GB, and its factor 15 s on one core
_CHUNK = 2_000  # rows predicted at once
_START = Numbers(signal=0.1, own=0.05, length=300.0, noise=1e-4)
# Below 1e-5 the covariance could not be factored in float64 beside the wide trend.
_BOUNDS = [(math.log(low), math.log(high)) for low, high in ((1e-4, 1e3), (1e-4, 1e1), (3e1, 1e4), (1e-5, 1.0))]


class GaussianProcess:
    """Predict a property at temperatures, with intervals.

    The covariance is ``signal (k + own [same molecule]) RBF(T)``, noise a row, and a free linear trend of seven terms
    in size and T; a property without temperature has one T for all rows. Noise is the label errors, where there are
    any, and a nugget; the four hyper-parameters maximise the marginal likelihood of the training rows (at most four
    temperatures a molecule and 1,300 rows, drawn by molecule). Rows are dense: 5,000 take some 10 s and 1 GB.

    Args:
        kernel: of molecules.
        numbers: fixed ones; None learns them at each fit.
    """

    def __init__(self, kernel: MoleculeKernel[Any], *, numbers: Numbers | None = None) -> None:
        self.kernel = kernel
        self._fixed = self.numbers = numbers
        self.factor = 1.0
        self.property: Property | None = None
        self._table: PropertyTable | None = None

    @property
    def quantity(self) -> str | None:
        """Name of the property that it predicts; None before `fit`."""
        return None if self.property is None else self.property.name

    def fit(self, table: PropertyTable, *, seed: int = 0) -> GaussianProcess:
        """Learn from labels.

        Args:
            table: labels, at most 8,000 rows; errors are added to the noise of their rows.
            seed: of the molecules that the search sees if there are more than it takes.

        Returns:
            Itself; `numbers` holds what was learnt, and `factor` is 1 until `calibrate`.

        Raises:
            ConfigError: if there are too many rows, no two different values, or one that cannot be a label.
            DataError: if a molecule cannot be read.
            RunError: if the covariance cannot be factored.
        """
        if len(table) > _MOST_ROWS:
            raise ConfigError(
                f"A dense Gaussian process takes at most {_MOST_ROWS} rows, got {len(table)}.",
                hint="Give it fewer temperatures a molecule; four are plenty.",
            )
        if len(table) < 2 or np.ptp(table.value) == 0:
            raise ConfigError("A Gaussian process needs labels that differ.", hint="Give rows of more than one value.")
        check_labels(table)
        self._table = None  # a fit that fails leaves no part of an earlier one to predict with
        self._set(table)
        self.numbers = self._fixed or self._search(seed)
        self._process = self._solved(self.numbers, np.arange(len(table)))
        self._table, self.property, self.factor = table, table.property, 1.0
        return self

    @overload
    def predict(
        self, smiles: Sequence[str], temperature: FloatArray | None = None, *, return_std: Literal[False] = False
    ) -> FloatArray: ...
    @overload
    def predict(
        self, smiles: Sequence[str], temperature: FloatArray | None = None, *, return_std: Literal[True]
    ) -> tuple[FloatArray, FloatArray]: ...
    def predict(
        self, smiles: Sequence[str], temperature: FloatArray | None = None, *, return_std: bool = False
    ) -> FloatArray | tuple[FloatArray, FloatArray]:
        """Predict the property.

        Args:
            smiles: of the molecule of each row.
            temperature: K, shape (n,), above 0 and up to 5000; None for a property without temperature.
            return_std: whether to give standard deviations, too.

        Returns:
            Means in the unit of the labels, shape (n,); with `return_std` also their std: that of a new label of that
            molecule (its own part and the nugget included), times `factor`. A molecule of the training set, however
            it is spelt, keeps its own part.

        Raises:
            ConfigError: if the columns differ in length, or a temperature is impossible, missing or not used.
            DataError: if a molecule cannot be read.
            StateError: if it was not fitted.
        """
        self._fitted()
        temperature = kelvins(self.property, len(smiles), temperature)
        mean, deviation = np.empty(len(smiles)), np.empty(len(smiles))
        for start in range(0, len(smiles), _CHUNK):
            part = slice(start, start + _CHUNK)
            mean[part], deviation[part] = self._predict(smiles[part], temperature[part], deviate=return_std)
        mean = mean * self._scale + self._center
        return (mean, deviation * self._scale * self.factor) if return_std else mean

    def leave_molecules_out(self) -> tuple[PropertyTable, FloatArray]:
        """Predict each training molecule from all others, at the learnt numbers.

        Returns:
            The predictions as a table, and their deviations (without `factor`), shape (n,).

        Raises:
            StateError: if it was not fitted.
        """
        table, full = self._fitted(), self._process.kernel_(self._rows)
        full[np.diag_indices_from(full)] += self._variance
        mean, deviation = leave_groups_out(full, self._target, self._rows[:, 0].astype(int))
        return replace(table, value=mean * self._scale + self._center, error=None), deviation * self._scale

    def calibrate(self, held_out: PropertyTable | None = None) -> float:
        """Learn `factor`, by which `predict` multiplies deviations.

        Prefer labels of molecules like those that will be asked for. Molecules that active learning chose are far
        from each other, so that leaving them out tells of large deviations only, and may narrow the others too much.

        Args:
            held_out: labels of molecules that are not in the training set; None leaves molecules of that out.

        Returns:
            The factor.

        Raises:
            ConfigError: if the labels are of another quantity, or of a molecule of the training set, in any spelling.
            DataError: if a molecule cannot be read.
            StateError: if it was not fitted.
        """
        labels = self._fitted() if held_out is None else held_out
        if labels.quantity != self.quantity:
            raise ConfigError(
                f"A model of {self.quantity} cannot be calibrated with labels of {labels.quantity}.",
                hint="Give labels of its own quantity.",
            )
        if held_out is None:
            predicted, deviation = self.leave_molecules_out()
            mean = predicted.value
        else:
            known = self.trained_on(labels.molecules)
            if known:
                raise ConfigError(
                    f"{len(known)} of the {len(labels.molecules)} molecules to calibrate with are in the training "
                    f"labels, the first is {known[0]}; their residuals make intervals too narrow.",
                    hint="Give labels of other molecules.",
                )
            self.factor = 1.0
            mean, deviation = self.predict(labels.smiles, labels.temperature, return_std=True)
        self.factor = calibrate(labels.value - mean, deviation, tuple(map(canonical, labels.smiles)))
        return self.factor

    def trained_on(self, smiles: Sequence[str]) -> tuple[str, ...]:
        """Find the molecules that are in the training labels, however they are spelt.

        Args:
            smiles: of molecules, one each.

        Returns:
            Those of them that are, as they were given.

        Raises:
            DataError: if a molecule cannot be read.
            StateError: if it was not fitted.
        """
        self._fitted()
        return tuple(molecule for molecule in smiles if canonical(molecule) in self._places)

    def save(self, folder: Path, *, hyperparameters: str) -> None:
        """Write `GP_FILE` into a folder, whole or not at all.

        Args:
            folder: made if it is missing.
            hyperparameters: text of the file that the kernel was read from.

        Raises:
            ConfigError: if it cannot be written.
            StateError: if it was not fitted.
        """
        table = self._fitted()
        content = {
            "quantity": np.array(table.quantity),
            "unit": np.array(table.unit),
            "smiles": np.array(table.smiles),
            "temperature": table.temperature,
            "value": table.value,
            "error": np.empty(0) if table.error is None else table.error,
            "numbers": np.array(astuple(cast("Numbers", self.numbers))),
            "factor": np.array(self.factor),
            "hyperparameters": np.array(hyperparameters),
        }
        make_folder(folder)
        with aside(folder / GP_FILE) as part, part.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **content)

    @classmethod
    def load(cls, folder: Path, read_kernel: Callable[[Path], MoleculeKernel[Any]]) -> GaussianProcess:
        """Read a process that `save` wrote, and factor its covariance again.

        Its hyper-parameters are those of the file until it is fitted again, which learns them.

        Args:
            folder: with `GP_FILE`.
            read_kernel: makes the kernel from a file of hyper-parameters: ``MarginalizedGraphKernel.from_json``.

        Raises:
            DataError: if the file is missing, damaged or something else.
            RunError: if the covariance cannot be factored.
        """
        path = folder / GP_FILE
        content = load_npz(path)
        try:
            numbers = Numbers(**dict(zip(Numbers.__slots__, content["numbers"].tolist(), strict=True)))
            table = PropertyTable(
                quantity=str(content["quantity"]),
                unit=str(content["unit"]),
                smiles=tuple(content["smiles"].tolist()),
                temperature=content["temperature"].astype(float),
                value=content["value"].astype(float),
                error=content["error"].astype(float) if content["error"].size else None,
            )
            text, factor = str(content["hyperparameters"]), float(content["factor"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{path} is not a Gaussian process of this library ({error}).",
                hint="Train it again with GaussianProcess.fit and save.",
            ) from error
        with tempfile.TemporaryDirectory() as place:
            file = Path(place) / "hyperparameters.json"
            file.write_text(text, encoding="utf-8")
            process = cls(read_kernel(file), numbers=numbers)
        process.fit(table).factor = factor
        process._fixed = None
        return process

    def _fitted(self) -> PropertyTable:
        if self._table is None:
            raise StateError("The Gaussian process was not fitted.", hint="Call fit, or load a saved one.")
        return self._table

    def _set(self, table: PropertyTable) -> None:
        spelt = {smiles: canonical(smiles) for smiles in table.molecules}
        self._places = {name: place for place, name in enumerate(dict.fromkeys(spelt.values()))}
        self._prepared = self.kernel.prepare(list(self._places))
        self._molecules = np.asarray(self.kernel(self._prepared), dtype=float)
        self._diagonal = np.asarray(self.kernel.diag(self._prepared), dtype=float)
        temperature = kelvins(table.property, len(table), table.temperature)
        terms = _terms(table.smiles, temperature)
        self._basis_center, self._basis_scale = terms.mean(axis=0), terms.std(axis=0)
        self._basis_center[0] = 0.0  # the first term is the constant 1
        self._basis_scale[self._basis_scale < 1e-9 * np.abs(terms).max(axis=0)] = 1.0
        self._rows = self._rows_of([self._places[spelt[smiles]] for smiles in table.smiles], temperature, terms)
        self._center, self._scale = float(table.value.mean()), float(table.value.std())
        self._target = (table.value - self._center) / self._scale
        self._variance = np.zeros(len(table)) if table.error is None else (table.error / self._scale) ** 2

    def _rows_of(self, molecules: Sequence[int], temperature: FloatArray, terms: FloatArray) -> FloatArray:
        return np.column_stack([molecules, temperature, (terms - self._basis_center) / self._basis_scale])

    def _solved(self, numbers: Numbers, rows: IntArray) -> Any:
        kernel = RowKernel(numbers, self._molecules, self._diagonal)
        process = cast("Any", GaussianProcessRegressor)(kernel, alpha=self._variance[rows], optimizer=None)
        try:
            return process.fit(self._rows[rows], self._target[rows])
        except np.linalg.LinAlgError as error:
            raise RunError(
                "The covariance of the labels cannot be factored: the kernel is not positive semi-definite, or rows "
                "are the same.",
                hint="Use a positive semi-definite kernel, and one row for each molecule and temperature.",
            ) from error

    def _search(self, seed: int) -> Numbers:
        rows = search_rows(self._rows[:, 0].astype(int), self._rows[:, 1], seed)
        process = self._solved(_START, rows)

        def loss(theta: FloatArray) -> tuple[float, FloatArray]:
            value, slope = process.log_marginal_likelihood(theta, eval_gradient=True, clone_kernel=False)
            return -value, -slope

        found = minimize(
            loss,
            process.kernel_.theta,
            jac=True,
            bounds=_BOUNDS,
            method="L-BFGS-B",
            options={"ftol": 1e-6, "maxiter": 60},
        )
        return Numbers(**dict(zip(Numbers.__slots__, np.exp(found.x).tolist(), strict=True)))

    def _predict(
        self, smiles: Sequence[str], temperature: FloatArray, *, deviate: bool
    ) -> tuple[FloatArray, FloatArray]:
        places = {text: self._places.get(canonical(text), -1) for text in dict.fromkeys(smiles)}
        unseen = [text for text, place in places.items() if place < 0]
        places |= {text: place for place, text in enumerate(unseen, len(self._places))}
        numbers = cast("Numbers", self.numbers)
        molecules, diagonal = self._molecules, self._diagonal
        if unseen:
            prepared = self.kernel.prepare(unseen)
            molecules = np.concatenate([molecules, np.asarray(self.kernel(prepared, self._prepared), dtype=float)])
            diagonal = np.concatenate([diagonal, np.asarray(self.kernel.diag(prepared), dtype=float)])
        self._process.kernel_ = RowKernel(numbers, molecules, diagonal)
        rows = self._rows_of([places[text] for text in smiles], temperature, _terms(smiles, temperature))
        if not deviate:
            return self._process.predict(rows), np.zeros(len(rows))
        mean, deviation = self._process.predict(rows, return_std=True)
        # Rounding can leave a variance below that of the nugget, which no label falls below.
        return mean, np.maximum(deviation, math.sqrt(numbers.noise))


def _terms(smiles: Sequence[str], temperature: FloatArray) -> FloatArray:
    sizes = {molecule: read_molecule(molecule).GetNumAtoms() for molecule in dict.fromkeys(smiles)}
    return trend(np.array([sizes[molecule] for molecule in smiles], dtype=float), temperature)
