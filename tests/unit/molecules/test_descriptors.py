from __future__ import annotations

import numpy as np
import pytest
from chemprop.featurizers import MoleculeFeaturizerRegistry
from rdkit import Chem

from modicum.errors import DataError
from modicum.molecules.predict.dmpnn import describe

MOLECULES = ("CCCC", "CC(C)C(C)(C)C", "CCCCCCCCCCCCCCCCCCC", "c1ccccc1O")


def test_columns_at_once_are_chemprops_descriptors_to_the_last_bit() -> None:
    slow = MoleculeFeaturizerRegistry["v1_rdkit_2d_normalized"]()
    expected = np.array([slow(Chem.MolFromSmiles(smiles)) for smiles in MOLECULES])
    np.testing.assert_array_equal(describe(MOLECULES), expected)


def test_no_molecule_has_no_rows() -> None:
    assert describe(()).shape == (0, 200)


def test_what_is_no_molecule_is_named() -> None:
    with pytest.raises(DataError, match="RDKit cannot read the SMILES"):
        describe(("CC(C",))
