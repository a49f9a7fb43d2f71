from __future__ import annotations

import numpy as np
import pytest
from chemprop.featurizers import MoleculeFeaturizerRegistry
from rdkit import Chem

from modicum.errors import DataError
from modicum.molecules.predict.dmpnn import describe

MOLECULES = ("CCCC", "CC(C)C(C)(C)C", "CCCCCCCCCCCCCCCCCCC", "c1ccccc1O")


def test_descriptors_are_those_of_chemprop_as_they_are() -> None:
    chemprop = MoleculeFeaturizerRegistry["v1_rdkit_2d"]()
    expected = np.array([chemprop(Chem.MolFromSmiles(smiles)) for smiles in MOLECULES])
    np.testing.assert_array_equal(describe(MOLECULES), expected)


def test_a_descriptor_that_cannot_be_computed_is_zero() -> None:
    chemprop = MoleculeFeaturizerRegistry["v1_rdkit_2d"]()(Chem.MolFromSmiles("C[Pt]C"))
    assert np.isnan(chemprop).sum() == 4  # partial charges
    np.testing.assert_array_equal(describe(("C[Pt]C",))[0], np.nan_to_num(chemprop))


def test_a_descriptor_beyond_single_precision_is_refused() -> None:
    assert describe(("C" * 120,)).max() < np.finfo(np.float32).max
    with pytest.raises(DataError, match="too large for single precision"):
        describe(("CCCC", "C" * 180))


def test_no_molecule_has_no_rows() -> None:
    assert describe(()).shape == (0, 200)


def test_what_is_no_molecule_is_named() -> None:
    with pytest.raises(DataError, match="RDKit cannot read the SMILES"):
        describe(("CC(C",))
