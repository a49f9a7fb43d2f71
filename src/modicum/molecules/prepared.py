"""Molecules with their features computed once, as flat arrays that a compiled loop can walk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from modicum.errors import DataError
from modicum.molecules.features import ATOM_ATTRIBUTES, BOND_ATTRIBUTES, Attribute, MoleculeGraph, molecule_graph

if TYPE_CHECKING:
    from rdkit.Chem import Mol


IntArray: TypeAlias = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Classes:
    """The distinct atoms (or bonds) of some molecules: those with the same attributes are one class."""

    names: tuple[str, ...]  # of the attributes
    codes: IntArray  # shape (attributes, classes): which value a class has
    values: tuple[tuple[Attribute, ...], ...]  # of each attribute, its distinct values; a code is a place in this list

    def __len__(self) -> int:
        return self.codes.shape[1]


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Packed:
    """The graphs of all molecules, one after another."""

    starts: npt.NDArray[np.int64]  # first atom of each molecule, and one past the last; shape (molecules + 1,)
    atoms: IntArray  # class of each atom, shape (atoms,)
    bond_starts: npt.NDArray[np.int64]  # first bond of each atom, shape (atoms + 1,)
    bond_ends: IntArray  # the atom at the other end, counted within the molecule, shape (2 x bonds,)
    bonds: IntArray  # class of each bond, shape (2 x bonds,)
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
