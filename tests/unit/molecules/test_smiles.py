from __future__ import annotations

import pytest

from modicum.errors import DataError
from modicum.molecules.data.smiles import canonical, read_molecule


def test_spellings_of_a_molecule_are_one() -> None:
    assert canonical("C(C)CC") == canonical("CCCC") == "CCCC"
    assert canonical("CCCC") != canonical("CC(C)C")


@pytest.mark.parametrize("smiles", ["CC(C", "", "butane", "C(C)(C)(C)(C)C"])
def test_what_is_no_molecule_is_named(smiles: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match="RDKit cannot read the SMILES"):
        read_molecule(smiles)
    assert capfd.readouterr().err == ""
