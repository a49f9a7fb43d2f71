from __future__ import annotations

import pytest

from modicum.errors import DataError, SimulationError
from modicum.molecules.liquid.trappe import lennard_jones, torsion, united_atoms

KELVIN = 8.314462618e-3  # kJ/mol


def test_hexane_has_its_terms() -> None:
    hexane = united_atoms("CCCCCC")
    assert hexane.hydrogens == (3, 2, 2, 2, 2, 3)
    assert [len(part) for part in (hexane.bonds, hexane.angles, hexane.torsions)] == [5, 4, 3]
    assert hexane.pairs == ((0, 4), (0, 5), (1, 5))
    assert len(hexane.excluded) + len(hexane.pairs) == 15
    assert hexane.molar_mass == pytest.approx(86.178, abs=2e-3)


def test_branches_have_theirs() -> None:
    neopentane, triptane = united_atoms("CC(C)(C)C"), united_atoms("CC(C)C(C)(C)C")
    assert sorted(neopentane.hydrogens) == [0, 3, 3, 3, 3]
    assert [len(part) for part in (neopentane.bonds, neopentane.angles, neopentane.torsions)] == [4, 6, 0]
    assert len(triptane.torsions) == 2 * 3
    assert triptane.pairs == ()


def test_methane_is_one_group() -> None:
    assert united_atoms("C").hydrogens == (4,)
    assert lennard_jones(4) == (0.373, pytest.approx(148 * KELVIN))


def test_torsions_are_zero_in_the_zigzag_and_known_at_the_top() -> None:
    # Where phi is 0 the energy is 2 (c1 + c3): 19.06 kJ/mol for butane, and 1488.94 K + 251.06 K about CH.
    assert 2 * (torsion(2, 2)[0] + torsion(2, 2)[2]) == pytest.approx(19.0626, abs=1e-3)
    assert 2 * (torsion(2, 1)[0] + torsion(2, 1)[2]) == pytest.approx(1740.0 * KELVIN, abs=1e-6)
    assert torsion(1, 2) == torsion(2, 1) == torsion(1, 1)


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("CCO", "force field lacks element O"),
        ("CC(F)C", "force field lacks element F"),
        ("C1CCCCC1", "force field lacks rings"),
        ("CC=C", "force field lacks double and triple bonds"),
        ("C#C", "force field lacks double and triple bonds"),
        ("CC.CC", "force field lacks mixtures"),
        ("C[CH2]", "force field lacks charges, radicals and isotopes"),
        ("[13CH3]C", "force field lacks charges, radicals and isotopes"),
    ],
)
def test_what_the_force_field_lacks_is_named(smiles: str, reason: str) -> None:
    with pytest.raises(SimulationError, match=reason):
        united_atoms(smiles)


def test_what_is_no_molecule_is_bad_input() -> None:
    with pytest.raises(DataError, match="RDKit cannot read the SMILES"):
        united_atoms("CC(")
