"""Message passing of the D-MPNN over distinct environments: what is equal in a batch is computed once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from modicum.molecules.functional import IntArray

if TYPE_CHECKING:
    from chemprop.data.molgraph import MolGraph
    from chemprop.models import MPNN


class Environments:
    """The environments of bonds and atoms that some molecules have, each with a number.

    After k messages the vector of a directed bond depends only on its features and, level by level, on those of the
    bonds that send to it; that of an atom on the bonds that end there. Molecules share most of these environments, so
    that the same values as chemprop's, to rounding, take a fraction of its time.
    """

    def __init__(self, graphs: Sequence[MolGraph], *, depth: int, device: torch.device) -> None:
        atom_rows: dict[bytes, int] = {}
        bond_rows: dict[bytes, int] = {}
        # Of each number: its row of features, and the numbers one level below of what sends to it.
        levels: list[dict[tuple[int, ...], int]] = [{} for _ in range(depth)]  # the last one is of atoms
        self._molecules: list[IntArray] = []
        for graph in graphs:
            atoms, bonds = graph.V.astype(np.float32), graph.E.astype(np.float32)
            sources, targets = graph.edge_index
            arriving: list[list[int]] = [[] for _ in atoms]
            for bond, target in enumerate(targets.tolist()):
                arriving[target].append(bond)
            rows = [_number(bond_rows, atoms[it].tobytes() + bonds[at].tobytes()) for at, it in enumerate(sources)]
            senders = [
                [bond for bond in arriving[source] if bond != reverse]
                for source, reverse in zip(sources, graph.rev_edge_index, strict=True)
            ]
            numbers = rows
            for level in levels[:-1]:
                numbers = _numbers(level, rows, senders, numbers)
            own = [_number(atom_rows, atom.tobytes()) for atom in atoms]
            self._molecules.append(np.array(_numbers(levels[-1], own, arriving, numbers)))
        self._own = [np.array([key[0] for key in level], dtype=int) for level in levels]
        self._below = [[np.array(key[1:], dtype=int) for key in level] for level in levels]
        width = graphs[0].V.shape[1]
        self._atoms = _features(atom_rows, width, device)
        self._bonds = _features(bond_rows, width + graphs[0].E.shape[1], device)

    def encode(self, network: MPNN, molecules: Sequence[int]) -> Tensor:
        """Give what ``network.fingerprint`` gives for some of the molecules, shape (n, width)."""
        passing: Any = network.message_passing
        needed, bags = _distinct([self._molecules[molecule] for molecule in molecules])
        steps: list[tuple[IntArray, tuple[Tensor, Tensor]]] = []
        for own, below in zip(reversed(self._own), reversed(self._below), strict=True):
            rows, (needed, senders) = own[needed], _distinct([below[number] for number in needed])
            steps.append((rows, senders))
        initial = passing.W_i(self._bonds)
        hidden = passing.tau(initial)[needed]
        for rows, senders in reversed(steps[1:]):
            hidden = passing.tau(initial[rows] + passing.W_h(self._pool(hidden, senders, "sum")))
        rows, senders = steps[0]
        hidden = passing.W_o(torch.cat((self._atoms[rows], self._pool(hidden, senders, "sum")), dim=1))
        return self._pool(passing.tau(hidden), bags, "mean")

    def _pool(self, hidden: Tensor, bags: tuple[Tensor, Tensor], mode: str) -> Tensor:
        index, starts = (it.to(hidden.device) for it in bags)
        return embedding_bag(index, hidden, starts, mode=mode)


def _number(known: dict[Any, int], key: object) -> int:
    return known.setdefault(key, len(known))


def _numbers(
    level: dict[tuple[int, ...], int], rows: Sequence[int], senders: Sequence[Sequence[int]], numbers: Sequence[int]
) -> list[int]:
    keys = [(row, *sorted(numbers[it] for it in those)) for row, those in zip(rows, senders, strict=True)]
    return [_number(level, key) for key in keys]


def _features(rows: dict[bytes, int], width: int, device: torch.device) -> Tensor:
    found = np.array([np.frombuffer(row, dtype=np.float32) for row in rows], dtype=np.float32)
    return torch.tensor(found.reshape(len(rows), width), device=device)


def _distinct(bags: Sequence[IntArray]) -> tuple[IntArray, tuple[Tensor, Tensor]]:
    # A molecule of one atom has no bonds.
    numbers, places = np.unique(np.concatenate([np.zeros(0, dtype=int), *bags]), return_inverse=True)
    starts = np.cumsum([0, *(len(bag) for bag in bags)])[:-1]
    return numbers, (torch.from_numpy(places), torch.from_numpy(starts))
