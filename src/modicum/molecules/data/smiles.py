"""SMILES: how texts and files become molecules by RDKit, and bad rows are reported, all of them at once."""

from __future__ import annotations

import functools
import json
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from modicum.core.extras import require
from modicum.core.tables import read_cells
from modicum.errors import DataError

if TYPE_CHECKING:
    from rdkit.Chem import Mol


_SHOWN = 20  # bad rows in a message
_SMILES_COLUMN = "Call the column of the SMILES smiles, or name it by --smiles-col where the command has that."


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row of a file that cannot be used."""

    row: int  # line of the file, from 1
    text: str  # what stood there
    reason: str  # why, as the end of a sentence that begins with the text


def refuse(path: Path, bad: Sequence[tuple[int, str]], hint: str, *, strip_salts: bool) -> NoReturn:
    """Report all bad rows of a file, each with its number and the reason."""
    if not strip_salts and any("molecules, not one" in reason for _, reason in bad):
        hint += " Salts are left out with strip_salts=True (--strip-salts)."
    if len(bad) == 1:
        raise DataError(f"{path}, row {bad[0][0]}: {bad[0][1]}.", hint=hint)
    lines = [f"\n  row {row}: {reason}" for row, reason in bad[:_SHOWN]]
    rest = f"\n  and {len(bad) - _SHOWN:,} more" if len(bad) > _SHOWN else ""
    raise DataError(f"{path} has {len(bad):,} bad rows:{''.join(lines)}{rest}.", hint=hint)


def column(path: Path, header: Sequence[str], name: str | None, *, hint: str = _SMILES_COLUMN) -> int:
    """Find a column by its name, or with None that of the SMILES, which is "smiles" in any case."""
    sought = name or "smiles"
    places = [place for place, text in enumerate(header) if (text if name else text.lower()) == sought]
    if len(places) != 1:
        raise DataError(
            f"{path} has {'no column' if not places else f'{len(places)} columns'} {sought!r}, its header is "
            f"{', '.join(header) or 'empty'}.",
            hint=hint,
        )
    return places[0]


def table_rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Read a CSV file: its header, then the line and the cells of each row that is not blank."""
    rows = [(line, [cell.strip() for cell in cells]) for line, cells in read_cells(path)]
    return (rows[0][1], rows[1:]) if rows else ([], [])


def smiles_columns(paths: Iterable[Path], name: str | None) -> dict[Path, str | None]:
    """Say which CSV files have the named column of SMILES: what select and label write has another than the user's."""
    found: dict[Path, str | None] = {}
    for path in paths:
        found[path] = name
        if name is not None:
            found[path] = name if name in table_rows(path)[0] else None
    return found


def others(header: Sequence[str], taken: Sequence[int]) -> dict[str, int]:
    """Find the columns that are kept as they are, such as an id: all that have a name and are not taken."""
    found: dict[str, int] = {}
    for place, name in enumerate(header):
        if name and place not in taken:
            found.setdefault(name, place)
    return found


@contextmanager
def silent_rdkit() -> Generator[None]:
    """Keep RDKit from writing to stderr what the errors here say with file and row."""
    rdbase = require("rdkit.rdBase", extra="molecules", purpose="Reading SMILES")
    with rdbase.BlockLogs():
        yield


def parse(text: str, *, strip_salts: bool = False) -> tuple[Mol | None, str]:
    """Give the molecule and its canonical SMILES, or None and the reason why the text is not one connected molecule."""
    # With ``strip_salts`` the fragments that RDKit's list of salts and solvents has are left out first.
    from rdkit.Chem import GetMolFrags, MolToSmiles

    try:
        molecule = _read(text)
        if molecule is None:
            return None, _complaint(text)
        pieces = len(GetMolFrags(molecule))
        if pieces > 1 and strip_salts:
            molecule = _remover().StripMol(molecule, dontRemoveEverything=True)
            pieces = len(GetMolFrags(molecule))
        spelt = MolToSmiles(molecule)
    except (RuntimeError, ValueError):  # its limits: a hundred bonds of an atom, or of rings open at once
        return None, "is not a valid SMILES (more bonds of an atom, branches or rings than RDKit reads)"
    if molecule.GetNumHeavyAtoms() == 0:
        return None, "has no heavy atom"
    if pieces > 1:
        return None, f"is {pieces} molecules, not one{', without what RDKit knows as salts' if strip_salts else ''}"
    return molecule, spelt


def _read(text: str) -> Mol | None:
    from rdkit.Chem import MolFromSmiles, SmilesParserParams

    strict = SmilesParserParams()
    strict.parseName = strict.allowCXSMILES = False
    return MolFromSmiles(text, strict)


def _complaint(text: str) -> str:
    """Say what RDKit has against a text that it does not turn into a molecule."""
    from rdkit.Chem import DetectChemistryProblems, MolFromSmiles

    raw = MolFromSmiles(text, sanitize=False)
    problems = DetectChemistryProblems(raw) if raw is not None else ()
    detail = f" ({problems[0].Message().rstrip('.')})" if problems else ""
    return f"is not a valid SMILES{detail}"


@functools.cache
def _remover() -> Any:
    from rdkit.Chem.SaltRemover import SaltRemover

    return SaltRemover()


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
