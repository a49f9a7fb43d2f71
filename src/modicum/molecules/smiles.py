"""SMILES strings, as RDKit reads and spells them."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

from modicum.core.extras import require
from modicum.errors import DataError

if TYPE_CHECKING:
    from rdkit.Chem import Mol


def read_molecule(smiles: str, *, keep_hydrogen: bool = False) -> Mol:
    """Read a SMILES string, in silence."""
    chemistry = require("rdkit.Chem", extra="molecules", purpose="Reading SMILES")
    from rdkit.rdBase import BlockLogs

    with BlockLogs():
        try:
            if keep_hydrogen:
                settings = chemistry.SmilesParserParams()
                settings.removeHs = False
                molecule = chemistry.MolFromSmiles(smiles, settings)
            else:
                molecule = chemistry.MolFromSmiles(smiles)
        except RuntimeError:  # a limit of RDKit, such as that of its stack of branches
            molecule = None
    if molecule is None or not molecule.GetNumAtoms():
        raise DataError(f"RDKit cannot read the SMILES {smiles!r}.", hint="Correct or remove that molecule.")
    return molecule


def in_own_order(molecule: Mol) -> Mol:
    """Give a molecule with its atoms in an order that every spelling of it has, see `own_order`."""
    return own_order(molecule)[0]


def own_order(molecule: Mol | str) -> tuple[Mol, list[int]]:
    """Give a molecule with its atoms as in its canonical SMILES, and the index of each as it was given."""
    # What RDKit derives from the order of atoms is then the same for every spelling: the mark of a stereocentre, which
    # is relative to the order of its neighbours, and which of two equivalent environments a Morgan fingerprint drops. A
    # chain without stereocentre or double bond of known geometry is returned as it is: nothing depends on its order.
    read = read_molecule(molecule) if isinstance(molecule, str) else molecule
    from rdkit.Chem import MolToSmiles

    # Marks are sought in the text: a loop over RDKit's atoms would take a tenth of the time of an alkane's graph.
    smiles = molecule if isinstance(molecule, str) else MolToSmiles(molecule)
    if not smiles or not (any(mark in smiles for mark in "@/\\|") or read.GetRingInfo().NumRings()):
        return read, list(range(read.GetNumAtoms()))
    own = read_molecule(MolToSmiles(read), keep_hydrogen=True)
    return own, json.loads(read.GetProp("_smilesAtomOutputOrder"))


@functools.lru_cache(maxsize=1 << 16)  # sets of molecules are compared with one another again and again
def canonical(smiles: str) -> str:
    """Spell a molecule as RDKit does."""
    molecule = read_molecule(smiles)
    from rdkit.Chem import MolToSmiles

    return MolToSmiles(molecule)
