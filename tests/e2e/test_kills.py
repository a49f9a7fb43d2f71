"""Kills between finished jobs and while files are written: nothing half-written is taken for the entire thing."""

from __future__ import annotations

import csv
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.e2e.killing import Ended, Program
from tests.e2e.sarcasm.program import ARABIC, ENGLISH, write
from tests.unit.fusion.made_up import recordings
from transformers import ResNetConfig, ResNetForImageClassification

from modicum.core.report import load
from modicum.fusion import save_recordings
from modicum.molecules.data.published import experimental_labels
from modicum.molecules.data.table import write_table

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("MODICUM_KILLS", "10"))

FAST = ("--epochs", "1", "--channels", "8", "--encoder", "linear", "--batch", "16", "--seeds", "1")
LEAST = ("-o", "epochs=1", "-o", "trials=2", "-o", "scales=1", "-o", "gains=1")
# Of each command all but its --out; what it reads lies one folder up.
COMMANDS = {
    "fusion train": ("../classes.npz", *FAST),
    "fusion convert": ("../classes.npz",),
    "sarcasm train": ("../texts.csv", "--folds", "2"),
    "molecules train": ("../measured.csv",),
    "molecules select": ("../pool.smi", "--uncertainty", "0.7", "--plot", "space.svg"),
    "quantize run": ("../network", "--calibration", "../images.npy", "--weights", "2"),
    "compare": ("nsgd", "--data", "../table.csv", "--seeds", "2", "--engine", "inline", *LEAST),
    "molecules label": ("../pool.smi", "--labeller", "table", "--table", "../measured.csv"),
}
ENDINGS = {
    "molecules label": ".csv",
    "fusion convert": ".npz",
    "molecules select": ".csv",
    "quantize run": ".safetensors",
}
RESUMED = {"compare", "molecules label"}  # what is finished is kept


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    """One process that has imported the program."""
    started = Program()
    yield started
    started.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the commands read."""
    folder = tmp_path_factory.mktemp("kills")
    save_recordings(folder / "classes.npz", {"train": recordings(32, classes=2), "test": recordings(9, classes=2)})
    write(folder / "texts.csv", [*ENGLISH[:30], *ARABIC[:30]])
    labels = experimental_labels("density")
    some = labels.of(frozenset(sorted(set(labels.molecules))[:30]))
    write_table(folder / "measured.csv", some)
    (folder / "pool.smi").write_text("\n".join(sorted(set(some.molecules))))
    drawn = np.random.default_rng(0)
    sizes = ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # noqa: TID251 - forked
        ResNetForImageClassification(sizes).save_pretrained(folder / "network")
    np.save(folder / "images.npy", drawn.normal(size=(8, 3, 16, 16)).astype(np.float32))
    with (folder / "table.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["a", "b", "c", "label"])
        rows.writerows([*drawn.normal(size=3), k % 3] for k in range(60))
    return folder


def contents(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else sorted(it for it in path.rglob("*") if it.is_file())
    return {str(it.relative_to(path)): it.read_bytes() for it in files}


def kills(program: Program, command: list[str], cwd: Path, whole: Ended) -> Iterator[bool]:
    """Kill a command half of the times at writes and half after times, spread over the run; yield if it was in time."""
    for k in range(KILLS):
        share = (k // 2 + 0.5) / (KILLS / 2)
        when: dict[str, Any] = {"after": share * whole.seconds} if k % 2 else {"write": 1 + int(share * whole.writes)}
        ended = program.kill(*command, cwd=cwd, **when)
        assert ended.status in (0, -signal.SIGKILL), ended.said
        yield ended.status != 0


def begun(command: str, program: Program, place: Path, tmp_path: Path) -> tuple[Path, Path, list[str], Ended]:
    """Run a command to its end; what it made, where the killed ones shall make it, its line and what it took."""
    for path in place.iterdir():
        (tmp_path / path.name).symlink_to(path)
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    out = "made" + ENDINGS.get(command, "")
    line = [*command.split(), *COMMANDS[command], "--out", out]
    ended = program.run(*line, cwd=tmp_path / "whole")
    assert ended.status == 0, ended.said
    return tmp_path / "whole" / out, tmp_path / "killed" / out, line, ended


@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - RESUMED))
def test_a_killed_command_leaves_all_or_nothing(command: str, program: Program, place: Path, tmp_path: Path) -> None:
    whole, target, line, ended = begun(command, program, place, tmp_path)
    died = 0
    for killed in kills(program, line, target.parent, ended):
        died += killed
        if target.exists():
            assert contents(target) == contents(whole)
            shutil.rmtree(target) if target.is_dir() else target.unlink()
    assert died > KILLS / 4
    ended = program.run(*line, cwd=target.parent)  # among what the killed ones left
    assert ended.status == 0, ended.said
    assert contents(target) == contents(whole)


def results(out: Path) -> Any:
    """All of a table, and of a comparison what does not measure time."""
    if out.is_file():
        return out.read_bytes()
    (report,) = load(out / "report.json")
    return [arm.values for arm in report.arms], report.differences, report.verdicts


@pytest.mark.parametrize("command", sorted(RESUMED))
def test_a_killed_run_goes_on_to_the_same_results(command: str, program: Program, place: Path, tmp_path: Path) -> None:
    whole, target, line, ended = begun(command, program, place, tmp_path)
    died = 0
    for killed in kills(program, line, target.parent, ended):  # each goes on from where the last was killed
        died += killed
        if (target / "report.json" if command == "compare" else target).exists():
            assert results(target) == results(whole)
            shutil.rmtree(target.parent)
            target.parent.mkdir()
    assert died > KILLS / 4
    ended = program.run(*line, cwd=target.parent)
    assert ended.status == 0, ended.said
    assert results(target) == results(whole)
