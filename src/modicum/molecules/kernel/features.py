"""Attributes of atoms and bonds as the published kernel reads them, packed as arrays that a compiled loop can walk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from modicum.errors import DataError
from modicum.molecules.data.smiles import own_order

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


Codes: TypeAlias = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Classes:
    """The distinct atoms (or bonds) of some molecules: those with the same attributes are one class."""

    names: tuple[str, ...]  # of the attributes
    codes: Codes  # shape (attributes, classes): which value a class has
    values: tuple[tuple[Attribute, ...], ...]  # of each attribute, its distinct values; a code is a place in this list

    def __len__(self) -> int:
        return self.codes.shape[1]


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Packed:
    """The graphs of all molecules, one after another."""

    starts: npt.NDArray[np.int64]  # first atom of each molecule, and one past the last; shape (molecules + 1,)
    atoms: Codes  # class of each atom, shape (atoms,)
    bond_starts: npt.NDArray[np.int64]  # first bond of each atom, shape (atoms + 1,)
    bond_ends: Codes  # the atom at the other end, counted within the molecule, shape (2 x bonds,)
    bonds: Codes  # class of each bond, shape (2 x bonds,)
    atom_classes: Classes  # what the classes of atoms mean
    bond_classes: Classes  # what the classes of bonds mean


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A view on packed molecules: taking some of them copies nothing."""

    packed: Packed  # the molecules
    index: npt.NDArray[np.int64]  # which of them, in which order, shape (n,)

    def __len__(self) -> int:
        return len(self.index)

    def take(self, indices: Sequence[int] | npt.NDArray[np.integer]) -> Self:
        """Give the molecules at some places of this view."""
        return replace(self, index=self.index[np.asarray(indices, dtype=np.int64)])


def prepare(molecules: Iterable[Mol | str]) -> Prepared:
    """Compute the features of molecules."""
    packer = _Packer()
    for place, molecule in enumerate(molecules):
        try:
            graph = molecule_graph(molecule)
        except DataError as error:
            raise DataError(f"Molecule {place}: {error.what}", hint=error.hint) from error
        packer.add(graph)
    return packer.finish()


class _Packer:
    def __init__(self) -> None:
        self._starts = [0]
        self._bond_starts = [0]
        self._bond_ends: list[int] = []
        self._atoms: list[int] = []
        self._bonds: list[int] = []
        self._atom_classes: dict[tuple[Attribute, ...], int] = {}
        self._bond_classes: dict[tuple[Attribute, ...], int] = {}

    def add(self, graph: MoleculeGraph) -> None:
        ends: list[list[tuple[int, int]]] = [[] for _ in graph.atoms]
        for first, second, attributes in graph.bonds:
            kind = self._bond_classes.setdefault(attributes, len(self._bond_classes))
            ends[first].append((second, kind))
            ends[second].append((first, kind))
        for attributes, bonds in zip(graph.atoms, ends, strict=True):
            self._atoms.append(self._atom_classes.setdefault(attributes, len(self._atom_classes)))
            for other, kind in bonds:
                self._bond_ends.append(other)
                self._bonds.append(kind)
            self._bond_starts.append(len(self._bond_ends))
        self._starts.append(len(self._atoms))

    def finish(self) -> Prepared:
        packed = Packed(
            starts=np.array(self._starts, dtype=np.int64),
            atoms=np.array(self._atoms, dtype=np.int32),
            bond_starts=np.array(self._bond_starts, dtype=np.int64),
            bond_ends=np.array(self._bond_ends, dtype=np.int32),
            bonds=np.array(self._bonds, dtype=np.int32),
            atom_classes=_classes(ATOM_ATTRIBUTES, self._atom_classes),
            bond_classes=_classes(BOND_ATTRIBUTES, self._bond_classes),
        )
        return Prepared(packed, np.arange(len(self._starts) - 1, dtype=np.int64))


def _classes(names: tuple[str, ...], found: dict[tuple[Attribute, ...], int]) -> Classes:
    values: list[dict[Attribute, int]] = [{} for _ in names]
    codes = np.empty((len(names), len(found)), dtype=np.int32)
    for attributes, place in found.items():
        for row, value in enumerate(attributes):
            codes[row, place] = values[row].setdefault(value, len(values[row]))
    return Classes(names, codes, tuple(tuple(column) for column in values))
