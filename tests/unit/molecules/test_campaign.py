"""Campaigns with a labeller that is quick: boiling points of alkanes by a formula, and molecules that it refuses."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modicum.core.engine import Engine, LocalEngine, open_engine
from modicum.core.journal import FILE_NAME, Journal
from modicum.errors import ConfigError, DataError, JobFailedError, JournalError, SimulationError
from modicum.molecules.campaign import Campaign, explore, label_molecules
from modicum.molecules.data.alkanes import enumerate_alkanes
from modicum.molecules.data.labels import Label, StatePoint, TableLabeller
from modicum.molecules.data.smiles import canonical
from modicum.molecules.data.table import PropertyTable
from modicum.molecules.kernel.marginalized import MarginalizedGraphKernel
from modicum.molecules.select.learner import ActiveLearner
from modicum.molecules.select.posterior import posterior_deviation

pytestmark = pytest.mark.slow  # all of them together

POOL = ("CCCC", "CC(C)C", "CCCCC", "CCC(C)C", "CC(C)(C)C", "CCCCCC")


@dataclass
class Formula:
    """Labels a molecule by its size, leaves a mark each time it works, and refuses neopentane."""

    folder: Path
    factor: float = 5.0
    seconds: float = 0.0
    fault: str = ""
    text: str = ""
    name: str = "formula"

    def settings(self) -> dict[str, Any]:
        return {"factor": self.factor}

    def label(self, smiles: str) -> Label:
        with (self.folder / "runs").open("a") as runs:
            runs.write(f"{smiles}\n")
        time.sleep(self.seconds)
        if smiles == "CC(C)(C)C" and not (self.folder / "thawed").exists():
            raise SimulationError("froze: at 280 K.", hint="Ask for higher temperatures.")
        if smiles == self.fault:
            if self.text == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.text == "input":
                raise ConfigError("there is no platform 'CUDA'.", hint="Use CPU.")
            raise ZeroDivisionError(self.text)
        value = self.factor * smiles.count("C")
        return Label(points=(StatePoint(temperature=300.0, hvap=value),), missing={"note": self.text}, seconds=0.0)


def run(
    labeller: Formula, *, smiles: Sequence[str] = POOL, engine: Engine | None = None, retry_failed: bool = False
) -> Campaign:
    folder = labeller.folder / "out"
    if engine is not None:
        return label_molecules(smiles, labeller, engine=engine, folder=folder, retry_failed=retry_failed)
    with open_engine("inline") as inline:
        return label_molecules(smiles, labeller, engine=inline, folder=folder, retry_failed=retry_failed)


@pytest.fixture(scope="module")
def processes() -> Iterator[Engine]:
    with open_engine("local", workers=2) as engine:
        yield engine


def runs(folder: Path) -> list[str]:
    return (folder / "runs").read_text().split()


@pytest.mark.parametrize("name", ["inline", "local", "dask"])
def test_a_campaign_labels_what_it_can_and_says_why_the_rest_failed(
    name: str, tmp_path: Path, processes: Engine
) -> None:
    if name == "dask":
        pytest.importorskip("distributed", reason="needs the extra cluster")
    with nullcontext(processes) if name == "local" else open_engine(name, workers=1) as engine:
        campaign = run(Formula(tmp_path), engine=engine)
    assert list(campaign.labels) == [smiles for smiles in POOL if smiles != "CC(C)(C)C"]
    assert campaign.failures == {"CC(C)(C)C": "froze: at 280 K."}
    table = campaign.tables()["hvap"]
    assert dict(zip(table.smiles, table.value, strict=True))["CCC(C)C"] == 25.0
    assert sorted(runs(tmp_path)) == sorted(POOL)


def test_finished_and_failed_molecules_are_not_run_again(tmp_path: Path) -> None:
    first = run(Formula(tmp_path))
    again = run(Formula(tmp_path), smiles=[*POOL, "C(C)(C)C", "CCCCCCC"])
    assert runs(tmp_path) == [*POOL, "CCCCCCC"]  # isobutane in another spelling is no new molecule
    assert again.failures == first.failures
    assert again.labels.items() > first.labels.items()


def test_another_setting_is_another_job(tmp_path: Path) -> None:
    run(Formula(tmp_path), smiles=["CCCC"])
    other = run(Formula(tmp_path, factor=7.0), smiles=["CCCC"])
    assert other.labels["CCCC"].points[0].hvap == 28.0
    assert runs(tmp_path) == ["CCCC", "CCCC"]


def test_failures_are_tried_again_when_asked(tmp_path: Path) -> None:
    run(Formula(tmp_path))
    assert run(Formula(tmp_path), retry_failed=True).failures  # fails once more, and is recorded once more
    (tmp_path / "thawed").touch()
    assert run(Formula(tmp_path)).failures
    assert not run(Formula(tmp_path), retry_failed=True).failures
    assert "CC(C)(C)C" in run(Formula(tmp_path)).labels
    assert runs(tmp_path) == [*POOL, "CC(C)(C)C", "CC(C)(C)C"]


def test_progress_counts_and_names(tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    with open_engine("inline") as engine:
        for _ in range(2):
            label_molecules(
                ["CCCC", "CC(C)(C)C"],
                Formula(tmp_path),
                engine=engine,
                folder=tmp_path / "out",
                progress=lambda *now: told.append(now),
            )
    assert told == [(0, 2, ""), (1, 2, "CCCC"), (2, 2, "CC(C)(C)C: froze: at 280 K."), (2, 2, "from the journal")]


def test_a_molecule_that_kills_its_worker_is_a_failure_and_the_others_go_on(tmp_path: Path) -> None:
    with LocalEngine(workers=1, retries=0) as engine:
        campaign = run(Formula(tmp_path, fault="CCCCC", text="kill"), engine=engine)
    assert "worker process died" in campaign.failures["CCCCC"]
    assert list(campaign.labels) == ["CCCC", "CC(C)C", "CCC(C)C", "CCCCCC"]


def test_a_fault_in_the_labeller_is_no_property_of_the_molecule(tmp_path: Path, processes: Engine) -> None:
    with pytest.raises(
        JobFailedError, match=r"1 of 6 molecules stopped on a fault; .*CCCCC\).*ZeroDivisionError: oops"
    ):
        run(Formula(tmp_path, fault="CCCCC", text="oops"), engine=processes)
    with Journal(tmp_path / "out") as journal:
        assert len(journal) == 5
    assert "CCCCC" in run(Formula(tmp_path)).labels  # mended


def test_a_wrong_setting_stops_the_campaign_as_itself(tmp_path: Path, processes: Engine) -> None:
    with pytest.raises(ConfigError, match="there is no platform 'CUDA'"):
        run(Formula(tmp_path, fault="CCCC", text="input"), engine=processes)


def test_a_broken_smiles_stops_it_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Molecule 2 of the request: RDKit cannot read the SMILES 'CC\('"):
        run(Formula(tmp_path), smiles=["CCCC", "CC("])
    assert not (tmp_path / "runs").exists()


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.unit.molecules import test_campaign as shared

shared.run(shared.Formula(Path(sys.argv[1]), seconds=0.3))
"""


def test_a_killed_campaign_goes_on_where_it_stopped(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(Path(__file__).parents[3])]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as killed:
        deadline = time.monotonic() + 120
        while recorded(tmp_path / "out") < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        killed.kill()
    with Journal(tmp_path / "out") as journal:  # takes a row back that was not committed
        kept, before = len(journal), runs(tmp_path)
    assert 1 <= kept < 6
    campaign = run(Formula(tmp_path))
    assert set(campaign.labels) == set(POOL) - {"CC(C)(C)C"}
    assert list(campaign.failures) == ["CC(C)(C)C"]
    assert len(runs(tmp_path)) - len(before) == 6 - kept  # only what was missing


def recorded(folder: Path) -> int:
    if not (folder / FILE_NAME).exists():
        return 0
    # Without asking for the lock, which the campaign holds as long as it lives.
    with closing(sqlite3.connect(f"{(folder / FILE_NAME).as_uri()}?immutable=1", uri=True)) as journal:
        try:
            return journal.execute("SELECT count(*) FROM jobs").fetchone()[0]
        except sqlite3.DatabaseError:  # caught in the middle of a row
            return 0


@contextmanager
def small_files(size: int) -> Iterator[None]:
    """Let no file grow beyond a size: what a full disk is to SQLite, a write that fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_said_and_what_was_finished_is_kept(tmp_path: Path) -> None:
    with small_files(200_000), pytest.raises(JournalError) as caught:
        run(Formula(tmp_path, text="x" * 45_000))
    kept = recorded(tmp_path / "out")
    assert 1 <= kept < 6
    said = str(caught.value)
    assert f"{FILE_NAME} cannot be written (" in said
    assert "Make room on that disk and run the same again: the finished jobs before it are kept." in said
    before = len(runs(tmp_path))
    assert len(run(Formula(tmp_path, text="x" * 45_000)).labels) == 5
    assert len(runs(tmp_path)) - before == 6 - kept


def test_a_damaged_journal_is_not_called_a_full_disk(tmp_path: Path) -> None:
    run(Formula(tmp_path), smiles=["CCCC"])
    (tmp_path / "out" / FILE_NAME).write_bytes(b"")
    with pytest.raises(JournalError, match="is empty"):
        run(Formula(tmp_path))


@dataclass
class InOrder:
    """Asks for a pool from left to right, until a number of molecules has labels."""

    wanted: int
    chosen: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)

    @property
    def picks(self) -> Sequence[int]:
        return tuple(self.chosen)

    def propose(self, count: int, /, *, stop_uncertainty: float | None = None) -> Sequence[int]:
        assert stop_uncertainty is not None
        lacking = self.wanted - len(set(self.chosen) - set(self.failed))
        first = len(self.chosen)
        picks = list(range(first, min(first + min(count, lacking), len(POOL))))
        self.chosen += picks
        return picks

    def fail(self, index: int, /) -> None:
        self.failed.append(index)

    def smiles(self, index: int, /) -> str:
        return POOL[index]


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_exploration_goes_on_without_the_failed(batch: int, tmp_path: Path) -> None:
    learner = InOrder(wanted=5)
    with open_engine("inline") as engine:
        campaign = explore(learner, Formula(tmp_path), engine=engine, folder=tmp_path / "out", batch=batch)
    assert learner.failed == [4]  # neopentane
    assert list(campaign.labels) == [POOL[index] for index in (0, 1, 2, 3, 5)]
    assert list(campaign.failures) == ["CC(C)(C)C"]
    assert runs(tmp_path) == list(POOL)


def test_exploration_starts_again_from_its_journal(tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []

    def once(engine: Engine) -> Campaign:
        return explore(
            InOrder(wanted=5),
            Formula(tmp_path),
            engine=engine,
            folder=tmp_path / "out",
            batch=3,
            progress=lambda *now: told.append(now),
        )

    with open_engine("inline") as engine:
        assert once(engine) == once(engine)
    assert runs(tmp_path) == list(POOL)
    assert told[-1] == (6, 6, "from the journal")


def test_exploration_with_a_table_skips_what_the_table_lacks(tmp_path: Path) -> None:
    table = PropertyTable(quantity="hvap", smiles=("CCCC", "CCCCC"), temperature=np.full(2, 300.0), value=np.ones(2))
    learner = InOrder(wanted=5)
    with open_engine("inline") as engine:
        campaign = explore(
            learner, TableLabeller([table], source="here"), engine=engine, folder=tmp_path / "out", batch=2
        )
    assert list(campaign.labels) == ["CCCC", "CCCCC"]
    assert "CCCCCC is not in the published table (here)." in campaign.failures["CCCCCC"]
    assert learner.failed == [1, 3, 4, 5]


def test_active_learning_labels_its_start_and_goes_on_until_all_is_covered(tmp_path: Path) -> None:
    pool = [*enumerate_alkanes(4, 7)]
    learner = ActiveLearner(MarginalizedGraphKernel.published(), pool, start=[0, 5])
    with open_engine("inline") as engine:
        campaign = explore(
            learner, Formula(tmp_path), engine=engine, folder=tmp_path / "out", batch=3, stop_uncertainty=0.6
        )
    assert "CC(C)(C)C" in campaign.failures
    assert {canonical(pool[index]) for index in learner.picks} == set(campaign.labels)
    assert canonical(pool[0]) in campaign.labels
    deviation = posterior_deviation(
        MarginalizedGraphKernel.published(), [*campaign.labels], [name for name in pool if name != "C(C)(C)(C)C"]
    )
    assert deviation.max() < 0.6
    assert learner.certificate(0.6).holds


def test_a_batch_of_none_is_refused(tmp_path: Path) -> None:
    with open_engine("inline") as engine, pytest.raises(ConfigError, match="batch must be at least 1, got 0"):
        explore(InOrder(wanted=1), Formula(tmp_path), engine=engine, folder=tmp_path, batch=0)
