from __future__ import annotations

import numpy as np
import pytest

from modicum.errors import SimulationError
from modicum.molecules.liquid import simulation as box
from modicum.molecules.liquid.simulation import conformers, edge_of, fill_box
from modicum.molecules.liquid.trappe import united_atoms

HEXANE = united_atoms("CCCCCC")


@pytest.mark.parametrize("smiles", ["C", "CCCCCC", "CC(C)(C)C(C)(C)C"])
def test_a_box_has_the_density_asked_for_and_no_overlap(smiles: str) -> None:
    molecule = united_atoms(smiles)
    filled = fill_box(molecule, 60, density=100.0, seed=0)
    assert filled.positions.shape == (60, len(molecule), 3)
    mass = 60 * molecule.molar_mass / 6.02214076e23 * 1e-3  # kg
    assert mass / (filled.edge * 1e-9) ** 3 == pytest.approx(100.0, rel=1e-9)
    apart = filled.positions[:, None, :, None] - filled.positions[None, :, None, :]
    apart -= filled.edge * np.round(apart / filled.edge)
    distance = np.linalg.norm(apart, axis=-1)
    assert distance[~np.eye(60, dtype=bool)].min() > 0.38


def test_molecules_are_whole_and_turned() -> None:
    filled = fill_box(HEXANE, 40, density=100.0, seed=0)
    bonds = np.linalg.norm(np.diff(filled.positions, axis=1), axis=-1)
    np.testing.assert_allclose(bonds, 0.154, atol=0.01)  # until OpenMM makes them rigid
    axes = filled.positions[:, -1] - filled.positions[:, 0]
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    assert np.linalg.norm(axes.mean(axis=0)) < 0.5  # 40 random directions: 0.16 on average


def test_the_same_seed_gives_the_same_box() -> None:
    one, same, other = (fill_box(HEXANE, 10, density=50.0, seed=seed).positions for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0.1


def test_a_box_that_is_full_is_refused() -> None:
    with pytest.raises(SimulationError, match="no room: a molecule found no room in 1000 trials"):
        fill_box(HEXANE, 30, density=1500.0, seed=0)


def test_a_crowded_molecule_has_shapes() -> None:
    crowded = united_atoms("CC(C)(C)C(C(C)(C)C)(C(C)(C)C)C")
    assert conformers(crowded, 2, seed=0).shape[1:] == (len(crowded), 3)


def test_a_molecule_without_room_for_its_groups_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box, "PATIENCE", 1)
    core = "C(C(C)(C)C)(C(C)(C)C)C(C)(C)C"
    packed = united_atoms(f"C({core})({core})({core}){core}")  # 53 carbons, 36 of them methyls on a sphere too small
    with pytest.raises(SimulationError, match="no shape: RDKit finds no room"):
        conformers(packed, 1, seed=0)


def test_the_edge_of_a_litre_of_hexane() -> None:
    assert edge_of(86.178, 7600, 655.0) == pytest.approx((7600 * 86.178 / 0.602214076 / 655) ** (1 / 3))
