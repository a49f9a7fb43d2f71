"""The OpenMM system against the formulas of TraPPE, written here once more in NumPy."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import openmm
import pytest
from openmm import unit

from modicum.molecules.liquid.simulation import conformers
from modicum.molecules.liquid.trappe import BONDED, INSIDE, NONBONDED, UnitedAtoms, build_system, united_atoms

KELVIN = 8.314462618e-3  # kJ/mol
EDGE, CUTOFF = 4.0, 1.4  # nm
SIGMA = {3: 0.375, 2: 0.395, 1: 0.468, 0: 0.640}  # nm
EPSILON = {3: 98.0, 2: 46.0, 1: 10.0, 0: 0.5}  # K
ALKANES = ["CCCC", "CC(C)C", "CC(C)(C)C", "CCCCCC", "CCC(C)CC", "CC(C)C(C)C", "CCC(C)(C)CC(C)CC", "CC(C)(C)C(C)(C)C"]


def energies(molecule: UnitedAtoms, positions: np.ndarray, *, edge: float = EDGE, tail: bool = False) -> np.ndarray:
    copies = len(positions) // len(molecule)
    system = build_system(molecule, copies, edge=edge)
    if not tail:
        next(
            force for force in system.getForces() if isinstance(force, openmm.NonbondedForce)
        ).setUseDispersionCorrection(False)
    integrator = openmm.VerletIntegrator(0.001)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatform("Reference"))
    context.setPositions(positions)
    found = [context.getState(energy=True, groups=1 << group) for group in (BONDED, NONBONDED, INSIDE)]
    return np.array([state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) for state in found])


def bonded(molecule: UnitedAtoms, x: np.ndarray) -> float:
    """Bending and torsion by the published formulas, from the bonds alone."""
    around = [[] for _ in range(len(molecule))]
    for i, j in molecule.bonds:
        around[i].append(j)
        around[j].append(i)
    total = 0.0
    for middle, others in enumerate(around):
        rest = np.radians({2: 114.0, 1: 112.0, 0: 109.47}.get(molecule.hydrogens[middle], 0.0))
        for i, k in combinations(others, 2):
            a, b = x[i] - x[middle], x[k] - x[middle]
            theta = np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
            total += 62500 / 2 * (theta - rest) ** 2
    for j, k in molecule.bonds:
        kinds = sorted((molecule.hydrogens[j], molecule.hydrogens[k]))
        c1, c2, c3 = (0.0, 0.0, 461.29)
        if kinds == [2, 2]:
            c1, c2, c3 = 355.03, -68.19, 791.32
        elif kinds[0] == 1:
            c1, c2, c3 = 428.73, -111.85, 441.27
        for i in set(around[j]) - {k}:
            for m in set(around[k]) - {j}:
                first, second = np.cross(x[j] - x[i], x[k] - x[j]), np.cross(x[k] - x[j], x[m] - x[k])
                phi = np.arccos(np.clip(first @ second / np.linalg.norm(first) / np.linalg.norm(second), -1, 1))
                total += c1 * (1 + np.cos(phi)) + c2 * (1 - np.cos(2 * phi)) + c3 * (1 + np.cos(3 * phi))
    return float(total * KELVIN)


def pair(first: int, second: int, distance: float) -> float:
    sigma, epsilon = (SIGMA[first] + SIGMA[second]) / 2, np.sqrt(EPSILON[first] * EPSILON[second]) * KELVIN
    return 4 * epsilon * ((sigma / distance) ** 12 - (sigma / distance) ** 6) if distance < CUTOFF else 0.0


def within(molecule: UnitedAtoms, x: np.ndarray) -> float:
    """Lennard-Jones from the fifth group of a chain on; the bonds between groups are counted by powers of the graph."""
    near = np.eye(len(molecule), dtype=bool)
    for i, j in molecule.bonds:
        near[i, j] = near[j, i] = True
    reach = np.linalg.matrix_power(near.astype(int), 3) > 0
    return sum(
        pair(molecule.hydrogens[i], molecule.hydrogens[j], float(np.linalg.norm(x[i] - x[j])))
        for i, j in combinations(range(len(molecule)), 2)
        if not reach[i, j]
    )


@pytest.mark.parametrize("smiles", ALKANES)
def test_one_molecule_has_the_energy_of_the_formulas(smiles: str) -> None:
    molecule = united_atoms(smiles)
    for shape in conformers(molecule, 3, seed=0):
        by_openmm = energies(molecule, shape)
        inside = within(molecule, shape)
        np.testing.assert_allclose(by_openmm, [bonded(molecule, shape), inside, inside], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("smiles", ALKANES)
def test_two_molecules_see_each_other_and_nothing_else_is_between_them(smiles: str) -> None:
    molecule = united_atoms(smiles)
    first, second = conformers(molecule, 2, seed=1)[[0, -1]]
    for gap in (0.6, 0.9, 3.4):  # the last is 0.6 nm through the wall
        moved = second + np.array([gap, 0.1, 0.2])
        _, nonbonded, inside = energies(molecule, np.concatenate([first, moved]))
        expected = 0.0
        for i, j in np.ndindex(len(molecule), len(molecule)):
            apart = first[i] - moved[j]
            apart -= EDGE * np.round(apart / EDGE)
            expected += pair(molecule.hydrogens[i], molecule.hydrogens[j], float(np.linalg.norm(apart)))
        assert nonbonded - inside == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("smiles", ["CCCC", "C" * 19, "CCC(C)(C)CC(C)CC"])
def test_molecules_far_apart_have_no_energy_between_them(smiles: str) -> None:  # an ideal gas
    # The zigzag of the C19 chain is 2.3 nm long: its ends are beyond the cut-off, and cancel too.
    molecule = united_atoms(smiles)
    first, second = conformers(molecule, 2, seed=2)[[0, -1]]
    _, nonbonded, inside = energies(molecule, np.concatenate([first, second + 10.0]), edge=20.0)
    assert nonbonded - inside == pytest.approx(0.0, abs=1e-5)


def test_what_lies_beyond_the_cutoff_is_corrected() -> None:
    # The textbook: 8/3 pi N rho epsilon sigma^3 ((s/r)^9 / 3 - (s/r)^3).
    methane = united_atoms("C")
    grid = np.stack(np.meshgrid(*[np.arange(6) * EDGE / 6] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    gain = energies(methane, grid, tail=True)[1] - energies(methane, grid)[1]
    sigma, epsilon, ratio = 0.373, 148 * KELVIN, 0.373 / CUTOFF
    density = 216 / EDGE**3
    textbook = 8 / 3 * np.pi * 216 * density * epsilon * sigma**3 * (ratio**9 / 3 - ratio**3)
    assert gain == pytest.approx(textbook, rel=1e-4)
