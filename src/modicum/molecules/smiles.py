"""SMILES strings, as RDKit reads and spells them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modicum.core.extras import require
from modicum.errors import DataError

if TYPE_CHECKING:
    from rdkit.Chem import Mol


def read_molecule(smiles: str) -> Mol:
    """Read a SMILES string, in silence.

    Raises:
        DataError: if RDKit cannot, or there is no atom.
        MissingExtraError: if RDKit is not installed.
    """
    chemistry = require("rdkit.Chem", extra="molecules", purpose="Reading SMILES")
    from rdkit.rdBase import BlockLogs

    with BlockLogs():
        try:
            molecule = chemistry.MolFromSmiles(smiles)
        except RuntimeError:  # a limit of RDKit, such as that of its stack of branches
            molecule = None
    if molecule is None or not molecule.GetNumAtoms():
        raise DataError(f"RDKit cannot read the SMILES {smiles!r}.", hint="Correct or remove that molecule.")
    return molecule


def in_own_order(molecule: Mol) -> Mol:
    """Give a molecule with stereocentres with its atoms as in its canonical SMILES; others as they are.

    RDKit's mark of a stereocentre is relative to the order of its neighbours.
    """
    from rdkit.Chem import ChiralType, MolToSmiles

    if any(atom.GetChiralTag() != ChiralType.CHI_UNSPECIFIED for atom in molecule.GetAtoms()):
        return read_molecule(MolToSmiles(molecule))
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
