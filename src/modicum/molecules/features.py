"""Attributes of atoms and bonds, as the published kernel reads them from RDKit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from modicum.errors import DataError
from modicum.molecules.smiles import own_order

if TYPE_CHECKING:
    from rdkit.Chem import Mol


Attribute: TypeAlias = int | float | tuple[int, ...]

_DISTANCES = (1, 2, 3, 4)
_MORGAN_RADIUS = 3
_BRANCH_DEPTH = 5
_SENSES = {1: 2, 2: 3}  # RDKit's tetrahedral clockwise and counter-clockwise, which are relative to the order of atoms
_CIP = {"R": 2, "S": 3}  # which are not
ATOM_ATTRIBUTES = (
    "AtomicNumber",
    *(f"AtomicNumber_list_{distance}" for distance in _DISTANCES),
    "MorganHash",
    "Ring_count",
    "RingSize_list",
    "Hcount",
    "AtomicNumber_count_1",
    "AtomicNumber_count_2",
    "Chiral",
)
BOND_ATTRIBUTES = ("Order", "Stereo", "RingStereo")


@dataclass(frozen=True, slots=True)
class MoleculeGraph:
    """The heavy-atom graph of a molecule."""

    atoms: tuple[tuple[Attribute, ...], ...]  # of each atom the values of `ATOM_ATTRIBUTES`, in that order
    bonds: tuple[tuple[int, int, tuple[Attribute, ...]], ...]


def molecule_graph(molecule: Mol | str) -> MoleculeGraph:
    """Read the graph of a molecule."""
    molecule, given = own_order(molecule)
    distances = _distances(molecule)
    elements = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    lists = [_neighbourhood(row, elements) for row in distances]
    morgan = _morgan(molecule)
    hydrogens = [atom.GetTotalNumHs() for atom in molecule.GetAtoms()]
    chirality = _chirality(molecule, [*zip(elements, hydrogens, strict=True)])
    rings = _rings(molecule)
    atoms = [
        (
            elements[place],
            *lists[place],
            morgan[place],
            *rings[place],
            hydrogens[place],
            len(lists[place][0]),
            len(lists[place][1]),
            chirality[place],
        )
        for _, place in sorted(zip(given, range(len(given)), strict=True))
    ]
    bonds = [
        (
            given[bond.GetBeginAtomIdx()],
            given[bond.GetEndAtomIdx()],
            (bond.GetBondTypeAsDouble(), int(bond.GetStereo()), 0),
        )
        for bond in molecule.GetBonds()
    ]
    return MoleculeGraph(tuple(atoms), tuple(bonds))


def _distances(molecule: Mol) -> list[list[float]]:
    from rdkit.Chem import GetDistanceMatrix, MolToSmiles

    if not molecule.GetNumAtoms():
        raise DataError("A molecule without atoms has no graph.", hint="Remove that molecule.")
    rows = GetDistanceMatrix(molecule).tolist()
    if max(rows[0]) >= len(rows):  # RDKit's mark of an atom that is not reached
        raise DataError(
            f"A molecule must be of one part, but {MolToSmiles(molecule)} has several.",
            hint="Keep one part of it, or remove it.",
        )
    return rows


def _neighbourhood(row: Sequence[float], elements: Sequence[int]) -> list[tuple[int, ...]]:
    # Most molecules have one element among their heavy atoms, and counting is then enough.
    if elements.count(elements[0]) == len(elements):
        return [(elements[0],) * row.count(distance) or (0,) for distance in _DISTANCES]
    return [
        tuple(sorted([element for away, element in zip(row, elements, strict=True) if away == distance])) or (0,)
        for distance in _DISTANCES
    ]


def _rings(molecule: Mol) -> list[tuple[int, tuple[int, ...]]]:
    # Number and sizes of the rings through each atom.
    sizes: list[list[int]] = [[] for _ in range(molecule.GetNumAtoms())]
    for ring in molecule.GetRingInfo().AtomRings():
        for place in ring:
            sizes[place].append(len(ring))
    return [(len(found), tuple(sorted(found)) or (0,)) for found in sizes]


def _morgan(molecule: Mol) -> list[int]:
    # The identifier of the largest radius that RDKit still lists for the atom. It drops an environment that has the
    # bonds of an earlier one, so that equivalent atoms may get different identifiers: so the published kernel has it.
    from rdkit.Chem.rdFingerprintGenerator import AdditionalOutput, GetMorganGenerator

    output = AdditionalOutput()
    output.AllocateBitInfoMap()
    GetMorganGenerator(radius=_MORGAN_RADIUS).GetSparseCountFingerprint(molecule, additionalOutput=output)
    best = [(-1, 0)] * molecule.GetNumAtoms()
    for identifier, places in output.GetBitInfoMap().items():
        for atom, radius in places:
            best[atom] = max(best[atom], (radius, identifier))
    return [identifier for _, identifier in best]


def _chirality(molecule: Mol, labels: Sequence[tuple[int, int]]) -> list[int]:
    # 1 for none, 2 and 3 for the two senses, 0 for a centre whose sense is not told.
    neighbours = _neighbours(molecule)
    codes: list[int] = []
    for atom, others in zip(molecule.GetAtoms(), neighbours, strict=True):
        place = len(codes)
        code = _SENSES.get(int(atom.GetChiralTag()), 1)
        if code > 1 and atom.HasProp("_CIPCode"):
            code = _CIP[atom.GetProp("_CIPCode").upper()]
        if code == 1 and len(others) >= 3 and labels[place][1] <= 1:
            code = 0 if _all_differ(place, neighbours, labels) else 1
        codes.append(code)
    return codes


def _neighbours(molecule: Mol) -> list[list[int]]:
    neighbours: list[list[int]] = [[] for _ in range(molecule.GetNumAtoms())]
    for bond in molecule.GetBonds():
        first, second = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        neighbours[first].append(second)
        neighbours[second].append(first)
    return neighbours


def _all_differ(place: int, neighbours: Sequence[Sequence[int]], labels: Sequence[tuple[int, int]]) -> bool:
    others = neighbours[place]
    ends = [labels[other] for other in others if len(neighbours[other]) == 1]
    if len(set(ends)) < len(ends):  # two methyls: the commonest reason to be no centre
        return False
    # Depth by depth, since most branches differ early.
    return any(
        len({_branch(other, place, depth, neighbours, labels) for other in others}) == len(others)
        for depth in range(1, _BRANCH_DEPTH + 1)
    )


def _branch(
    place: int, parent: int, depth: int, neighbours: Sequence[Sequence[int]], labels: Sequence[tuple[int, int]]
) -> tuple[object, ...]:
    # What hangs on a bond, to a number of bonds away: the tree of paths, whatever the order of its branches.
    if depth == 1:
        return labels[place]
    below = [_branch(other, place, depth - 1, neighbours, labels) for other in neighbours[place] if other != parent]
    below.sort()
    return (*labels[place], tuple(below))
