"""The commands on molecules as a user meets them."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from tests.e2e.in_process import run_here

ENUMERATE = [sys.executable, "-m", "modicum", "molecules", "enumerate"]


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return run_here("molecules", "enumerate", *arguments, cwd=cwd)


def test_alkanes_are_listed_one_a_line(tmp_path: Path) -> None:
    done = run("--from", "4", "--to", "5", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "C(C)(C)C\nC(CC)C\nC(C)(C)(C)C\nC(C)(C)CC\nC(CC)CC\n"


def test_a_file_holds_what_stdout_would(tmp_path: Path) -> None:
    to_file = run("--to", "9", "--out", "pool.smi", "--json", cwd=tmp_path)
    assert to_file.returncode == 0, to_file.stderr
    assert json.loads(to_file.stdout) == {
        "counts": {"4": 2, "5": 3, "6": 5, "7": 9, "8": 18, "9": 35},
        "molecules": 72,
    }
    assert to_file.stderr == "72 molecules: pool.smi\n"
    assert (tmp_path / "pool.smi").read_text() == run("--to", "9", cwd=tmp_path).stdout
    assert json.loads(run("--json", cwd=tmp_path).stdout)["molecules"] == 251_728


def test_a_reader_that_has_enough_ends_it_in_silence(tmp_path: Path) -> None:
    with subprocess.Popen(
        ENUMERATE, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as listing:
        assert listing.stdout is not None
        assert listing.stderr is not None
        assert listing.stdout.readline() == "C(C)(C)C\n"
        listing.stdout.close()
        assert listing.stderr.read() == ""
    assert listing.returncode == 0


def test_a_shell_pipe_into_head_succeeds(tmp_path: Path) -> None:
    command = f"set -o pipefail; '{sys.executable}' -m modicum molecules enumerate | head -n 2"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "C(C)(C)C\nC(CC)C\n", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_stdout_is_said(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(ENUMERATE, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("modicum: The molecules cannot be written to stdout (No space left on device).")
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_disk_that_fills_up_leaves_nothing_behind(tmp_path: Path) -> None:
    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # bytes of a file, as a full disk would end it

    done = subprocess.run(
        [*ENUMERATE, "--out", "pool.smi"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=small_disk,
    )
    assert done.returncode == 2
    assert "modicum: pool.smi cannot be written (File too large)." in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--from", "6", "--to", "5"], "Sizes must run from at least 1 carbon upwards, got 6 to 5."),
        (["--to", "31"], "up to 30 carbons, got 31; C31 alone has 10,660,307,791 isomers"),
        (["--to", "many"], "Invalid value for '--to'"),
        (["--out", "nowhere/pool.smi"], "nowhere/pool.smi cannot be written"),
    ],
)
def test_nonsense_says_what_and_how_to_mend_it(arguments: list[str], words: str, tmp_path: Path) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not list(tmp_path.iterdir())
