from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rdkit.Chem import MolFromSmiles
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, Kernel

from modicum.errors import ConfigError, DataError, RunError, StateError
from modicum.molecules.data.smiles import canonical
from modicum.molecules.data.table import Property, PropertyTable
from modicum.molecules.predict.gp import GP_FILE, TREND_DEVIATION, GaussianProcess, Numbers, trend

SMILES = ("CCCC", "CC(C)C", "CCCCC", "CCC(C)C", "CC(C)(C)C", "CCCCCC", "CCCC(C)C", "CCC(C)CC", "CC(C)C(C)C")
NUMBERS = Numbers(signal=0.5, own=0.1, length=120.0, noise=1e-4)


class DegreeKernel:
    """An own kernel of molecules: a squared exponential of how many atoms have one, two, three and four neighbours."""

    def __init__(self, width: float = 1.5) -> None:
        self.width = width

    def prepare(self, molecules):
        return np.array(
            [
                np.bincount([atom.GetDegree() for atom in MolFromSmiles(smiles).GetAtoms()], minlength=5)[1:5]
                for smiles in molecules
            ],
            dtype=float,
        )

    def __call__(self, X, Y=None) -> np.ndarray:
        return np.asarray(RBF(self.width)(X, Y))

    def diag(self, X) -> np.ndarray:
        return np.ones(len(X))


def labels(molecules: tuple[str, ...] = SMILES, error: float | None = None) -> PropertyTable:
    rows = [(smiles, t) for smiles in molecules for t in (250.0, 280.0, 310.0, 340.0)]
    value = [
        600 + 20 * smiles.count("C") - 15 * smiles.count("(") ** 2 - 0.9 * (t - 300) + 1e-3 * (t - 300) ** 2
        for smiles, t in rows
    ]
    return PropertyTable(
        quantity="density",
        smiles=tuple(smiles for smiles, _ in rows),
        temperature=np.array([t for _, t in rows]),
        value=np.array(value),
        error=None if error is None else np.full(len(rows), error),
    )


QUERIES = (("CCCCCCC", "CCC(C)CC", "CC(C)(C)CC"), np.array([260.0, 333.0, 305.0]))


class _Same(Kernel):
    """For scikit-learn: the covariance of the specification, written row by row."""

    def __init__(self, numbers: Numbers, process: GaussianProcess) -> None:
        self.numbers, self.process = numbers, process

    def __call__(self, X, Y=None, eval_gradient=False):  # pyright: ignore[reportIncompatibleMethodOverride]
        Y = X if Y is None else Y
        return np.array([[self._pair(x, y) for y in Y] for x in X])

    def _pair(self, x, y) -> float:
        kernel, it = self.process.kernel, self.numbers
        first, second = (kernel.prepare([smiles]) for smiles in (x[0], y[0]))
        shared = kernel(first, second)[0, 0] + it.own * (canonical(x[0]) == canonical(y[0]))
        smooth = it.signal * shared * np.exp(-0.5 * ((x[1] - y[1]) / it.length) ** 2)
        return smooth + TREND_DEVIATION**2 * self._basis(x) @ self._basis(y)

    def _basis(self, x) -> np.ndarray:
        n, t = MolFromSmiles(x[0]).GetNumAtoms(), x[1] / 300
        terms = np.array([1, n, 1 / n, t, t * t, n * t, t / n])
        return (terms - self.process._basis_center) / self.process._basis_scale

    def diag(self, X) -> np.ndarray:  # pyright: ignore[reportIncompatibleMethodOverride]
        return np.array([self._pair(x, x) for x in X])

    def is_stationary(self) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]
        return False

    @property
    def requires_vector_input(self) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]
        return False


def rows(smiles, temperature):
    return np.array(list(zip(smiles, temperature.tolist(), strict=True)), dtype=object)


@pytest.mark.parametrize("error", [None, 2.0])
def test_means_and_deviations_are_those_of_scikit_learn(error: float | None) -> None:
    table = labels(error=error)
    process = GaussianProcess(DegreeKernel(), numbers=NUMBERS).fit(table)
    center, spread = table.value.mean(), table.value.std()
    noise = NUMBERS.noise + (0.0 if error is None else (error / spread) ** 2)
    reference = GaussianProcessRegressor(_Same(NUMBERS, process), alpha=noise, optimizer=None)  # pyright: ignore[reportArgumentType]
    reference.fit(rows(table.smiles, table.temperature), (table.value - center) / spread)
    expected, deviation = reference.predict(rows(*QUERIES), return_std=True)
    mean, found = process.predict(*QUERIES, return_std=True)
    np.testing.assert_allclose(mean, expected * spread + center, rtol=1e-6)
    # scikit-learn gives the deviation of the function, ours is that of a label.
    np.testing.assert_allclose(found, np.sqrt(np.square(deviation) + NUMBERS.noise) * spread, rtol=1e-6)
    np.testing.assert_array_equal(process.predict(*QUERIES), mean)


def test_almost_without_noise_it_goes_through_its_labels() -> None:
    table = labels()
    process = GaussianProcess(DegreeKernel(), numbers=Numbers(signal=0.5, own=0.1, length=60.0, noise=1e-8)).fit(table)
    np.testing.assert_allclose(process.predict(table.smiles, table.temperature), table.value, atol=1e-2)


def test_labels_that_say_nothing_leave_the_deviation_of_the_prior() -> None:
    table = labels(error=1e9)
    process = GaussianProcess(DegreeKernel(), numbers=NUMBERS).fit(table)
    _, deviation = process.predict(*QUERIES, return_std=True)
    sizes = np.array([7.0, 6.0, 6.0])
    basis = (trend(sizes, QUERIES[1]) - process._basis_center) / process._basis_scale
    prior = 0.5 * 1.1 + 1e-4 + TREND_DEVIATION**2 * (basis**2).sum(axis=1)
    np.testing.assert_allclose(deviation, np.sqrt(prior) * table.value.std(), rtol=1e-6)


def test_a_molecule_like_no_other_is_less_certain_than_a_known_one_by_its_own_signal() -> None:
    table = labels()
    process = GaussianProcess(DegreeKernel(1e-3), numbers=NUMBERS).fit(table)
    here = np.array([295.0])
    _, known = process.predict(["CCCC"], here, return_std=True)
    _, unseen = process.predict(["CC(C)(C)CC"], here, return_std=True)
    # No other row tells of its signal and of its own part; the trend is not free of doubt either.
    assert unseen[0] > np.sqrt(0.5 * 1.1 + 1e-4) * table.value.std() > 5 * known[0]


def test_another_spelling_is_the_same_molecule() -> None:
    process = GaussianProcess(DegreeKernel(), numbers=NUMBERS).fit(labels())
    first, second = (process.predict([it], np.array([300.0]), return_std=True) for it in ("CCC(C)C", "C(C)C(C)C"))
    np.testing.assert_allclose(first, second, rtol=1e-10)


def test_learnt_numbers_beat_the_start_and_depend_on_nothing_but_the_labels() -> None:
    process = GaussianProcess(DegreeKernel()).fit(labels())
    assert process.numbers == GaussianProcess(DegreeKernel()).fit(labels()).numbers
    held = labels(("CCCCCCC", "CC(C)CC(C)C"))
    residual = process.predict(held.smiles, held.temperature) - held.value
    assert np.abs(residual).mean() < 0.5 * held.value.std()


def test_each_fit_learns_its_numbers_and_fixed_ones_stay(tmp_path: Path) -> None:
    process = GaussianProcess(DegreeKernel()).fit(labels())
    other = replace(labels(), value=np.sin(np.arange(len(labels()))) + 5)
    fresh = GaussianProcess(DegreeKernel()).fit(other).numbers
    assert process.numbers != fresh
    process.save(tmp_path, hyperparameters="1.5")
    loaded = GaussianProcess.load(tmp_path, lambda path: DegreeKernel(float(path.read_text())))
    assert process.fit(other).numbers == loaded.fit(other).numbers == fresh
    assert GaussianProcess(DegreeKernel(), numbers=NUMBERS).fit(labels()).fit(other).numbers == NUMBERS


def test_leaving_a_molecule_out_equals_a_refit_at_the_same_scales() -> None:
    table = labels()
    process = GaussianProcess(DegreeKernel(), numbers=NUMBERS).fit(table)
    predicted, deviation = process.leave_molecules_out()
    rest = table.of(frozenset(SMILES) - {"CCC(C)CC"})
    refit = GaussianProcess(DegreeKernel(), numbers=NUMBERS).fit(rest)
    left = np.array([smiles == "CCC(C)CC" for smiles in table.smiles])
    mean, std = refit.predict(("CCC(C)CC",) * 4, table.temperature[left], return_std=True)
    # The refit standardises by fewer labels; the trend's wide prior and the variances move by as much.
    np.testing.assert_allclose(predicted.value[left], mean, atol=0.02 * table.value.std())
    np.testing.assert_allclose(deviation[left], std, rtol=0.2)


def test_calibration_scales_deviations_and_leaves_means() -> None:
    process = GaussianProcess(DegreeKernel(), numbers=NUMBERS).fit(labels())
    mean, before = process.predict(*QUERIES, return_std=True)
    factor = process.calibrate()
    again, after = process.predict(*QUERIES, return_std=True)
    assert factor == process.factor != 1.0
    np.testing.assert_array_equal(again, mean)
    np.testing.assert_allclose(after, factor * before, rtol=1e-12)
    assert process.fit(labels()).factor == 1.0


def test_calibrated_by_held_out_labels_the_residuals_are_as_large_as_their_deviations() -> None:
    process = GaussianProcess(DegreeKernel(), numbers=NUMBERS).fit(labels())
    held = labels(("CCCCCCC", "CC(C)CC(C)C", "CC(C)(C)CC"))
    process.calibrate()
    factor = process.calibrate(held)
    mean, deviation = process.predict(held.smiles, held.temperature, return_std=True)
    assert np.sqrt(np.mean(((held.value - mean) / deviation) ** 2)) == pytest.approx(1.0, rel=1e-9)
    assert process.calibrate(held) == pytest.approx(factor, rel=1e-12)
    with pytest.raises(ConfigError, match="model of density cannot be calibrated with labels of hvap"):
        process.calibrate(replace(held, quantity="hvap"))
    # A molecule in two spellings is one: its rows together weigh as much as those of another.
    spelt = replace(
        held, smiles=tuple("C(CCCCCC)" if at % 2 else it for at, it in enumerate(held.smiles[:4])) + held.smiles[4:]
    )
    assert process.calibrate(spelt) == pytest.approx(factor, rel=1e-12)
    known = process.trained_on(labels().molecules)
    assert known == labels().molecules
    with pytest.raises(ConfigError, match=f"{len(known)} of the {len(known)} molecules to calibrate with are in the"):
        process.calibrate(labels())
    assert process.factor == pytest.approx(factor, rel=1e-12)


def test_what_is_saved_predicts_the_same(tmp_path: Path) -> None:
    process = GaussianProcess(DegreeKernel(1.25)).fit(labels(error=1.0))
    process.calibrate()
    process.save(tmp_path / "model", hyperparameters="1.25")
    again = GaussianProcess.load(tmp_path / "model", lambda path: DegreeKernel(float(path.read_text())))
    np.testing.assert_allclose(
        again.predict(*QUERIES, return_std=True), process.predict(*QUERIES, return_std=True), rtol=1e-9
    )
    assert (again.numbers, again.factor, again.quantity) == (process.numbers, process.factor, "density")
    assert [path.name for path in (tmp_path / "model").iterdir()] == [GP_FILE]


def test_a_file_that_is_no_process_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / GP_FILE, numbers=np.ones(4))
    with pytest.raises(DataError, match="is not a Gaussian process of this library"):
        GaussianProcess.load(tmp_path, lambda _: DegreeKernel())
    (tmp_path / GP_FILE).write_bytes(b"PK")
    with pytest.raises(DataError):
        GaussianProcess.load(tmp_path, lambda _: DegreeKernel())


def test_a_full_disk_leaves_the_older_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = GaussianProcess(DegreeKernel(), numbers=NUMBERS).fit(labels())
    process.save(tmp_path, hyperparameters="1.5")
    before = (tmp_path / GP_FILE).read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(ConfigError, match="No space left on device"):
        process.save(tmp_path, hyperparameters="1.5")
    assert [path.name for path in tmp_path.iterdir()] == [GP_FILE]
    assert (tmp_path / GP_FILE).read_bytes() == before


def test_bad_arguments_are_named() -> None:
    process = GaussianProcess(DegreeKernel(), numbers=NUMBERS)
    with pytest.raises(StateError, match="not fitted"):
        process.predict(*QUERIES)
    with pytest.raises(ConfigError, match="labels that differ"):
        process.fit(labels().of(frozenset()))
    many = np.linspace(1.0, 5000.0, 8001)
    with pytest.raises(ConfigError, match=r"at most 8000 rows, got 8001.*four are plenty"):
        process.fit(PropertyTable(quantity="density", smiles=("C",) * 8001, temperature=many, value=many))
    with pytest.raises(ConfigError, match="3 molecules, but temperatures"):
        process.fit(labels()).predict(QUERIES[0], np.array([300.0]))
    with pytest.raises(DataError, match=r"cannot read the SMILES 'C\(C'"):
        process.predict(["C(C"], np.array([300.0]))


def test_temperatures_and_labels_that_cannot_be_are_refused() -> None:
    process = GaussianProcess(DegreeKernel(), numbers=NUMBERS).fit(labels())
    for kelvin in (np.nan, np.inf, -5.0, 0.0, 1e9):
        with pytest.raises(ConfigError, match="must be above 0 and at most 5000 K"):
            process.predict(["CCCC"], np.array([kelvin]))
    for value in (np.nan, -1.0):
        with pytest.raises(ConfigError, match=f"CCCC cannot have a density of {value:g}"):
            process.fit(replace(labels(), value=np.array([value, *labels().value[1:]])))


def test_a_property_without_temperature_is_the_same_as_at_one_temperature(tmp_path: Path) -> None:
    boiling = PropertyTable(quantity="tb", unit="K", smiles=SMILES, value=np.linspace(270.0, 330.0, len(SMILES)))
    somewhere = replace(boiling, temperature=np.full(len(SMILES), 400.0))
    process = GaussianProcess(DegreeKernel(), numbers=NUMBERS).fit(boiling)
    other = GaussianProcess(DegreeKernel(), numbers=NUMBERS).fit(somewhere)
    asked = ("CCCCCCC", "CC(C)(C)CC")
    np.testing.assert_allclose(process.predict(asked), other.predict(asked, np.full(2, 400.0)), rtol=1e-9)
    process.save(tmp_path, hyperparameters="1.5")
    again = GaussianProcess.load(tmp_path, lambda _: DegreeKernel())
    assert again.property == Property("tb", "K", temperature=False)
    np.testing.assert_allclose(again.predict(asked), process.predict(asked), rtol=1e-9)
    with pytest.raises(ConfigError, match="tb was learnt without temperature"):
        process.predict(asked, np.array([300.0, 300.0]))
    with pytest.raises(ConfigError, match="2 molecules, but none"):
        other.predict(asked)


def test_a_kernel_that_is_no_kernel_is_said() -> None:
    class Wrong(DegreeKernel):
        def __call__(self, X, Y=None) -> np.ndarray:
            return -10 * super().__call__(X, Y)

    process = GaussianProcess(DegreeKernel(), numbers=NUMBERS).fit(labels())
    process.kernel = Wrong()
    with pytest.raises(RunError, match="cannot be factored: the kernel is not positive semi-definite"):
        process.fit(labels())
    with pytest.raises(StateError, match="was not fitted"):  # nothing of the earlier fit is left
        process.predict(*QUERIES)
