from __future__ import annotations

import numpy as np
import pytest
from chemprop.featurizers import MoleculeFeaturizerRegistry
from rdkit import Chem

from modicum.errors import DataError
from modicum.molecules.descriptors import canonical, describe, read_molecule

MOLECULES = ("CCCC", "CC(C)C(C)(C)C", "CCCCCCCCCCCCCCCCCCC", "c1ccccc1O")


def test_columns_at_once_are_chemprops_descriptors_to_the_last_bit() -> None:
    slow = MoleculeFeaturizerRegistry["v1_rdkit_2d_normalized"]()
    expected = np.array([slow(Chem.MolFromSmiles(smiles)) for smiles in MOLECULES])
    np.testing.assert_array_equal(describe(MOLECULES), expected)


def test_no_molecule_has_no_rows() -> None:
    assert describe(()).shape == (0, 200)


def test_spellings_of_a_molecule_are_one() -> None:
    assert canonical("C(C)CC") == canonical("CCCC") == "CCCC"


@pytest.mark.parametrize("smiles", ["CC(C", "", "C(C)(C)(C)(C)C"])
def test_what_is_no_molecule_is_named(smiles: str) -> None:
    with pytest.raises(DataError, match="RDKit cannot read the SMILES"):
        read_molecule(smiles)
    with pytest.raises(DataError, match="RDKit cannot read the SMILES"):
        describe((smiles,))
