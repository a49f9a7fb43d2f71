from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modicum.errors import ConfigError, DataError
from modicum.molecules.data.table import Property, PropertyTable, read_table, write_table


def density(*rows: tuple[str, float, float], error: tuple[float, ...] | None = None) -> PropertyTable:
    smiles, temperature, value = zip(*rows, strict=True)
    return PropertyTable(
        quantity="density",
        smiles=smiles,
        temperature=np.array(temperature),
        value=np.array(value),
        error=None if error is None else np.array(error),
    )


def test_what_is_written_is_read_back_to_the_last_bit(tmp_path: Path) -> None:
    first = density(("CCCC", 300.0, 1 / 3), ("CCCC", 310.5, 2e-7), error=(0.1, 0.7))
    second = PropertyTable(
        quantity="hvap", smiles=("CCCC", "CC(C)C"), temperature=np.array([300.0, 280.0]), value=np.array([21.0, 19.5])
    )
    write_table(tmp_path / "labels.csv", first, second)
    again = read_table(tmp_path / "labels.csv", "density")
    assert again.smiles == first.smiles
    np.testing.assert_array_equal(again.value, first.value)
    np.testing.assert_array_equal(again.error, first.error)
    hvap = read_table(tmp_path / "labels.csv", "hvap")
    assert hvap.smiles == second.smiles
    assert hvap.error is None
    assert [path.name for path in tmp_path.iterdir()] == ["labels.csv"]


def test_rows_are_kept_by_molecule_never_by_row() -> None:
    table = density(("CCCC", 300.0, 1.0), ("CCC", 300.0, 2.0), ("CCCC", 320.0, 3.0))
    assert table.molecules == ("CCCC", "CCC")
    kept = table.of(frozenset({"CCCC"}))
    assert kept.smiles == ("CCCC", "CCCC")
    np.testing.assert_array_equal(kept.value, [1.0, 3.0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("smiles,density\nCC,1\n", "has no column 'T'"),
        ("smiles,T,density\nCC,300,much\n", r"labels.csv, row 2: density must be a number above 0, got 'much'"),
        ("smiles,T,density\nCC,300,nan\n", r"row 2: density must be a number"),
        ("smiles,T,density\nCC,300,1,2\n", r"row 2: expected 3 fields, got 4: CC, 300, 1, 2"),
        ("smiles,T,density\n,300,1\n", r"row 2: the SMILES is empty, got , 300, 1"),
        ("smiles,T,density\n", "holds no value of density"),
        ("", "has no column 'smiles'"),
    ],
)
def test_a_broken_table_is_named_with_its_row(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_table(path, "density")


def test_a_missing_or_binary_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_table(tmp_path / "nothing.csv", "density")
    (tmp_path / "binary.csv").write_bytes(b"smiles\n\x80\x01")
    with pytest.raises(DataError, match="line 2 is not UTF-8"):
        read_table(tmp_path / "binary.csv", "density")


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ConfigError, match="must have its 1 rows"):
        PropertyTable(quantity="density", smiles=("CC",), temperature=np.zeros(2), value=np.zeros(1))
    with pytest.raises(ConfigError, match="must be above 0 and at most 5000 K, got nan"):
        PropertyTable(quantity="density", smiles=("CC", "CC"), temperature=np.array([300.0, np.nan]), value=np.ones(2))
    with pytest.raises(ConfigError, match="density is in kg/m3 and belongs to a temperature, got the unit 'g/mL'"):
        PropertyTable(quantity="density", smiles=("CC",), temperature=np.ones(1), value=np.ones(1), unit="g/mL")


def test_all_bad_rows_of_a_table_are_named_at_once(tmp_path: Path) -> None:
    rows = ["CC,-5,1", "CC,300,1", "CC,0,1", "CC,1e9,1", "CC,300,-1", "C(C,300,much", "CC.[Na+],300,1"]
    (tmp_path / "labels.csv").write_text("smiles,T,density\n" + "\n".join(rows))
    with pytest.raises(DataError) as error:
        read_table(tmp_path / "labels.csv", "density")
    assert error.value.what.split("\n  ") == [
        f"{tmp_path / 'labels.csv'} has 6 bad rows:",
        "row 2: T must be a temperature in K, above 0 and at most 5000, got '-5'",
        "row 4: T must be a temperature in K, above 0 and at most 5000, got '0'",
        "row 5: T must be a temperature in K, above 0 and at most 5000, got '1e9'",
        "row 6: density must be a number above 0, got '-1'",
        "row 7: 'C(C' is not a valid SMILES; density must be a number above 0, got 'much'",
        "row 8: 'CC.[Na+]' is 2 molecules, not one.",
    ]
    assert "--strip-salts" in error.value.hint


def test_a_property_of_ones_own_needs_no_temperature_and_keeps_the_other_columns(tmp_path: Path) -> None:
    path = tmp_path / "boiling.csv"
    path.write_text("id,Structure,tb\nA1,CCCC,-0.5\nA2,CC[NH3+].[Cl-],16.6\nA3,CCC,\n")
    table = read_table(path, Property("tb", "degC", temperature=False), smiles_column="Structure", strip_salts=True)
    assert table.property == Property("tb", "degC", temperature=False)
    assert table.smiles == ("CCCC", "CC[NH3+]")
    assert table.value.tolist() == [-0.5, 16.6]
    assert table.columns == {"id": ("A1", "A2")}
    write_table(tmp_path / "again.csv", table)
    assert (tmp_path / "again.csv").read_text() == "smiles,tb,id\nCCCC,-0.5,A1\nCC[NH3+],16.6,A2\n"
    assert not read_table(tmp_path / "again.csv", "tb").property.temperature
    with pytest.raises(DataError, match="has no column 'Name', its header is id, Structure, tb"):
        read_table(path, "tb", smiles_column="Name")


@pytest.mark.parametrize("separator", [";", "\t"])
def test_semicolons_and_tabs_separate_cells_too(separator: str, tmp_path: Path) -> None:
    rows = ["id,smiles,tb", "A1,CCCC,272.7", "A2,CCCCC,309.2"]
    (tmp_path / "labels.csv").write_text("\n".join(rows).replace(",", separator))
    table = read_table(tmp_path / "labels.csv", "tb")
    assert table.smiles == ("CCCC", "CCCCC")
    assert table.value.tolist() == [272.7, 309.2]
    assert table.columns == {"id": ("A1", "A2")}


def test_a_table_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        write_table(tmp_path / "no" / "labels.csv", density(("CC", 300.0, 1.0)))
    assert not list(tmp_path.iterdir())
