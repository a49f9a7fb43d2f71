"""SMILES strings, as RDKit reads and spells them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modicum.core.extras import require
from modicum.errors import DataError

if TYPE_CHECKING:
    from rdkit.Chem import Mol

__all__ = ["canonical", "read_molecule"]


def read_molecule(smiles: str) -> Mol:
    """Read a SMILES string, in silence.

    Raises:
        DataError: if RDKit cannot, or there is no atom.
        MissingExtraError: if RDKit is not installed.
    """
    chemistry = require("rdkit.Chem", extra="molecules", purpose="Reading SMILES")
    from rdkit.rdBase import BlockLogs

    with BlockLogs():
        molecule = chemistry.MolFromSmiles(smiles)
    if molecule is None or not molecule.GetNumAtoms():
        raise DataError(f"RDKit cannot read the SMILES {smiles!r}.", hint="Mend or remove that molecule.")
    return molecule


def canonical(smiles: str) -> str:
    """Spell a molecule as RDKit does.

    Raises:
        DataError: if RDKit cannot read it.
        MissingExtraError: if RDKit is not installed.
    """
    molecule = read_molecule(smiles)
    from rdkit.Chem import MolToSmiles

    return MolToSmiles(molecule)
