from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from modicum.errors import ConfigError, DataError
from modicum.molecules.data.pool import Pool, Rejected, read_pool, write_smiles

BUTANES = "# the butanes\nCCCC butane\n\n  C(C)(C)C\tisobutane, also\n"
ZIPPED = gzip.compress(b"CCCC\n", mtime=0)


def written(folder: Path, text: str, name: str = "pool.smi") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pool.smi", BUTANES),
        ("pool.smiles", BUTANES.replace("\n", "\r\n")),
        ("pool.smi.gz", BUTANES),
        ("POOL.SMI", "\ufeffCCCC\nC(C)(C)C"),
        ("pool.csv", "name,SMILES\nbutane,CCCC\n\nisobutane, C(C)(C)C \n"),
        ("pool.csv", '"smiles"\r\n"CCCC"\r\n"C(C)(C)C"\r\n'),
        ("pool.csv.gz", "Smiles,T\nCCCC,300\nC(C)(C)C,300\n"),
    ],
)
def test_a_file_of_molecules_is_a_pool(name: str, text: str, tmp_path: Path) -> None:
    pool = read_pool(written(tmp_path, text, name))
    assert pool.smiles == ("CCCC", "C(C)(C)C")
    assert pool.sizes.tolist() == [4, 4]
    assert pool.sizes.dtype == np.int64
    assert len(pool) == 2
    assert pool.rejected == ()


def test_names_ids_and_stripped_salts_are_kept(tmp_path: Path) -> None:
    assert read_pool(written(tmp_path, BUTANES)).columns == {"name": ("butane", "isobutane, also")}
    path = written(tmp_path, "id,structure\n1,CC[NH3+].[Cl-]\n2,CCCC\n3,CCC.CCO\n4,C(C)CC\n", "pool.csv")
    pool = read_pool(path, smiles_column="structure", strip_salts=True, skip_invalid=True)
    assert pool.smiles == ("CC[NH3+]", "CCCC")
    assert pool.columns == {"id": ("1", "2")}
    assert [bad.row for bad in pool.rejected] == [4, 5]
    with pytest.raises(DataError, match=r"(?s)has 3 bad rows:.*row 2: .*row 4: .*row 5: ") as error:
        read_pool(path, smiles_column="structure")
    assert "--strip-salts" in error.value.hint


def test_sizes_are_heavy_atoms_of_any_molecule(tmp_path: Path) -> None:
    smiles = ["[H]C([H])([H])O", "c1ccccc1", "CCl", "C1.C1", "C(C)(C)C", "[2H]C"]
    path = tmp_path / "pool.smi"
    write_smiles(path, smiles)
    expected = [2, 6, 2, 2, 4, 1]
    assert Pool.of(smiles).sizes.tolist() == expected
    assert read_pool(path).sizes.tolist() == expected


def test_the_alkanes_are_a_pool() -> None:
    pool = Pool.alkanes(1, 7)
    assert np.bincount(pool.sizes).tolist() == [0, 1, 1, 1, 2, 3, 5, 9]
    assert pool.sizes.tolist() == [Chem.MolFromSmiles(smiles).GetNumHeavyAtoms() for smiles in pool.smiles]


BAD_ROWS = [
    ("CCCx", r"is not a valid SMILES"),
    ("CC(C", r"is not a valid SMILES"),
    ("CC(C)(C)(C)C", r"is not a valid SMILES (Explicit valence for atom # 1 C, 5, is greater than permitted)"),
    ("CC.CC", "is 2 molecules, not one"),
    ("[H][H]", "has no heavy atom"),
    ("C(C)C", "is the same molecule as row 1"),
    (
        "C" + "(C)" * 500,
        "is not a valid SMILES (more bonds of an atom, branches or rings than RDKit reads)",
    ),
]


@pytest.mark.parametrize(("text", "reason"), BAD_ROWS)
def test_a_bad_row_is_named_or_kept_out_and_told(
    text: str, reason: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, f"CCC\n{text} with a name\nCCCC\n")
    with pytest.raises(DataError) as error:
        read_pool(path)
    assert error.value.what == f"{path}, row 2: {text!r} {reason}."
    assert "--skip-invalid" in error.value.hint
    pool = read_pool(path, skip_invalid=True)
    assert pool.smiles == ("CCC", "CCCC")
    assert pool.rejected == (Rejected(2, text, reason),)
    assert capfd.readouterr() == ("", "")  # RDKit does not say it too


@pytest.mark.parametrize(
    ("row", "text", "reason"),
    [("", "", "has no heavy atom"), ("CC CC", "CC CC", "is not a valid SMILES")],
)
def test_a_bad_cell_of_a_csv_is_named(row: str, text: str, reason: str, tmp_path: Path) -> None:
    path = written(tmp_path, f"name,smiles\na,CCC\nb,{row}\nc,CCCC\n", "pool.csv")
    with pytest.raises(DataError, match=f"pool.csv, row 3: {text!r} {reason}"):
        read_pool(path)
    assert read_pool(path, skip_invalid=True).rejected == (Rejected(3, text, reason),)


def test_a_row_that_lacks_the_cell_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"pool\.csv, row 2: '' has no heavy atom"):
        read_pool(written(tmp_path, "name,smiles\na\n", "pool.csv"))


@pytest.mark.parametrize("text", ["", "# nothing\n\n", "CC.CC\nCCx\n"])
def test_an_empty_pool_is_an_error(text: str, tmp_path: Path) -> None:
    refused = "; 2 rows were left out" if "CC" in text else ""
    with pytest.raises(DataError, match=f"pool.smi is empty{refused}"):
        read_pool(written(tmp_path, text), skip_invalid=True)
    with pytest.raises(DataError, match="The pool is empty"):
        Pool.of([])


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("pool.csv", b"name,T\na,300\n", "has no column 'smiles', its header is name, T"),
        ("pool.csv", b"smiles,SMILES\nC,C\n", "has 2 columns 'smiles'"),
        ("pool.csv", b"", "its header is empty"),
        ("pool.sdf", b"", "A pool is a .smi or a .csv file"),
        ("pool.smi", b"C\nC\xff", "line 2 is not UTF-8"),
        ("pool.smi.gz", b"CCCC\n", "cannot be read"),
        ("pool.smi.gz", ZIPPED[:-9], "cannot be read"),
        ("pool.smi.gz", ZIPPED[:10] + b"\xff" * 20, "cannot be read"),
        ("nothing.smi", None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_pool_is_named(name: str, content: bytes | None, words: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words) as error:
        read_pool(tmp_path / name)
    assert name in error.value.what


def test_strings_in_memory_that_are_no_molecule_are_named() -> None:
    with pytest.raises(DataError, match="'CC=' is not a valid SMILES"):
        Pool.of(["CCC", "CC="])


def test_a_pool_has_one_size_a_molecule() -> None:
    with pytest.raises(ConfigError, match=r"2 molecules must have as many sizes, got \(1,\)"):
        Pool(("C", "CC"), np.array([1]))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    pool = Pool.alkanes(4, 9)
    path = tmp_path / "pool.smi"
    path.write_text("an older file")
    assert write_smiles(path, pool.smiles) == len(pool) == 72
    assert read_pool(path).smiles == pool.smiles
    assert [file.name for file in tmp_path.iterdir()] == ["pool.smi"]


@pytest.mark.parametrize("name", ["no/pool.smi", "file/pool.smi", ".", "folder"])
def test_a_file_that_cannot_be_written_leaves_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("folder").mkdir()
    with pytest.raises(ConfigError, match=r"cannot be written|is no file that can be replaced"):
        write_smiles(Path(name), ["CCCC"])
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


def test_a_stream_that_breaks_leaves_the_older_file(tmp_path: Path) -> None:
    path = written(tmp_path, "CCCC\n")
    with pytest.raises(DataError):
        write_smiles(path, (Pool.of([smiles]).smiles[0] for smiles in ("CC", "oops")))
    assert path.read_text() == "CCCC\n"
    assert [file.name for file in tmp_path.iterdir()] == ["pool.smi"]
