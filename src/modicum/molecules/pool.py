"""Pools: the molecules among which a selection chooses, enumerated or read from a file."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from modicum.core.extras import require
from modicum.core.files import replacing
from modicum.errors import ConfigError, DataError
from modicum.molecules.alkanes import enumerate_alkanes

if TYPE_CHECKING:
    from rdkit.Chem import Mol

__all__ = ["Pool", "Rejected", "read_pool", "write_smiles"]

_PURPOSE = "Reading SMILES"
_HINT = "Correct or remove that row, or pass over such rows with skip_invalid=True (--skip-invalid)."


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row of a file that is not in the pool.

    Args:
        row: line of the file, from 1.
        text: what stood there.
        reason: why it was kept out, as the end of a sentence that begins with the text.
    """

    row: int
    text: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """The molecules of a chemical space.

    Args:
        smiles: one a molecule, in the order of their source.
        sizes: heavy atoms of each, shape (n,).
        rejected: rows of the file that were kept out, when it was read so.

    Raises:
        DataError: if there is no molecule.
        ConfigError: if there is not one size a molecule.
    """

    smiles: tuple[str, ...]
    sizes: npt.NDArray[np.int64]
    rejected: tuple[Rejected, ...] = ()

    def __post_init__(self) -> None:
        if not self.smiles:
            raise DataError("The pool is empty.", hint="Give at least one molecule.")
        if self.sizes.shape != (len(self.smiles),):
            raise ConfigError(
                f"A pool of {len(self.smiles)} molecules must have as many sizes, got {self.sizes.shape}.",
                hint="Use Pool.of, which counts the atoms.",
            )

    def __len__(self) -> int:
        return len(self.smiles)

    @classmethod
    def of(cls, smiles: Iterable[str]) -> Pool:
        """Make a pool of SMILES in memory, which are trusted to be distinct and connected.

        Args:
            smiles: of the molecules; those of alkanes are not parsed.

        Returns:
            The pool.

        Raises:
            DataError: if there is none, or one that RDKit cannot read.
        """
        given = tuple(smiles)
        return cls(given, np.array([_heavy_atoms(text) for text in given], dtype=np.int64))

    @classmethod
    def alkanes(cls, smallest: int = 4, largest: int = 19) -> Pool:
        """Make the pool of all alkanes of some sizes, in carbon atoms."""
        return cls.of(enumerate_alkanes(smallest, largest))


def read_pool(path: Path, *, skip_invalid: bool = False) -> Pool:
    """Read the molecules of a file, each of them checked by RDKit.

    Args:
        path: a ``.smi`` or ``.smiles`` file (SMILES, then anything; blank lines and lines that begin with ``#`` are
            passed over), or a ``.csv`` file with a column ``smiles`` in any case; either may be compressed (``.gz``).
        skip_invalid: keep out rows that are not one connected molecule, or that repeat one, and tell them in
            ``rejected``. Otherwise the first of them is an error.

    Returns:
        The pool, with the SMILES as they stand in the file.

    Raises:
        DataError: if the file cannot be read, a row is refused, or no molecule is left; file and row are named.
        MissingExtraError: if RDKit is not installed.
    """
    kept: list[str] = []
    sizes: list[int] = []
    rejected: list[Rejected] = []
    first_row: dict[str, int] = {}
    with _silent_rdkit():
        for row, text in _rows(path):
            molecule, reason = _parse(text)
            if molecule is not None:
                before = first_row.setdefault(_canonical(molecule), row)
                reason = "" if before == row else f"is the same molecule as row {before}"
            if molecule is not None and not reason:
                kept.append(text)
                sizes.append(molecule.GetNumHeavyAtoms())
            elif skip_invalid:
                rejected.append(Rejected(row, text, reason))
            else:
                raise DataError(f"{path}, row {row}: {text!r} {reason}.", hint=_HINT)
    if not kept:
        refused = f"; {len(rejected)} rows were kept out" if rejected else ""
        raise DataError(f"The pool {path} is empty{refused}.", hint="Give at least one molecule.")
    return Pool(tuple(kept), np.array(sizes, dtype=np.int64), tuple(rejected))


def write_smiles(path: Path, smiles: Iterable[str]) -> int:
    """Write SMILES one a line, as they come, whole or not at all.

    Args:
        path: replaced if it exists.
        smiles: of the molecules.

    Returns:
        How many they were.

    Raises:
        ConfigError: if the file cannot be written; nothing is left of it.
    """
    count = 0
    with replacing(path) as file:
        for text in smiles:
            file.write(f"{text}\n")
            count += 1
    return count


def _rows(path: Path) -> Iterator[tuple[int, str]]:
    """Read a file of either kind.

    Yields:
        The row and the SMILES of each molecule.

    Raises:
        DataError: if the file is of no such kind or cannot be read.
    """
    kind = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    readers = {".smi": _smiles_rows, ".smiles": _smiles_rows, ".csv": _csv_rows}
    if kind.lower() not in readers:
        raise DataError(
            f"A pool is a .smi or a .csv file (or .gz of one), got {path}.", hint="Rename it by what it holds."
        )
    try:
        with _open(path) as file:
            yield from readers[kind.lower()](path, file)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}).", hint="Give a text file in UTF-8.") from error


def _open(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _smiles_rows(_: Path, file: IO[str]) -> Iterator[tuple[int, str]]:
    for row, line in enumerate(file, start=1):
        words = line.split(maxsplit=1)
        if words and not words[0].startswith("#"):
            yield row, words[0]


def _csv_rows(path: Path, file: IO[str]) -> Iterator[tuple[int, str]]:
    reader = csv.reader(file)
    header = [name.strip().lower() for name in next(reader, [])]
    if header.count("smiles") != 1:
        raise DataError(
            f"{path} must have one column 'smiles', but it has {', '.join(header) or 'nothing'}.",
            hint="Give the column of the molecules that name.",
        )
    place = header.index("smiles")
    for fields in reader:
        if fields:
            yield reader.line_num, fields[place].strip() if place < len(fields) else ""


@contextmanager
def _silent_rdkit() -> Generator[None]:
    """Keep RDKit from writing to stderr what the errors here say with file and row."""
    rdbase = require("rdkit.rdBase", extra="molecules", purpose=_PURPOSE)
    with rdbase.BlockLogs():
        yield


def _parse(text: str) -> tuple[Mol | None, str]:
    """Give the molecule, or None and the reason why the text is no molecule."""
    from rdkit import Chem

    strict = Chem.SmilesParserParams()
    strict.parseName = strict.allowCXSMILES = False
    molecule = Chem.MolFromSmiles(text, strict)
    if molecule is None:
        return None, _complaint(text)
    if molecule.GetNumHeavyAtoms() == 0:
        return None, "has no heavy atom"
    pieces = len(Chem.GetMolFrags(molecule))
    return (molecule, "") if pieces == 1 else (None, f"is {pieces} molecules, not one")


def _complaint(text: str) -> str:
    """Say what RDKit has against a text that it does not turn into a molecule."""
    from rdkit import Chem

    raw = Chem.MolFromSmiles(text, sanitize=False)
    problems = Chem.DetectChemistryProblems(raw) if raw is not None else ()
    detail = f" ({problems[0].Message().rstrip('.')})" if problems else ""
    return f"is not a valid SMILES{detail}"


def _canonical(molecule: Mol) -> str:
    from rdkit import Chem

    return Chem.MolToSmiles(molecule)


def _heavy_atoms(text: str) -> int:
    if text and not text.strip("C()"):
        return text.count("C")  # an alkane: counted in a thousandth of the time that parsing takes
    with _silent_rdkit():
        molecule, reason = _parse(text)
    if molecule is None:
        raise DataError(f"{text!r} {reason}.", hint="Give the SMILES of one molecule, or read a file with read_pool.")
    return molecule.GetNumHeavyAtoms()
