"""From a pool to predictions with the commands alone, labels by experiment; and what bad input is told."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.in_process import run_here

from modicum.molecules.data.published import experimental_labels
from modicum.molecules.data.table import read_table, write_table

pytestmark = pytest.mark.slow

Done = subprocess.CompletedProcess[str]


def run(*arguments: object, cwd: Path) -> Done:
    command = [sys.executable, "-m", "modicum", "molecules", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)


def here(*arguments: object, cwd: Path) -> Done:
    return run_here("molecules", *arguments, cwd=cwd)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool, a table of measured densities, and a selection of the pool."""
    place = tmp_path_factory.mktemp("molecules")
    labels = experimental_labels("density")
    write_table(place / "measured.csv", labels)
    (place / "pool.smi").write_text("\n".join(labels.molecules))
    done = here("select", "pool.smi", "--uncertainty", "0.7", "--out", "selected.csv", "--plot", "space.png", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "every molecule is below 0.7" in done.stderr
    return place


def test_a_selection_is_a_table_with_falling_deviations_and_a_picture(folder: Path) -> None:
    with (folder / "selected.csv").open() as file:
        rows = [*csv.DictReader(file)]
    deviations = [float(row["deviation"]) for row in rows[2:]]  # the first two are the random start
    assert 10 < len(rows) < 60
    assert deviations == sorted(deviations, reverse=True)
    assert deviations[-1] >= 0.7
    assert (folder / "space.png").read_bytes().startswith(b"\x89PNG")


def test_json_tells_the_certificate_and_the_cost(folder: Path) -> None:
    done = here("select", "pool.smi", "--uncertainty", "0.7", "--json", cwd=folder)
    found = json.loads(done.stdout)
    with (folder / "selected.csv").open() as file:
        assert [row["smiles"] for row in csv.DictReader(file)] == [row["smiles"] for row in found["molecules"]]
    assert found["certificate"]["holds"]
    assert 0 < found["certificate"]["largest_deviation"] < 0.7
    assert found["pool"] == 108
    assert found["seconds"] > 0
    assert found["memory_mib"] > 50


def test_labels_train_a_model_that_predicts_the_rest(folder: Path) -> None:
    labelled = here(
        "label", "selected.csv", "--labeller", "table", "--table", "measured.csv", "--out", "labels.csv", cwd=folder
    )
    assert labelled.returncode == 0, labelled.stderr
    assert "published table (measured.csv), not simulated" in labelled.stderr
    again = here(
        "label", "selected.csv", "--labeller", "table", "--table", "measured.csv", "--out", "again.csv", cwd=folder
    )
    assert (folder / "again.csv").read_bytes() == (folder / "labels.csv").read_bytes(), again.stderr
    trained = here("train", "labels.csv", "--out", "model", cwd=folder)
    assert trained.returncode == 0, trained.stderr

    everything = read_table(folder / "measured.csv", "density")
    rest = frozenset(everything.molecules) - frozenset(read_table(folder / "labels.csv", "density").molecules)
    write_table(folder / "rest.csv", everything.of(rest))
    judged = here(
        *("predict", "model", "--labels", "rest.csv", "--out", "judged.csv", "--json"),
        *("--parity", "parity.svg", "--calibration", "calibration.pdf"),
        cwd=folder,
    )
    assert judged.returncode == 0, judged.stderr
    found = json.loads(judged.stdout)
    assert found["R2"] > 0.5
    assert (found["trained on"], found["molecules"]) == (
        0,
        len(frozenset(read_table(folder / "rest.csv", "density").smiles)),
    )
    with (folder / "judged.csv").open() as file:
        truth = [float(row["density_label"]) for row in csv.DictReader(file)]
    assert truth == read_table(folder / "rest.csv", "density").value.tolist()
    assert found["rows"] == len(rest) == len(read_table(folder / "judged.csv", "density"))
    assert "<svg" in (folder / "parity.svg").read_text()
    assert (folder / "calibration.pdf").read_bytes().startswith(b"%PDF")

    predicted = here("predict", "model", "pool.smi", "-t", "298.15", "-t", "320", "--out", "all.csv", cwd=folder)
    assert predicted.returncode == 0, predicted.stderr
    table = read_table(folder / "all.csv", "density")
    assert len(table) == 2 * 108
    assert table.error is not None
    assert (table.error > 0).all()


def test_a_failed_molecule_is_left_out_and_others_take_its_place(folder: Path) -> None:
    with (folder / "selected.csv").open() as file:
        failed = [row["smiles"] for row in csv.DictReader(file)][2]
    (folder / "failed.smi").write_text(failed)
    done = here("select", "pool.smi", "--uncertainty", "0.7", "--failed", "failed.smi", "--json", cwd=folder)
    found = json.loads(done.stdout)
    assert failed not in [row["smiles"] for row in found["molecules"]]
    assert [row["smiles"] for row in found["certificate"]["failed"]] == [failed]
    assert found["certificate"]["holds"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("select", "broken.smi"), "broken.smi, row 2: 'C(C' is not a valid SMILES"),
        (("select", "twice.smi"), "row 2: 'C(C)CC' is the same molecule as row 1"),
        (("select", "salt.smi"), "row 1: 'CC.CC' is 2 molecules, not one"),
        (("select", "empty.smi"), "The pool empty.smi is empty"),
        (("select", "pool.smi", "--uncertainty", "2"), "in (0, 1], got 2"),
        (("select", "pool.smi", "--kernel", "measured.csv"), "measured.csv cannot be read"),
        (("select", "broken.smi", "--plot", "space.gif"), "A picture is a .png, .svg, .pdf file"),
        (("label", "pool.smi", "--labeller", "table", "--out", "x.csv"), "needs published values"),
        (("label", "pool.smi", "--labeller", "table", "--table", "broken.smi", "--out", "x.csv"), "has no column"),
        (("train", "measured.csv", "--quantity", "hvap", "--out", "x"), "measured.csv has no column 'hvap'"),
        (("predict", "nothing", "pool.smi", "--out", "x.csv"), "There is no model in nothing"),
        (("predict", "nothing", "--out", "x.csv"), "Give either a pool or --labels"),
        (("predict", "nothing", "pool.smi", "--out", "x.csv", "--parity", "x.png"), "needs labels"),
        (("predict", "nothing", "--labels", "measured.csv", "--out", "x.csv", "--parity", "x.gif"), "A picture is"),
        (("train", "measured.csv", "--out", "old"), "--out old is there already and not an empty folder"),
        (("predict", "old", "pool.smi", "--out", "x.csv"), "old holds two models, gp.npz and dmpnn.pt"),
        (("predict", "old", "pool.smi", "--out", "x.csv", "-t", "nan"), "at most 5000 K, got nan"),
        (
            ("predict", "old", "--labels", "measured.csv", "--out", "x.csv", "-t", "300"),
            "-t and --skip-invalid are for",
        ),
        (("predict", "old", "pool.smi", "--out", "pool.smi"), "--out pool.smi is a file that is read"),
        (("predict", "old", "pool.smi", "--out", "old/x.csv"), "--out old/x.csv is in old, a folder that is read"),
        (("label", "pool.smi", "--out", "x.csv", "-t", "inf"), "at most 5000 K, got inf"),
        (("label", "pool.smi", "--table", "measured.csv", "--out", "x.csv"), "options of --labeller table"),
        (
            ("label", "pool.smi", "--labeller", "table", "--table", "measured.csv", "--ns", "1", "--out", "x.csv"),
            "--ns is an option of --labeller openmm",
        ),
        (("select", "pool.smi", "--to", "9"), "--from and --to are sizes of alkanes"),
        (("select", "pool.smi", "--out", "no/x.csv"), "no/x.csv cannot be written"),
        (("select", "pool.smi", "--device", "gpu"), "torch cannot use the device 'gpu'"),
        (("train", "measured.csv", "--out", "x", "--device", "cuda:77"), "torch cannot use the device 'cuda:77'"),
        (("train", "measured.csv", "--out", "x", "--smiles-col", "structure"), "has no column 'structure'"),
        (("train", "measured.csv", "--out", "x", "--unit", "g/mL"), "density is in kg/m3"),
        (("train", "measured.csv", "--out", "x", "--epochs", "5"), "--epochs is an option of --predictor dmpnn"),
        (("train", "measured.csv", "--out", "x", "--calibrate", "measured.csv"), "108 of the 108 molecules of --cal"),
    ],
)
def test_bad_input_is_told_with_its_place_and_status_2(arguments: tuple[str, ...], message: str, folder: Path) -> None:
    refused(here, arguments, message, folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("select", "broken.smi"), "broken.smi, row 2: 'C(C' is not a valid SMILES"),
        (("predict", "nothing", "pool.smi", "--out", "x.csv"), "There is no model in nothing"),
    ],
)
def test_a_process_of_its_own_tells_the_same(arguments: tuple[str, ...], message: str, folder: Path) -> None:
    refused(run, arguments, message, folder)


HEAVY = """
import sys
sys.modules.update(dict.fromkeys(("torch", "scipy", "sklearn", "numba", "chemprop", "openmm")))  # an import raises
from modicum.cli.main import run
run()
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ("select", "pool.smi", "--kernel", "measured.csv"),
        ("label", "broken.smi", "--out", "x.csv"),
        ("train", "measured.csv", "--property", "colour", "--out", "x"),
        ("predict", "nothing", "pool.smi", "--out", "x.csv"),
    ],
)
def test_a_wrong_argument_is_refused_before_the_heavy_imports(arguments: tuple[str, ...], folder: Path) -> None:
    def light(*arguments: object, cwd: Path) -> Done:
        command = [sys.executable, "-c", HEAVY, "molecules", *map(str, arguments)]
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)

    refused(light, arguments, "", folder)


def test_a_property_of_ones_own_is_learnt_and_ids_are_kept(folder: Path) -> None:
    boiling = ["id,structure,tb", "a,CCCC,272.7", "b,C(C)CCC,309.2", "c,CCCCCC,341.9", "d,CCN.Cl,289.8"]
    (folder / "boiling.csv").write_text("\n".join(boiling))
    reading = ("--smiles-col", "structure", "--strip-salts")
    done = here(
        "train", "boiling.csv", "--property", "tb", "--unit", "K", *reading, "--out", "tb", "--json", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    told = {"predictor": "gp", "quantity": "tb", "unit": "K", "molecules": 4, "rows": 4, "factor": None, "folder": "tb"}
    assert json.loads(done.stdout) == told
    assert "tb is a property without temperature" in done.stderr
    done = here("predict", "tb", "boiling.csv", *reading, "--out", "tb.csv", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["unit"] == "K"
    with (folder / "tb.csv").open() as file:
        rows = [*csv.DictReader(file)]
    assert [*rows[0]] == ["smiles", "tb", "tb_error", "id"]
    assert [(row["smiles"], row["id"]) for row in rows[1::2]] == [("C(C)CCC", "b"), ("CCN", "d")]
    assert float(rows[0]["tb"]) == pytest.approx(272.7, abs=3)
    done = here("predict", "tb", "--labels", "boiling.csv", *reading, "--out", "own.csv", "--json", cwd=folder)
    assert json.loads(done.stdout)["trained on"] == 4
    assert "The model was trained on 4 of the 4 molecules that judge it." in done.stderr
    (folder / "library.csv").write_text("id,structure\na,CCCC\n")
    asked = ("predict", "tb", "--labels", "library.csv", *reading, "--out", "x.csv")
    refused(here, asked, "library.csv has no column 'tb', its header is id, structure.\n  Give a file with", folder)
    refused(here, ("predict", "tb", "boiling.csv", *reading, "--out", "x.csv", "-t", "300"), "Leave -t out", folder)


def test_a_selection_leaves_out_what_label_wrote_as_failed(folder: Path) -> None:
    (folder / "named.csv").write_text("id,smiles\n1,C(C)CC\n2,C(CC)CC\n3,C(CC)CCC\n")
    (folder / "one.csv").write_text("smiles,tb\nCCCCC,309.2\nCCCC,272.7\n")
    look_up = ("--labeller", "table", "--table", "one.csv", "--property", "tb")
    done = here("label", "named.csv", *look_up, "--out", "found.csv", "--failed", "failed.csv", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "found.csv").read_text() == "smiles,tb,id\nCCCC,272.7,1\nCCCCC,309.2,2\n"
    with (folder / "failed.csv").open() as file:
        assert [(row["smiles"], row["id"]) for row in csv.DictReader(file)] == [("CCCCCC", "3")]
    done = here("select", "named.csv", "--failed", "failed.csv", "--start", "maxvar", "--json", cwd=folder)
    assert [row["smiles"] for row in json.loads(done.stdout)["certificate"]["failed"]] == ["C(CC)CCC"], done.stderr

    (folder / "structures.csv").write_text("Structure\nCCCC\nCCCCC\nCCCCCC\n")
    (folder / "own.csv").write_text("Structure\nC(CC)CCC\n")
    for file in ("failed.csv", "own.csv"):  # label writes the column smiles, the user may have another
        asked = ("structures.csv", "--smiles-col", "Structure", "--failed", file, "--uncertainty", "0.1")
        done = here("select", *asked, "--json", cwd=folder)
        [failed] = json.loads(done.stdout)["certificate"]["failed"]
        assert failed["smiles"] == "CCCCCC"
        assert failed["deviation"] > 0.1
        assert "every molecule that did not fail is below 0.1" in done.stderr
        assert f"1 failed molecule stays above it, up to {failed['deviation']:.4f}." in done.stderr
    (folder / "own.csv").write_text("smiles\nCCCCCC\nCCCCCCCCC\n")
    refused(here, ("select", "named.csv", "--failed", "own.csv"), "own.csv, row 3: 'CCCCCCCCC' is no molecule", folder)


def refused(run: Callable[..., Done], arguments: tuple[str, ...], message: str, folder: Path) -> None:
    for name, text in {"broken": "CCCC\nC(C\n", "twice": "CCCC\nC(C)CC\n", "salt": "CC.CC\n", "empty": "\n"}.items():
        (folder / f"{name}.smi").write_text(text)
    (folder / "old").mkdir(exist_ok=True)
    for name in ("gp.npz", "dmpnn.pt"):
        (folder / "old" / name).touch()
    before = {*folder.iterdir()}
    done = run(*arguments, cwd=folder)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert {*folder.iterdir()} - before <= {folder / "x.csv.journal"}


def test_invalid_rows_are_kept_out_on_request_and_told(folder: Path) -> None:
    (folder / "mixed.smi").write_text("CCCC\nC(C\nCC(C)C\nCCCCC\n")
    done = here("select", "mixed.smi", "--skip-invalid", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["pool"] == 3
    assert "mixed.smi, row 2: 'C(C' is not a valid SMILES; left out." in done.stderr
