from __future__ import annotations

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from tests.unit.molecules.point_kernel import Floats, PointKernel, Points, cloud

from modicum.errors import ConfigError, ModelError
from modicum.molecules.select import posterior
from modicum.molecules.select.posterior import certify, posterior_deviation


def test_the_deviation_of_one_selected_molecule_by_hand() -> None:
    kernel = PointKernel(np.array([[0.0], [2.0]]))
    u = posterior_deviation(kernel, ["C0"], kernel.names, noise=0.25)
    near = np.exp(-2.0)
    np.testing.assert_allclose(u, np.sqrt([1 - 1 / 1.25, 1 - near**2 / 1.25]), rtol=1e-14)


def test_deviations_are_those_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posterior, "BLOCK", 100)  # chunks of 10 molecules
    kernel = cloud(53)
    chosen = [3, 50, 7, 11, 30, 20, 1, 9, 40, 2]
    process = GaussianProcessRegressor(RBF(1.0, "fixed"), alpha=0.01)
    process.fit(kernel.points[chosen], np.zeros(10))
    expected = process.predict(kernel.points, return_std=True)[1]
    u = posterior_deviation(kernel, [kernel.names[place] for place in chosen], kernel.names, noise=0.01)
    np.testing.assert_allclose(u, expected, atol=1e-12)


def test_the_certificate_is_the_maximum() -> None:
    kernel = PointKernel(np.array([[0.0], [0.1], [5.0], [0.2]]))
    bad = certify(kernel, ["C0", "C1"], kernel.names, threshold=0.5)
    assert (bad.at, bad.holds) == ("C2", False)
    assert bad.largest == pytest.approx(1.0, abs=1e-9)
    good = certify(kernel, ["C0", "C2"], kernel.names, threshold=0.5)
    assert good.holds
    assert good.largest == posterior_deviation(kernel, ["C0", "C2"], kernel.names).max()


def test_a_deviation_that_equals_the_threshold_is_not_below_it() -> None:
    kernel = PointKernel(np.array([[0.0]]))
    u = posterior_deviation(kernel, ["C0"], ["C0"], noise=0.5)[0]
    assert not certify(kernel, ["C0"], ["C0"], noise=0.5, threshold=u).holds


@pytest.mark.parametrize("noise", [0.0, -0.01, float("nan"), float("inf")])
def test_a_noise_that_is_no_variance_is_refused(noise: float) -> None:
    with pytest.raises(ConfigError, match="noise must be a number above 0"):
        posterior_deviation(cloud(3), ["C0"], ["C1"], noise=noise)


@pytest.mark.parametrize("threshold", [0.0, -0.5, 1.5, float("nan")])
def test_a_threshold_out_of_range_is_refused(threshold: float) -> None:
    with pytest.raises(ConfigError, match=r"must lie in \(0, 1\]"):
        certify(cloud(3), ["C0"], ["C1"], threshold=threshold)


def test_an_empty_set_is_refused_by_its_name() -> None:
    with pytest.raises(ConfigError, match="The selected set is empty"):
        posterior_deviation(cloud(3), [], ["C1"])
    with pytest.raises(ConfigError, match="The pool is empty"):
        posterior_deviation(cloud(3), ["C1"], [])
    with pytest.raises(ConfigError, match="one SMILES string 'CCC'"):
        posterior_deviation(cloud(3), ["C1"], "CCC")


class Repelling(PointKernel):
    """Symmetric, and no kernel: distinct points are more alike than equal ones."""

    def __call__(self, x: Points, y: Points | None = None) -> Floats:
        return 3 - 2 * super().__call__(x, y)


def test_a_matrix_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ModelError, match="not positive semi-definite: its matrix of the 2 selected"):
        posterior_deviation(Repelling(np.array([[0.0], [1.0]])), ["C0", "C1"], ["C0"])


def test_a_negative_variance_is_refused_by_the_name_of_its_molecule() -> None:
    with pytest.raises(ModelError, match="the variance of C1 is -"):
        posterior_deviation(Repelling(np.array([[0.0], [1.0]])), ["C0"], ["C0", "C1"])


class Misshapen(PointKernel):
    def diag(self, x: Points) -> Floats:
        return np.ones((len(x), 1))


def test_a_diagonal_of_another_shape_is_refused() -> None:
    with pytest.raises(ModelError, match=r"its diagonal of 2 molecules has the shape \(2, 1\)"):
        posterior_deviation(Misshapen(np.array([[0.0], [1.0]])), ["C0"], ["C0", "C1"])


class Transposed(PointKernel):
    def __call__(self, x: Points, y: Points | None = None) -> Floats:
        return super().__call__(x, y).T


def test_values_of_another_shape_are_refused() -> None:
    with pytest.raises(ModelError, match=r"2 and 1 molecules gave the shape \(1, 2\)"):
        posterior_deviation(Transposed(np.array([[0.0], [1.0]])), ["C0"], ["C0", "C1"])
