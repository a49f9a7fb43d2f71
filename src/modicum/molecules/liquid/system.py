"""The force field as an OpenMM system: one molecule, many times."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from modicum.core.extras import require
from modicum.molecules.liquid.trappe import (
    ANGLE_STIFFNESS,
    BOND,
    CUTOFF,
    UnitedAtoms,
    angle,
    lennard_jones,
    torsion,
)

if TYPE_CHECKING:
    import openmm


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
