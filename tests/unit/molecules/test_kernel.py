from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel
from tests.unit.molecules.dense import dense_kernel

from modicum.errors import ConfigError, DataError
from modicum.molecules.data.alkanes import enumerate_alkanes
from modicum.molecules.kernel.marginalized import MarginalizedGraphKernel
from modicum.molecules.kernel.microkernels import (
    Additive,
    Constant,
    Convolution,
    KroneckerDelta,
    SquareExponential,
    TensorProduct,
)

SOME = ["CCCC", "CC(C)C", "CC(C)(C)CC(C)CC", "C", "C1CCCC1O", "C/C=C/C(=O)N", "c1ccccc1C#N"]


def simple(h: float = 0.5, **settings: Any) -> MarginalizedGraphKernel:
    return MarginalizedGraphKernel(
        TensorProduct(AtomicNumber=KroneckerDelta(h, (0.1, 1.0)), Hcount=SquareExponential(2.0, (0.5, 9.0))),
        TensorProduct(Order=KroneckerDelta(0.7, (0.1, 1.0))),
        **{"q": Constant(0.05, (0.01, 0.5)), "scale": Constant(30.0, (1.0, 100.0)), **settings},
    )


def rich(**settings: Any) -> MarginalizedGraphKernel:
    return MarginalizedGraphKernel(
        TensorProduct(
            AtomicNumber=KroneckerDelta(0.75),
            AtomicNumber_list_2=Convolution(KroneckerDelta(0.6)),
            MorganHash=KroneckerDelta(0.8),
            RingSize_list=Convolution(KroneckerDelta(0.9)),
            Chiral=KroneckerDelta(0.9),
        ),
        TensorProduct(Order=KroneckerDelta(0.9), Stereo=KroneckerDelta(0.4)),
        p=Constant(0.3),
        q=Constant(0.1),
        **settings,
    )


@pytest.mark.parametrize("kernel", [simple(normalize=False), rich(normalize=False)], ids=["simple", "rich"])
def test_it_equals_the_dense_solve(kernel: MarginalizedGraphKernel) -> None:  # GPRMGK-G7
    expected = np.array([[dense_kernel(kernel, first, second) for second in SOME] for first in SOME])
    np.testing.assert_allclose(kernel(SOME), expected, rtol=1e-8)
    np.testing.assert_allclose(kernel(SOME[:3], SOME[2:]), expected[:3, 2:], rtol=1e-8)
    kernel.tolerance = 1e-13
    np.testing.assert_allclose(kernel.diag(SOME), np.diag(expected), rtol=1e-11)


def test_a_sum_of_attributes_equals_the_dense_solve() -> None:
    kernel = MarginalizedGraphKernel(
        Additive(AtomicNumber=Constant(0.2), Hcount=KroneckerDelta(0.6), MorganHash=KroneckerDelta(0.0)),
        Additive(Order=KroneckerDelta(0.9)),
        q=Constant(0.6),
        normalize=False,
    )
    expected = [[dense_kernel(kernel, first, second) for second in SOME] for first in SOME]
    np.testing.assert_allclose(kernel(SOME), expected, rtol=1e-9)


def test_a_node_kernel_of_zero_takes_its_atoms_out() -> None:
    # With h = 0, atoms of different elements never meet; the limit of a vanishing h is the same.
    zero, tiny = (
        MarginalizedGraphKernel(
            TensorProduct(AtomicNumber=KroneckerDelta(h)),
            TensorProduct(Order=KroneckerDelta(0.9)),
            q=Constant(0.1),
            normalize=False,
        )
        for h in (0.0, 1e-7)
    )
    np.testing.assert_allclose(zero(["CCO", "CN"]), tiny(["CCO", "CN"]), rtol=1e-6)
    zero.backend = "torch"
    np.testing.assert_allclose(zero(["CCO", "CN"]), tiny(["CCO", "CN"]), rtol=1e-6)


@pytest.mark.parametrize("q", [0.01, 0.3, 0.99])
def test_alike_atoms_have_a_closed_form(q: float) -> None:  # GPRMGK-G8
    kernel = MarginalizedGraphKernel(
        TensorProduct(AtomicNumber=KroneckerDelta(1.0)),
        TensorProduct(Order=KroneckerDelta(1.0)),
        q=Constant(q),
        normalize=False,
    )
    # In a regular graph x is the same for all atoms: K = n m / (1 - (1 - q)^2).
    regular = {"CC": 2, "C1CC1": 3, "C1CCCCC1": 6, "C1CCCCCCC1": 8}
    expected = np.outer([*regular.values()], [*regular.values()]) / (1 - (1 - q) ** 2)
    np.testing.assert_allclose(kernel([*regular]), expected, rtol=1e-9)


def test_a_walk_that_always_stops_sums_the_node_kernel() -> None:  # GPRMGK-G8
    kernel = MarginalizedGraphKernel(
        TensorProduct(AtomicNumber=KroneckerDelta(0.25)),
        TensorProduct(Order=KroneckerDelta(0.9)),
        q=Constant(1 - 1e-9),
        normalize=False,
    )
    # CCO with CO: two carbons and an oxygen with one of each.
    np.testing.assert_allclose(kernel(["CCO"], ["CO"]), [[3 * 1 + 3 * 0.25]], rtol=1e-8)


def test_it_does_not_depend_on_the_order_of_atoms() -> None:  # GPRMGK-G9
    from rdkit.Chem import MolFromSmiles, MolToRandomSmilesVect

    kernel = rich()
    for smiles in ("CC(C)(C)CC(C)CCO", "c1ccc2c(c1)CCC2N"):
        others = MolToRandomSmilesVect(MolFromSmiles(smiles), 5, randomSeed=3)
        # Without the Morgan identifiers, whose fall-back depends on the order in which RDKit meets the atoms.
        kernel.nodes = TensorProduct(AtomicNumber=KroneckerDelta(0.75), Hcount=KroneckerDelta(0.8))
        np.testing.assert_allclose(kernel([smiles], [*others]), 1.0, rtol=1e-9)


def test_it_is_symmetric_positive_definite_and_one_with_itself() -> None:  # GPRMGK-G9
    gram = rich(scale=Constant(50.0))(SOME)
    np.testing.assert_array_equal(gram, gram.T)
    np.testing.assert_array_equal(np.diag(gram), 1.0)
    assert np.linalg.eigvalsh(gram).min() > 1e-6


@pytest.mark.parametrize("normalize", [True, False])
def test_gradients_equal_differences(normalize: bool) -> None:  # GPRMGK-G11
    kernel = simple(normalize=normalize, tolerance=1e-13, p=Constant(0.5, (0.1, 1.0)))
    values, gradients = kernel(SOME, eval_gradient=True)
    np.testing.assert_allclose(values, kernel(SOME), rtol=1e-12)
    for place, step in enumerate(np.eye(len(kernel.theta)) * 1e-5):
        above, below = (kernel.clone_with_theta(kernel.theta + sign * step)(SOME) for sign in (1, -1))
        np.testing.assert_allclose(
            gradients[..., place], (above - below) / 2e-5, atol=2e-9 * abs(values).max(), rtol=1e-6
        )


def test_gradients_of_a_sum_and_of_many_values_equal_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modicum.molecules.kernel.solver._LARGEST_GROUP", 16)  # so that Morgan is compared, not tabled
    kernel = MarginalizedGraphKernel(
        Additive(MorganHash=KroneckerDelta(0.2, (0.1, 0.5)), Hcount=Constant(0.3, (0.1, 0.5))),
        Additive(Order=KroneckerDelta(0.4, (0.1, 0.5)), Stereo=KroneckerDelta(0.2, (0.1, 0.5))),
        q=Constant(0.6),
        tolerance=1e-13,
        normalize=False,
    )
    values, gradients = kernel(SOME, eval_gradient=True)
    for place, step in enumerate(np.eye(4) * 1e-5):
        above, below = (kernel.clone_with_theta(kernel.theta + sign * step)(SOME) for sign in (1, -1))
        np.testing.assert_allclose(
            gradients[..., place], (above - below) / 2e-5, atol=2e-9 * abs(values).max(), rtol=1e-6
        )


def test_comparing_and_tabling_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    tabled = rich()(SOME)
    monkeypatch.setattr("modicum.molecules.kernel.solver._LARGEST_GROUP", 8)
    np.testing.assert_allclose(rich()(SOME), tabled, rtol=1e-12)


def test_batches_of_torch_give_the_same() -> None:
    for kernel in (simple, rich):
        np.testing.assert_allclose(kernel(backend="torch")(SOME), kernel()(SOME), rtol=1e-8, atol=1e-300)
        np.testing.assert_allclose(
            kernel(backend="torch", normalize=False)(SOME[:2], SOME[4:]),
            kernel(normalize=False)(SOME[:2], SOME[4:]),
            rtol=1e-8,
        )


def test_prepared_molecules_give_the_same_and_may_be_taken() -> None:
    kernel = rich()
    prepared = kernel.prepare(SOME)
    full = kernel(SOME)
    np.testing.assert_allclose(kernel(prepared), full, rtol=1e-9)
    part = prepared.take([4, 0, 4])
    assert len(part) == 3
    np.testing.assert_allclose(kernel(part, prepared.take([1])), full[[4, 0, 4]][:, [1]], rtol=1e-9)
    np.testing.assert_allclose(kernel(part, ["CCCC"]), full[[4, 0, 4]][:, [0]], rtol=1e-9)


def test_scikit_learn_learns_its_numbers() -> None:
    molecules = ["CC", "CCC", "CCCC", "CC(C)C", "CCO", "CCN", "CCCO", "CCCCO"]
    targets = np.array([0.0, 0.2, 0.4, 0.3, 2.0, 1.5, 2.2, 2.4])
    kernel: Any = ConstantKernel(1.0) * simple(h=0.9)
    regressor: Any = GaussianProcessRegressor(kernel, alpha=1e-3, normalize_y=True).fit(molecules, targets)
    assert regressor.log_marginal_likelihood_value_ > regressor.log_marginal_likelihood(kernel.theta) + 0.1
    mean, deviation = regressor.predict(["CCCCCO", "CC"], return_std=True)
    assert abs(mean[1] - targets[0]) < 0.2
    assert deviation[0] > deviation[1]


def test_it_is_cloned_changed_and_sent_like_any_kernel() -> None:
    kernel = simple()
    kernel(SOME)
    again: Any = clone(kernel)
    assert again == kernel
    np.testing.assert_allclose(pickle.loads(pickle.dumps(kernel))(SOME), kernel(SOME))
    changed = kernel.clone_with_theta(kernel.theta - 0.1)
    assert changed.theta == pytest.approx(kernel.theta - 0.1)
    assert (changed(SOME) != kernel(SOME)).any()
    names = [entry.name for entry in kernel.hyperparameters]
    assert names == ["nodes:AtomicNumber", "nodes:Hcount", "edges:Order", "p", "q", "scale"]
    assert kernel.bounds.shape == (5, 2)  # p is fixed
    assert "q=0.05" in repr(kernel)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"q": Constant(1.0)}, r"q must be in \(0, 1\), got 1.0"),
        ({"q": Constant(0.0)}, r"q must be in \(0, 1\), got 0.0"),
        ({"p": Constant(0.0)}, "p and scale must be > 0"),
        ({"tolerance": 0.0}, "tolerance must be in"),
        ({"backend": "cupy"}, "There is no backend 'cupy'. Use numba or torch."),
    ],
)
def test_an_argument_out_of_range_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        simple(**settings)


def test_an_unknown_attribute_is_told_those_that_there_are() -> None:
    kernel = MarginalizedGraphKernel(
        TensorProduct(Colour=KroneckerDelta(0.5)), TensorProduct(Order=KroneckerDelta(0.5))
    )
    with pytest.raises(ConfigError, match=r"no attribute 'Colour' of atoms or bonds. Use one of: AtomicNumber, "):
        kernel(["CC"])


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_a_kernel_above_one_is_refused(backend: str) -> None:
    kernel = MarginalizedGraphKernel(
        Additive(AtomicNumber=Constant(3.0)),
        TensorProduct(Order=KroneckerDelta(0.9)),
        backend=backend,  # type: ignore[arg-type]
    )
    with pytest.raises(ConfigError, match="the walk does not end"):
        kernel(["CCCC"])


def test_gradients_are_refused_between_two_sets() -> None:
    with pytest.raises(ConfigError, match="Gradients are given for X alone"):
        simple()(["CC"], ["CC"], eval_gradient=True)


@pytest.mark.parametrize(
    ("smiles", "message"),
    [
        ("C(C", r"Molecule 1: RDKit cannot read the SMILES 'C\(C'"),
        ("", "Molecule 1: RDKit cannot read the SMILES ''"),
        ("CC.C", "Molecule 1: A molecule must be of one part, but C.CC has several"),
    ],
)
def test_a_broken_molecule_is_named_by_its_place(smiles: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        simple()(["CC", smiles])


@pytest.mark.slow
def test_loops_compiled_anew_and_those_of_this_process_give_the_same_bits(tmp_path: Path) -> None:
    script = (
        "from modicum.molecules import MarginalizedGraphKernel, enumerate_alkanes\n"
        "kernel = MarginalizedGraphKernel.published()\n"
        "print(kernel(list(enumerate_alkanes(9, 10))[::2]).tobytes().hex())\n"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    anew = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert any(tmp_path.rglob("*.nbc")), "the loops were not cached"
    here = MarginalizedGraphKernel.published()([*enumerate_alkanes(9, 10)][::2])  # read from the cache, or compiled
    assert anew.stdout.strip() == here.tobytes().hex()
