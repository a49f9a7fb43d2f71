from __future__ import annotations

import csv
import hashlib
import itertools
import time
from collections import Counter

import pytest
from rdkit import Chem

from modicum.core import catalogue
from modicum.errors import ConfigError
from modicum.molecules.data.alkanes import LARGEST, count_alkanes, enumerate_alkanes

PUBLISHED = (2, 3, 5, 9, 18, 35, 75, 159, 355, 802, 1858, 4347, 10359, 24894, 60523, 148284)


def canonical(smiles: str) -> str:
    return Chem.MolToSmiles(Chem.MolFromSmiles(smiles, sanitize=False))


def grown(largest: int) -> list[set[str]]:
    """List alkanes as the official generator does: one carbon more on every atom that has room, told apart by RDKit."""
    sizes = [{"C"}]
    for _ in range(1, largest):
        more: set[str] = set()
        for smiles in sizes[-1]:
            for atom in Chem.MolFromSmiles(smiles).GetAtoms():
                if atom.GetDegree() < 4:
                    longer = Chem.RWMol(Chem.MolFromSmiles(smiles))
                    longer.AddBond(atom.GetIdx(), longer.AddAtom(Chem.Atom(6)), Chem.BondType.SINGLE)
                    Chem.SanitizeMol(longer)
                    more.add(Chem.MolToSmiles(longer))
        sizes.append(more)
    return sizes


def test_all_of_c4_to_c19_are_counted_and_streamed_in_order_of_size() -> None:  # GPRMGK-G3
    start = time.process_time()
    molecules = [*enumerate_alkanes()]
    seconds = time.process_time() - start
    sizes = [smiles.count("C") for smiles in molecules]
    assert sizes == sorted(sizes)
    assert tuple(Counter(sizes).values()) == PUBLISHED
    assert len(molecules) == len(set(molecules)) == 251_728
    assert sum(sizes) == 4_604_729
    assert seconds < 10  # 0.4 s on the machine of the evidence


def test_strings_and_order_are_those_that_earlier_seeds_picked_from() -> None:
    digest = hashlib.sha256("\n".join(enumerate_alkanes()).encode()).hexdigest()
    assert digest[:16] == "4308e78bb57e4226"  # of the first version; a change of it makes old picks irreproducible


@pytest.mark.parametrize(("largest", "count"), [(13, 1463), (11, 306)])
def test_the_small_pools_of_the_specification(largest: int, count: int) -> None:  # GPRMGK-G3
    assert sum(1 for _ in enumerate_alkanes(4, largest)) == count


def test_each_molecule_comes_once_and_is_one_that_growing_atom_by_atom_finds() -> None:
    for carbons, expected in enumerate(grown(11), start=1):
        listed = [canonical(smiles) for smiles in enumerate_alkanes(carbons, carbons)]
        assert len(listed) == len(expected)
        assert set(listed) == expected


def test_no_molecule_up_to_c14_comes_twice() -> None:  # GPRMGK-G3
    listed = [canonical(smiles) for smiles in enumerate_alkanes(1, 14)]
    assert len(set(listed)) == len(listed) == 3_324  # C1 to C3 have one each


Tree = list[list[int]]


def tree(smiles: str) -> Tree:
    """Read the bonds of an acyclic SMILES of carbons: the neighbours of each atom."""
    neighbours: Tree = []
    open_branches: list[int] = []
    last = -1
    for character in smiles:
        if character == "(":
            open_branches.append(last)
        elif character == ")":
            last = open_branches.pop()
        else:
            neighbours.append([] if last < 0 else [last])
            if last >= 0:
                neighbours[last].append(len(neighbours) - 1)
            last = len(neighbours) - 1
    return neighbours


def isomorphism_class(smiles: str, numbers: dict[tuple[int, ...], int]) -> tuple[int, ...]:
    """Give what two trees have in common if and only if they are isomorphic (Aho, Hopcroft and Ullman 1974).

    `numbers` holds the number of each rooted subtree that was seen, and is written to. The root is the centre.
    """
    neighbours = tree(smiles)
    degree = [len(around) for around in neighbours]
    below: list[list[int]] = [[] for _ in neighbours]
    leaves = [atom for atom, count in enumerate(degree) if count <= 1]
    left = len(neighbours)
    while left > 2:
        left -= len(leaves)
        inner: list[int] = []
        for leaf in leaves:
            number = numbers.setdefault(tuple(sorted(below[leaf])), len(numbers))
            for atom in neighbours[leaf]:
                if degree[atom] > 0:
                    below[atom].append(number)
                    degree[atom] -= 1
                    if degree[atom] == 1:
                        inner.append(atom)
            degree[leaf] = 0
        leaves = inner
    return tuple(sorted(numbers.setdefault(tuple(sorted(below[centre])), len(numbers)) for centre in leaves))


@pytest.mark.data("alkanes")
def test_every_published_molecule_is_one_of_ours_and_none_of_ours_comes_twice() -> None:  # GPRMGK-G3
    folder = catalogue.fetch("alkanes") / "data"
    published: set[str] = set()
    for name in ("data_0.5_0/density", "data_0.5_1/al_0.5_1", "data_0.5_2/al_0.5_2", "data_test3000/density"):
        with (folder / f"{name}.csv").open(newline="") as file:
            published |= {row["smiles"] for row in csv.DictReader(file)}
    numbers: dict[tuple[int, ...], int] = {}
    assert len({isomorphism_class(smiles, numbers) for smiles in published}) == 3_468
    ours = {isomorphism_class(smiles, numbers) for smiles in enumerate_alkanes()}
    assert len(ours) == 251_728
    assert ours >= {isomorphism_class(smiles, numbers) for smiles in published}


def test_isomorphic_trees_are_those_that_rdkit_calls_equal() -> None:
    numbers: dict[tuple[int, ...], int] = {}
    listed = [*enumerate_alkanes(4, 9)]
    spelt = [Chem.MolToSmiles(Chem.MolFromSmiles(smiles), doRandom=True) for smiles in listed]
    assert [isomorphism_class(one, numbers) for one in listed] == [isomorphism_class(one, numbers) for one in spelt]
    assert len({isomorphism_class(one, numbers) for one in listed}) == len(listed)


def test_the_count_agrees_with_the_list_and_with_the_tables() -> None:
    for carbons in range(1, 17):
        assert count_alkanes(carbons) == sum(1 for _ in enumerate_alkanes(carbons, carbons))
    # Sloane's A000602: what the list is too long for.
    known = {17: 24_894, 18: 60_523, 19: 148_284, 20: 366_319, 25: 36_797_588, 30: 4_111_846_763}
    assert {carbons: count_alkanes(carbons) for carbons in known} == known
    assert count_alkanes(40) == 62_481_801_147_341


def test_the_largest_molecules_begin_to_stream_at_once() -> None:
    first = [*itertools.islice(enumerate_alkanes(LARGEST, LARGEST), 1000)]
    assert len({canonical(smiles) for smiles in first}) == 1000
    assert {smiles.count("C") for smiles in first} == {LARGEST}


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ((0, 5), "at least 1 carbon upwards, got 0 to 5"),
        ((5, 4), "at least 1 carbon upwards, got 5 to 4"),
        ((4, 40), "up to 30 carbons, got 40; C40 alone has 62,481,801,147,341 isomers"),
        ((4, 10**9), "got 1000000000; C60 alone has 22,158,734,535,770,411,074,184 isomers"),
    ],
)
def test_sizes_that_make_no_sense_are_refused_before_the_first_molecule(sizes: tuple[int, int], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        enumerate_alkanes(*sizes)


def test_there_is_no_alkane_without_carbon() -> None:
    with pytest.raises(ConfigError, match="at least 1 carbon, got 0"):
        count_alkanes(0)
