from __future__ import annotations

from importlib.resources import files

import pytest
from rdkit import Chem

from modicum.molecules.kernel.features import ATOM_ATTRIBUTES, Attribute, molecule_graph


def column(smiles: str, name: str) -> list[Attribute]:
    place = ATOM_ATTRIBUTES.index(name)
    return [atom[place] for atom in molecule_graph(smiles).atoms]


def test_equivalent_atoms_may_have_different_morgan_identifiers() -> None:  # GPRMGK-G4, the trap of the label
    first, second, third, fourth = column("CCCC", "MorganHash")
    assert first == fourth
    assert second != third
    assert len(set(column("CC(C)C", "MorganHash"))) == 2


def test_lists_hold_the_elements_at_a_distance_and_zero_for_none() -> None:
    assert column("CCCO", "AtomicNumber_list_1") == [(6,), (6, 6), (6, 8), (6,)]
    assert column("CCCO", "AtomicNumber_list_2") == [(6,), (8,), (6,), (6,)]
    assert column("CCCO", "AtomicNumber_list_3") == [(8,), (0,), (0,), (6,)]
    assert column("CCCO", "AtomicNumber_list_4") == [(0,)] * 4
    assert column("CCCC", "AtomicNumber_list_1") == [(6,), (6, 6), (6, 6), (6,)]


def test_the_count_of_an_empty_list_is_one() -> None:
    assert column("C", "AtomicNumber_count_1") == [1]
    assert column("CC(C)(C)C", "AtomicNumber_count_1") == [1, 4, 1, 1, 1]
    assert column("CC(C)(C)C", "AtomicNumber_count_2") == [3, 1, 3, 3, 3]


def test_rings_and_hydrogens() -> None:
    assert column("C1CC1C", "Ring_count") == [1, 1, 1, 0]
    assert column("C1CC1C", "RingSize_list") == [(3,), (3,), (3,), (0,)]
    assert column("C1CC2CC12", "RingSize_list")[2] == (3, 4) == column("C1CC2CC12", "RingSize_list")[4]
    assert column("CC(C)(C)O", "Hcount") == [3, 0, 3, 3, 1]


@pytest.mark.parametrize(
    ("smiles", "place", "code"),
    [
        ("CCC(C)CCC", 2, 0),  # a centre whose sense is not told
        ("CCC(C)CC", 2, 1),  # two alike branches
        ("CCC(C)(C)CCC", 2, 1),  # two methyls
        ("CCCC(C)CC(C)C", 3, 0),
        ("CC(C)CC(C)CC(C)C", 4, 1),
        ("F[C@](Cl)(Br)I", 1, 3),
        ("F[C@@](Cl)(Br)I", 1, 2),
        ("CCC(CCCCCC)CCCCCCC", 2, 1),  # beyond five bonds branches count as alike
    ],
)
def test_chirality(smiles: str, place: int, code: int) -> None:
    assert column(smiles, "Chiral")[place] == code


def test_bonds_tell_order_and_stereo() -> None:
    attributes = [bond[2] for bond in molecule_graph("C/C=C/C#N").bonds]
    assert [values[0] for values in attributes] == [1.0, 2.0, 1.0, 3.0]
    assert attributes[1][1] != molecule_graph("C/C=C\\C#N").bonds[1][2][1]


@pytest.mark.parametrize(
    "smiles",
    [
        "C[C@H](O)F",
        "N[C@@H](C)C(=O)O",
        "CC[C@H](C)CCC",
        "C[C@H]1CC[C@@H](C)CC1",  # no CIP label: the two senses are those of the ring
        "O[C@H]1[C@H](O)[C@@H](O)[C@H](O)[C@H](O)[C@@H]1O",
        "CC[C@@H](C)/C=C/C",
        "C/C=C/C=C\\C",  # the two inner atoms have one environment
        "C1CC2CCC1CC2",
        "C1=CC=C(C=C1)C[Sn](CC2=CC=CC=C2)(CC3=CC=CC=C3)OC=O",  # likewise, in rings
        "[2H]C1CC1C",
    ],
)
def test_a_molecule_is_the_same_in_every_spelling(smiles: str) -> None:
    molecule = Chem.MolFromSmiles(smiles)
    for spelling in {smiles, *Chem.MolToRandomSmilesVect(molecule, 12, randomSeed=0)}:
        assert graph_as_sets(spelling) == graph_as_sets(smiles), spelling


@pytest.mark.parametrize(
    ("first", "second"),
    [("C[C@H](O)F", "C[C@@H](O)F"), ("C[C@H]1CC[C@@H](C)CC1", "C[C@H]1CC[C@H](C)CC1"), ("C[C@H](O)F", "CC(O)F")],
)
def test_stereoisomers_are_told_apart(first: str, second: str) -> None:
    assert graph_as_sets(first) != graph_as_sets(second)


def test_no_spelling_changes_a_molecule_of_a_collection() -> None:
    table = files("chemicals") / "Identifiers" / "chemical identifiers pubchem large.tsv"
    listed = [line.split("\t")[4] for line in table.read_text("utf-8").splitlines()[::900]]
    ringed = 0
    for smiles in listed:
        molecule = Chem.MolFromSmiles(smiles)
        if molecule is None or "." in smiles or molecule.GetNumAtoms() > 30:
            continue
        ringed += molecule.GetRingInfo().NumRings() > 0
        first, *others = (graph_as_sets(it) for it in Chem.MolToRandomSmilesVect(molecule, 4, randomSeed=0))
        assert all(other == first for other in others), smiles
    assert ringed > 30


def test_atoms_are_in_the_order_of_the_spelling() -> None:
    molecule = Chem.MolFromSmiles("C[C@H]1CC(=O)NC1/C=C/C#N")
    for spelling in Chem.MolToRandomSmilesVect(molecule, 5, randomSeed=0):
        given = Chem.MolFromSmiles(spelling)
        for it in (given, Chem.AddHs(given)):
            graph = molecule_graph(it)
            assert [atom[0] for atom in graph.atoms] == [atom.GetAtomicNum() for atom in it.GetAtoms()]
            for first, second, (order, *_) in graph.bonds:
                assert it.GetBondBetweenAtoms(first, second).GetBondTypeAsDouble() == order
            assert len(graph.bonds) == it.GetNumBonds()


def graph_as_sets(smiles: str) -> tuple[object, ...]:
    graph = molecule_graph(smiles)
    bonds = [(*sorted([graph.atoms[first], graph.atoms[second]]), kind) for first, second, kind in graph.bonds]
    return sorted(graph.atoms), sorted(bonds)
