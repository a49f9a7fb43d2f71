"""The TraPPE united-atom force field of alkanes: its numbers, molecules as its groups, and OpenMM systems of them.

Martin and Siepmann, J. Phys. Chem. B 102, 2569 (1998), linear, and 103, 4508 (1999), branched alkanes. We did not have
the papers. The Lennard-Jones numbers, bonds, angles and the torsions about CH2-CH2, CH2-CH, CH2-C and CH-CH are
remembered and agree with public transcriptions (foyer's trappe-ua.xml). The torsions about CH-C and C-C are
NOT verified: no transcription that we know has them, and we take those of CH2-C, three-fold and alike about any
quaternary carbon. Treat labels of molecules with neighbouring CH-C or C-C as those of an extended force field.

A molecule is a tree of CHx groups: rigid bonds, harmonic angles, torsions, and Lennard-Jones between groups of other
molecules and of the same molecule from the fifth group on (1-2, 1-3 and 1-4 pairs are left out).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from modicum.core.extras import require
from modicum.errors import SimulationError
from modicum.molecules.data.smiles import canonical

if TYPE_CHECKING:
    import openmm


GAS_CONSTANT = 8.314462618e-3  # kJ/mol/K, CODATA 2018
BOND = 0.154  # nm
CUTOFF = 1.4  # nm
ANGLE_STIFFNESS = 62_500 * GAS_CONSTANT  # kJ/mol/rad^2, of k/2 (theta - theta_0)^2

# By the hydrogens of a group: sigma (nm), epsilon / k_B (K), mass (g/mol).
_GROUPS = {
    4: (0.373, 148.0, 16.043),
    3: (0.375, 98.0, 15.035),
    2: (0.395, 46.0, 14.027),
    1: (0.468, 10.0, 13.019),
    0: (0.640, 0.5, 12.011),
}
_ANGLES = {2: 114.0, 1: 112.0, 0: 109.47}  # degrees, by the hydrogens of the middle group

# c1, c2, c3 over k_B (K) by the hydrogens of the two middle groups, fewer first. The constant c0 = -251.06 K of CH is
# left out: it moves nothing, and cancels between liquid and gas.
_LINEAR = (355.03, -68.19, 791.32)
_TERTIARY = (428.73, -111.85, 441.27)
_QUATERNARY = (0.0, 0.0, 461.29)
_TORSIONS = {
    (2, 2): _LINEAR,
    (1, 2): _TERTIARY,
    (1, 1): _TERTIARY,
    (0, 2): _QUATERNARY,
    (0, 1): _QUATERNARY,
    (0, 0): _QUATERNARY,
}


@dataclass(frozen=True, slots=True)
class UnitedAtoms:
    """One molecule as groups and what binds them; indices are those of the heavy atoms of its SMILES."""

    smiles: str  # canonical
    hydrogens: tuple[int, ...]  # of each group
    bonds: tuple[tuple[int, int], ...]  # pairs of groups
    angles: tuple[tuple[int, int, int], ...]  # triples, the middle group in the middle
    torsions: tuple[tuple[int, int, int, int], ...]  # quadruples along chains
    excluded: tuple[tuple[int, int], ...]
    pairs: tuple[tuple[int, int], ...]  # all other pairs

    def __len__(self) -> int:
        return len(self.hydrogens)

    @property
    def masses(self) -> tuple[float, ...]:
        """Of each group, g/mol."""
        return tuple(_GROUPS[number][2] for number in self.hydrogens)

    @property
    def molar_mass(self) -> float:
        """Of the molecule, g/mol."""
        return sum(self.masses)


def lennard_jones(hydrogens: int) -> tuple[float, float]:
    """Give sigma (nm) and epsilon (kJ/mol) of a group CHx; unlike groups mix by Lorentz and Berthelot."""
    sigma, epsilon, _ = _GROUPS[hydrogens]
    return sigma, epsilon * GAS_CONSTANT


def angle(middle: int) -> float:
    """Give the angle at rest (degrees) about a middle group with that many hydrogens."""
    return _ANGLES[middle]


def torsion(first: int, second: int) -> tuple[float, float, float]:
    """Give c1, c2, c3 (kJ/mol) of c1 (1 + cos phi) + c2 (1 - cos 2 phi) + c3 (1 + cos 3 phi)."""
    one, two, three = _TORSIONS[min(first, second), max(first, second)]
    return one * GAS_CONSTANT, two * GAS_CONSTANT, three * GAS_CONSTANT


def united_atoms(smiles: str) -> UnitedAtoms:
    """Read a molecule as groups of the force field."""
    chem: Any = require("rdkit.Chem", extra="molecules", purpose="Reading SMILES")
    molecule = chem.MolFromSmiles(canonical(smiles))
    lacking = _lacking(chem, molecule)
    if lacking:
        raise SimulationError(
            f"force field lacks {lacking}: TraPPE-UA here covers acyclic alkanes, got {smiles}.",
            hint="Leave the molecule out, or label it from a table.",
        )
    distance = chem.GetDistanceMatrix(molecule)
    neighbours = [[other.GetIdx() for other in atom.GetNeighbors()] for atom in molecule.GetAtoms()]
    couples = list(combinations(range(len(neighbours)), 2))
    bonds = tuple((i, j) for i, j in couples if distance[i, j] == 1)
    return UnitedAtoms(
        smiles=chem.MolToSmiles(molecule),
        hydrogens=tuple(atom.GetTotalNumHs() for atom in molecule.GetAtoms()),
        bonds=bonds,
        angles=tuple((i, middle, k) for middle, around in enumerate(neighbours) for i, k in combinations(around, 2)),
        torsions=tuple(
            (i, j, k, m) for j, k in bonds for i in neighbours[j] if i != k for m in neighbours[k] if m != j
        ),
        excluded=tuple((i, j) for i, j in couples if distance[i, j] <= 3),
        pairs=tuple((i, j) for i, j in couples if distance[i, j] > 3),
    )


def _lacking(chem: Any, molecule: Any) -> str | None:
    for atom in molecule.GetAtoms():
        if atom.GetAtomicNum() != 6:
            return f"element {atom.GetSymbol()}"
        if atom.GetFormalCharge() or atom.GetNumRadicalElectrons() or atom.GetIsotope():
            return "charges, radicals and isotopes"
    if molecule.GetRingInfo().NumRings():
        return "rings"
    if any(bond.GetBondType() != chem.BondType.SINGLE for bond in molecule.GetBonds()):
        return "double and triple bonds"
    if len(chem.GetMolFrags(molecule)) > 1:
        return "mixtures (the SMILES has disconnected parts)"
    return None


# Force groups, so that the parts of the energy can be asked for one by one.
BONDED, NONBONDED, INSIDE = 0, 1, 2


def build_system(molecule: UnitedAtoms, molecules: int, *, edge: float) -> openmm.System:
    """Make the system of a box."""
    # The force group `NONBONDED` holds Lennard-Jones between all groups that may see each other, cut at 1.4 nm, with
    # the correction for what lies beyond. The group `INSIDE` is no force of the model and must not be integrated: it is
    # the part of the former within molecules, and the difference of both is the energy between molecules.
    mm: Any = require("openmm", extra="molecules", purpose="Simulating liquids")
    system = mm.System()
    bending, twisting, between, inside = _forces(mm)
    for copy in range(molecules):
        first = copy * len(molecule)
        for hydrogens, mass in zip(molecule.hydrogens, molecule.masses, strict=True):
            system.addParticle(mass)
            between.addParticle(0.0, *lennard_jones(hydrogens))
        for i, j in molecule.bonds:
            system.addConstraint(first + i, first + j, BOND)
        for i, j, k in molecule.angles:
            rest = math.radians(angle(molecule.hydrogens[j]))
            bending.addAngle(first + i, first + j, first + k, rest, ANGLE_STIFFNESS)
        for chain in molecule.torsions:
            _twist(twisting, molecule, chain, first=first)
        for i, j in molecule.excluded:
            between.addException(first + i, first + j, 0.0, 1.0, 0.0)
        for i, j in molecule.pairs:
            inside.addBond(first + i, first + j, _mixed(molecule, i, j))
    for force, group in ((bending, BONDED), (twisting, BONDED), (between, NONBONDED), (inside, INSIDE)):
        force.setForceGroup(group)
        system.addForce(force)
    system.setDefaultPeriodicBoxVectors(mm.Vec3(edge, 0, 0), mm.Vec3(0, edge, 0), mm.Vec3(0, 0, edge))
    return system


def _forces(mm: Any) -> tuple[Any, Any, Any, Any]:
    between = mm.NonbondedForce()
    between.setNonbondedMethod(mm.NonbondedForce.CutoffPeriodic)
    between.setCutoffDistance(CUTOFF)
    between.setUseDispersionCorrection(True)
    # Pairs that the cut-off leaves out of NONBONDED are left out here too: their difference is between molecules.
    inside = mm.CustomBondForce(f"step({CUTOFF} - r) * 4 * epsilon * ((sigma / r)^12 - (sigma / r)^6)")
    inside.addPerBondParameter("sigma")
    inside.addPerBondParameter("epsilon")
    return mm.HarmonicAngleForce(), mm.PeriodicTorsionForce(), between, inside


def _twist(force: Any, molecule: UnitedAtoms, chain: tuple[int, int, int, int], *, first: int) -> None:
    _, j, k, _ = chain
    constants = torsion(molecule.hydrogens[j], molecule.hydrogens[k])
    for fold, (constant, phase) in enumerate(zip(constants, (0.0, math.pi, 0.0), strict=True), start=1):
        if constant:
            force.addTorsion(*(first + place for place in chain), fold, phase, constant)


def _mixed(molecule: UnitedAtoms, i: int, j: int) -> tuple[float, float]:
    (sigma_i, epsilon_i), (sigma_j, epsilon_j) = (lennard_jones(molecule.hydrogens[place]) for place in (i, j))
    return (sigma_i + sigma_j) / 2, math.sqrt(epsilon_i * epsilon_j)
