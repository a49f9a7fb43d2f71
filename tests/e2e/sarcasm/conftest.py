from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from tests.e2e.in_process import run_here
from tests.e2e.sarcasm.program import ENGLISH, KNOWN, UNSEEN, Done, Run, write

from modicum.cli import main


@pytest.fixture
def run(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The program in this process, which spares the seconds of its imports."""
    monkeypatch.chdir(place)

    def run(*arguments: str | Path, given: str = "") -> Done:
        monkeypatch.setattr(sys, "argv", ["modicum", "sarcasm", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given.encode()), encoding="utf-8"))
        with pytest.raises(SystemExit) as left:
            main.run()
        told = capsys.readouterr()
        return Done(int(left.value.code or 0), told.out, told.err)

    return run


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with texts, and the system that the first command made of them."""
    folder = tmp_path_factory.mktemp("sarcasm")
    write(folder / "train.csv", KNOWN)
    write(folder / "new.csv", UNSEEN, "text", "dialect")
    write(folder / "pairs.csv", [it for it in UNSEEN if it.rephrase], "text_0", "text_1")
    write(folder / "english.csv", ENGLISH[:60])
    done = run_here("sarcasm", "train", "train.csv", "--out", "model", "--folds", "2", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "told.json").write_text(done.stdout)
    (folder / "said.txt").write_text(done.stderr)
    return folder
