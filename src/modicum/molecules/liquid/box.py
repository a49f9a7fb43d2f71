"""A dilute box of molecules, without overlaps, to be compressed into a liquid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from modicum.core.extras import require
from modicum.core.seeding import derive, numpy_generator
from modicum.errors import SimulationError
from modicum.molecules.liquid.trappe import UnitedAtoms

FloatArray: TypeAlias = npt.NDArray[np.float64]

SHAPES = 10  # conformers that the molecules of a box start from; the liquid forgets them when it is compressed
PATIENCE = 60  # seconds of RDKit's search for shapes, which for an impossible molecule has no end
LEAST_DISTANCE = 0.38  # nm between groups of two molecules, about sigma: the start has no steep repulsion
TRIALS = 1000  # placements of one molecule before the box counts as too dense
_AVOGADRO = 0.602214076  # g/mol per kg/m3 per nm3 is 1 / 0.6022


@dataclass(frozen=True, slots=True)
class Box:
    """Molecules in a cube with periodic walls."""

    positions: FloatArray  # nm, shape (molecules, groups, 3); molecules are whole, and so may reach over a wall
    edge: float  # nm


def edge_of(molar_mass: float, molecules: int, density: float) -> float:
    """Give the edge (nm) of the cube that holds some molecules (g/mol) at a density (kg/m3)."""
    return (molecules * molar_mass / (_AVOGADRO * density)) ** (1 / 3)


def conformers(molecule: UnitedAtoms, count: int, *, seed: int) -> FloatArray:
    """Make three-dimensional shapes of a molecule."""
    chem: Any = require("rdkit.Chem", extra="molecules", purpose="Building molecules")
    from rdkit.Chem import AllChem

    built = chem.AddHs(chem.MolFromSmiles(molecule.smiles))
    settings: Any = AllChem.ETKDGv3()  # pyright: ignore[reportAttributeAccessIssue]
    settings.timeout = PATIENCE
    settings.randomSeed = derive(seed, f"conformers/{molecule.smiles}") % 2**31
    found: list[int] = []
    for random in (False, True):
        settings.useRandomCoords = random
        places = AllChem.EmbedMultipleConfs(built, count, settings)  # pyright: ignore[reportAttributeAccessIssue]
        found = [place for place in places if place >= 0]  # -1 when its time is over
        if found:
            break
    if not found:
        raise SimulationError(
            f"no shape: RDKit finds no room for the groups of {molecule.smiles}.", hint="Leave the molecule out."
        )
    shapes = np.stack([built.GetConformer(place).GetPositions()[: len(molecule)] / 10 for place in found])
    return shapes - shapes.mean(axis=1, keepdims=True)


def fill_box(molecule: UnitedAtoms, molecules: int, *, density: float, seed: int) -> Box:
    """Put molecules at random places and in random directions into a dilute box."""
    edge = edge_of(molecule.molar_mass, molecules, density)
    shapes = conformers(molecule, SHAPES, seed=seed)
    generator = numpy_generator(seed, f"box/{molecule.smiles}")
    placed: list[FloatArray] = []
    for _ in range(molecules):
        tree = None
        if placed:
            tree = cKDTree(np.concatenate(placed) % edge, boxsize=edge)  # pyright: ignore[reportArgumentType, reportCallIssue]
        placed.append(_place(shapes, tree, edge=edge, generator=generator))
    return Box(np.stack(placed), edge)


def _place(shapes: FloatArray, tree: cKDTree | None, *, edge: float, generator: np.random.Generator) -> FloatArray:
    for _ in range(TRIALS):
        shape = shapes[generator.integers(len(shapes))]
        trial = Rotation.random(None, generator).apply(shape) + generator.uniform(0, edge, 3)
        if tree is None or np.all(tree.query(trial % edge)[0] > LEAST_DISTANCE):
            return trial
    raise SimulationError(
        f"no room: a molecule found no room in {TRIALS} trials.", hint="Ask for a box of lower density."
    )
