"""Pools: the molecules among which a selection chooses, enumerated or read from a file."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from modicum.core.files import replacing
from modicum.core.tables import read_text
from modicum.errors import ConfigError, DataError
from modicum.molecules.data.alkanes import enumerate_alkanes
from modicum.molecules.data.smiles import Rejected, column, others, parse, refuse, silent_rdkit, table_rows
from modicum.molecules.data.table import Property, PropertyTable

Row: TypeAlias = tuple[int, str, tuple[str, ...]]

_HINT = "Correct or remove them, or pass over such rows with skip_invalid=True (--skip-invalid)."


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """The molecules of a chemical space.

    Args:
        smiles: one a molecule, in the order of their source.
        sizes: heavy atoms of each, shape (n,).
        rejected: rows of the file that were left out, when it was read so.
        columns: the other columns of the file by name, one text a molecule: ids, names.

    Raises:
        DataError: if there is no molecule.
        ConfigError: if there is not one size a molecule.
    """

    smiles: tuple[str, ...]
    sizes: npt.NDArray[np.int64]
    rejected: tuple[Rejected, ...] = ()
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

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

    def table(self, known: Property, temperatures: Sequence[float] | None = None) -> PropertyTable:
        """Give a table of zeros to be predicted, with the other columns: at 298.15 K if none is given."""
        if not known.temperature and temperatures:
            raise ConfigError(f"{known.name} was learnt without temperature.", hint="Leave -t out.")
        kelvin = temperatures or [298.15]
        times = len(kelvin) if known.temperature else 1
        repeat = lambda texts: tuple(text for text in texts for _ in range(times))
        return PropertyTable(
            quantity=known.name,
            unit=known.unit,
            smiles=repeat(self.smiles),
            temperature=np.tile(np.array(kelvin, dtype=float), len(self)) if known.temperature else np.empty(0),
            value=np.zeros(times * len(self)),
            columns={name: repeat(texts) for name, texts in self.columns.items()},
        )


def read_pool(
    path: Path, *, skip_invalid: bool = False, smiles_column: str | None = None, strip_salts: bool = False
) -> Pool:
    """Read the molecules of a file, each of them checked by RDKit.

    Args:
        path: a ``.smi`` or ``.smiles`` file (SMILES, then a name; blank lines and lines that begin with ``#`` are
            passed over), or a ``.csv`` file with a column of SMILES; either may be compressed (``.gz``).
        skip_invalid: leave out rows that are not one connected molecule, or that repeat one, and list them in
            ``rejected``. Otherwise they are an error.
        smiles_column: of a ``.csv`` file; None takes ``smiles``, in any case.
        strip_salts: leave out fragments that RDKit knows as salts or solvents; such a molecule is then spelt as RDKit
            spells what is left.

    Returns:
        The pool, with the SMILES as they stand in the file, and its other columns; the names of a ``.smi`` file are
        the column ``name``.

    Raises:
        DataError: if the file cannot be read, rows are refused, or no molecule is left; all bad rows are named.
        MissingExtraError: if RDKit is not installed.
    """
    kept: list[str] = []
    sizes: list[int] = []
    cells: list[tuple[str, ...]] = []
    rejected: list[Rejected] = []
    first_row: dict[str, int] = {}
    names, rows = molecule_rows(path, smiles_column)
    with silent_rdkit():
        for row, text, rest in rows:
            molecule, spelt = parse(text, strip_salts=strip_salts)
            before = first_row.setdefault(spelt, row) if molecule is not None else row
            if molecule is None:
                rejected.append(Rejected(row, text, spelt))
            elif before != row:
                rejected.append(Rejected(row, text, f"is the same molecule as row {before}"))
            else:
                kept.append(spelt if strip_salts and "." in text else text)
                sizes.append(molecule.GetNumHeavyAtoms())
                cells.append(rest)
    if rejected and not skip_invalid:
        refuse(path, [(bad.row, f"{bad.text!r} {bad.reason}") for bad in rejected], _HINT, strip_salts=strip_salts)
    if not kept:
        refused = f"; {len(rejected)} rows were left out" if rejected else ""
        raise DataError(f"The pool {path} is empty{refused}.", hint="Give at least one molecule.")
    columns = dict(zip(names, zip(*cells, strict=True), strict=True)) if names else {}
    return Pool(tuple(kept), np.array(sizes, dtype=np.int64), tuple(rejected), columns)


def write_smiles(path: Path, smiles: Iterable[str]) -> int:
    """Write SMILES one a line, as they come, whole or not at all."""
    count = 0
    with replacing(path) as file:
        for text in smiles:
            file.write(f"{text}\n")
            count += 1
    return count


def molecule_rows(path: Path, smiles_column: str | None) -> tuple[tuple[str, ...], list[Row]]:
    """Read a file of either kind: the names of its other columns; row, SMILES and other cells of each molecule."""
    kind = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if kind.lower() not in (".smi", ".smiles", ".csv"):
        raise DataError(
            f"A pool is a .smi or a .csv file (or .gz of one), got {path}.", hint="Give a file with one of those names."
        )
    if smiles_column is not None and kind.lower() != ".csv":
        raise ConfigError(f"{path} has no columns, so none {smiles_column!r}.", hint="Leave --smiles-col out.")
    if kind.lower() == ".csv":
        header, rows = table_rows(path)
        place = column(path, header, smiles_column)
        kept = others(header, [place])
        return tuple(kept), [
            (row, _cell(cells, place), tuple(_cell(cells, at) for at in kept.values())) for row, cells in rows
        ]
    found = [*_smiles_rows(read_text(path))]
    return (("name",), found) if any(name for *_, (name,) in found) else ((), [(*row[:2], ()) for row in found])


def _cell(cells: list[str], place: int) -> str:
    return cells[place] if place < len(cells) else ""


def _smiles_rows(text: str) -> Iterator[Row]:
    for row, line in enumerate(io.StringIO(text, newline=None), start=1):
        words = line.split(maxsplit=1)
        if words and not words[0].startswith("#"):
            yield row, words[0], (words[1].strip() if len(words) > 1 else "",)


def _heavy_atoms(text: str) -> int:
    if text and not text.strip("C()"):
        return text.count("C")  # an alkane: counted in a thousandth of the time that parsing takes
    with silent_rdkit():
        molecule, reason = parse(text)
    if molecule is None:
        raise DataError(f"{text!r} {reason}.", hint="Give the SMILES of one molecule, or read a file with read_pool.")
    return molecule.GetNumHeavyAtoms()
