from __future__ import annotations

import numpy as np

from modicum.molecules.predict.gp import search_rows


def test_the_ends_and_the_middle_are_kept() -> None:
    temperature = np.array([320.0, 300.0, 310.0, 340.0, 330.0, 350.0, 250.0])
    np.testing.assert_array_equal(search_rows(np.array([0] * 6 + [1]), temperature, 0), [0, 1, 4, 5, 6])


def test_the_search_sees_whole_molecules_and_not_too_many() -> None:
    molecule = np.repeat(np.arange(1000), 16)
    temperature = np.tile(np.linspace(200.0, 500.0, 16), 1000)
    rows = search_rows(molecule, temperature, 0)
    assert len(rows) == 1300
    assert set(np.unique(molecule[rows], return_counts=True)[1]) == {4}
    assert not np.array_equal(rows, search_rows(molecule, temperature, 1))
    assert len(search_rows(molecule[:1600], temperature[:1600], 0)) == 400
