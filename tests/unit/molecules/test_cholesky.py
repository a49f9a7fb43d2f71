from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import cholesky

from modicum.molecules.select.lazy import PAGE, FloatArray, RaggedRows, next_column, without


def positive(size: int, seed: int = 0) -> FloatArray:
    half = np.random.default_rng(seed).normal(size=(size, size))
    return half @ half.T / size


def columns(gram: FloatArray, picks: list[int], noise: float) -> tuple[FloatArray, FloatArray]:
    """L over every row and C of the picks, by the recurrence."""
    rows, factor = np.empty((len(gram), 0)), np.zeros((len(picks), len(picks)))
    for order, pick in enumerate(picks):
        row = rows[pick]
        pivot = gram[pick, pick] - row @ row + noise
        factor[order, :order], factor[order, order] = row, np.sqrt(pivot)
        rows = np.column_stack([rows, next_column(gram[:, pick], rows @ row, pivot)])
    return rows, factor


def test_columns_give_the_variance_of_the_dense_formula() -> None:
    gram, picks = positive(40), [7, 0, 31, 12, 5]
    rows, factor = columns(gram, picks, 0.01)
    noisy = gram[np.ix_(picks, picks)] + 0.01 * np.eye(5)
    np.testing.assert_allclose(factor, np.linalg.cholesky(noisy), atol=1e-13)
    dense = np.diag(gram) - np.einsum("xs,st,xt->x", gram[:, picks], np.linalg.inv(noisy), gram[:, picks])
    np.testing.assert_allclose(np.diag(gram) - np.square(rows).sum(axis=1), dense, atol=1e-12)


def test_a_selected_molecule_keeps_what_the_noise_leaves_of_it() -> None:
    rows, _ = columns(np.array([[2.0]]), [0], 0.5)
    assert 2.0 - rows[0, 0] ** 2 == pytest.approx(2.0 * 0.5 / (2.0 + 0.5))  # v a / (v + a)


@pytest.mark.parametrize("place", [0, 2, 4])
def test_without_one_the_factor_is_that_of_the_others(place: int) -> None:
    gram = positive(5) + 0.1 * np.eye(5)
    reduced, cosines, sines = without(cholesky(gram, lower=True), place)
    others = np.delete(np.delete(gram, place, axis=0), place, axis=1)
    np.testing.assert_allclose(reduced, np.linalg.cholesky(others), atol=1e-14)
    np.testing.assert_allclose(cosines**2 + sines**2, np.ones(4 - place), atol=1e-15)


def test_rows_of_different_lengths_are_multiplied_as_dense_ones() -> None:
    lengths = np.array([0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE + 3])
    dense = np.random.default_rng(0).normal(size=(len(lengths), lengths.max()))
    rows = RaggedRows(len(lengths))
    for column in range(lengths.max()):
        deep = np.flatnonzero(lengths > column)[::-1]
        rows.put(deep, column, dense[deep, column])
        np.testing.assert_array_equal(rows.get(deep, column), dense[deep, column])
    for length in lengths:
        long = np.flatnonzero(lengths >= length)
        vector = np.linspace(-1, 1, length)
        np.testing.assert_allclose(rows.dot(long, vector), dense[long, :length] @ vector, atol=1e-12)
        np.testing.assert_array_equal(rows.row(int(long[0]), length), dense[long[0], :length])
