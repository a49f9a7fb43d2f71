from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from modicum.core import engine as engines
from modicum.core.engine import Engine, Finished, open_engine
from modicum.errors import ConfigError, JobFailedError, WorkerDiedError

pytestmark = pytest.mark.slow  # all of them together


def square(number: int) -> int:
    return number * number


def process(_: int) -> int:
    return os.getpid()


def process_and_threads(met: Path) -> tuple[int, int]:
    """Wait for another process that does the same: the first to start would do all else."""
    (met / str(os.getpid())).touch()
    deadline = time.monotonic() + 60
    while len(list(met.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    import torch

    return os.getpid(), torch.get_num_threads()


def fail_on_two(number: int) -> int:
    if number == 2:
        raise ValueError("two is not allowed")
    return number


class RefusedError(Exception):
    def __init__(self, what: str, *, response: int) -> None:
        super().__init__(f"{what} {response}")


def refuse_two(number: int) -> int:
    if number == 2:
        raise RefusedError("the server said", response=404)
    return number


def die_once(task: tuple[int, Path]) -> int:
    number, marker = task
    if number == 1 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return number


def die_on_one(number: int) -> int:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.3)
    return number


def values(ends: list[Finished[int]]) -> dict[int, int | None]:
    return {end.index: end.value for end in ends if end.error is None}


@pytest.fixture(scope="module")
def opened() -> Iterator[Callable[[str], Engine]]:
    """Open an engine of two workers by name, once."""
    engines: dict[str, Engine] = {}
    with ExitStack() as stack:

        def get(name: str) -> Engine:
            if name == "dask":
                pytest.importorskip("distributed", reason="needs the extra cluster")
            if name not in engines:
                engines[name] = stack.enter_context(open_engine(name, workers=2, threads=1))
            return engines[name]

        yield get


@pytest.mark.parametrize("name", ["inline", "local", "dask"])
def test_every_job_ends_once_with_its_value(name: str, opened: Callable[[str], Engine]) -> None:
    engine = opened(name)
    assert values(list(engine.run(square, range(7)))) == {number: number**2 for number in range(7)}
    assert values(list(engine.run(square, [9]))) == {0: 81}
    assert list(engine.run(square, [])) == []


def test_a_scheduler_that_is_there_is_used() -> None:
    distributed = pytest.importorskip("distributed", reason="needs the extra cluster")
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster:
        address = cluster.scheduler_address.removeprefix("tcp://")
        with open_engine(f"dask://{address}") as engine:
            pids = {end.value for end in engine.run(process, range(2))}
        (worker,) = cluster.workers.values()
        assert pids == {worker.pid}


def test_a_scheduler_that_goes_away_ends_the_run_with_an_error_of_ours(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("distributed", reason="needs the extra cluster")
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    with subprocess.Popen([*command, "--no-dashboard"], stderr=subprocess.PIPE, text=True) as scheduler:
        told = scheduler.stderr or ()
        address = next(line.split("tcp://")[1].strip() for line in told if "Scheduler at:" in line)
        with open_engine(f"dask://{address}") as engine:
            threading.Timer(0.5, scheduler.kill).start()
            with pytest.raises(WorkerDiedError, match=r"went away with 3 of 3 jobs not finished.*the same command"):
                list(engine.run(square, range(3)))
    assert "Traceback" not in capfd.readouterr().err


def test_workers_are_reused_and_do_not_oversubscribe(opened: Callable[[str], Engine], tmp_path: Path) -> None:
    engine = opened("local")
    rounds = [tmp_path / "first", tmp_path / "second"]
    for met in rounds:
        met.mkdir()
    first, second = ({end.value for end in engine.run(process_and_threads, [met] * 4)} for met in rounds)
    assert first == second
    assert len({pid for pid, _ in first if first}) == 2  # type: ignore[misc]
    assert {threads for _, threads in first} == {1}  # type: ignore[misc]


@pytest.mark.parametrize("name", ["local", "dask"])
def test_an_error_of_one_job_comes_back_and_the_others_go_on(name: str, opened: Callable[[str], Engine]) -> None:
    ends = list(opened(name).run(fail_on_two, range(4)))
    assert values(ends) == {0: 0, 1: 1, 3: 3}
    (failed,) = [end for end in ends if end.error is not None]
    assert failed.index == 2
    assert "two is not allowed" in str(failed.error)


@pytest.mark.parametrize("name", ["local", "dask"])
def test_an_error_that_cannot_be_sent_comes_back_in_words(name: str, opened: Callable[[str], Engine]) -> None:
    ends = list(opened(name).run(refuse_two, range(4)))
    assert values(ends) == {0: 0, 1: 1, 3: 3}
    (failed,) = [end for end in ends if end.error is not None]
    assert isinstance(failed.error, JobFailedError)
    assert "RefusedError: the server said 404" in str(failed.error)


@pytest.mark.parametrize("name", ["local", "dask"])
def test_a_worker_that_dies_costs_a_retry(name: str, tmp_path: Path, opened: Callable[[str], Engine]) -> None:
    ends = list(opened(name).run(die_once, [(number, tmp_path / "died") for number in range(6)]))
    assert values(ends) == {number: number for number in range(6)}


def test_a_job_that_always_kills_its_worker_is_named_and_its_neighbours_live() -> None:
    with open_engine("local", workers=2) as engine:
        ends = list(engine.run(die_on_one, range(4)))
    assert values(ends) == {0: 0, 2: 2, 3: 3}
    (dead,) = [end for end in ends if end.error is not None]
    assert dead.index == 1
    assert isinstance(dead.error, WorkerDiedError)
    assert "took its worker process down 3 times" in str(dead.error)


SCRIPT = """
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from modicum.core.engine import open_engine

def sleep(folder):
    import os
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(120)

if __name__ == "__main__":
    with open_engine("local", workers=2) as engine:
        list(engine.run(sleep, [{folder!r}] * 2))
"""


def heed_interrupts() -> None:
    """A shell lets what it starts in the background ignore Ctrl-C, and that is inherited."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT], ids=["killed", "ctrl-c"])
def test_workers_end_with_their_parent(tmp_path: Path, end: signal.Signals) -> None:
    script, marks = tmp_path / "sleeper.py", tmp_path / "marks"
    marks.mkdir()
    script.write_text(SCRIPT.replace("{folder!r}", repr(str(marks))))
    with subprocess.Popen(
        [sys.executable, str(script)], stderr=subprocess.DEVNULL, preexec_fn=heed_interrupts
    ) as parent:
        deadline = time.monotonic() + 60
        while len(list(marks.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        workers = [psutil.Process(int(mark.name)) for mark in marks.iterdir()]
        parent.send_signal(end if len(workers) == 2 else signal.SIGKILL)
    assert len(workers) == 2
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert alive == []


def test_what_workers_cannot_import_is_refused_before_it_is_sent() -> None:
    with (
        open_engine("local", workers=1) as engine,
        pytest.raises(ConfigError, match=r"cannot be sent this job .*top level of a module or script"),
    ):
        list(engine.run(lambda number: number, [1]))


def test_functions_typed_into_a_session_are_refused() -> None:
    session = (
        "from modicum.core.engine import open_engine\n"
        "def typed(number): return number\n"
        "with open_engine('inline') as engine: print([end.value for end in engine.run(typed, [7])])\n"
        "with open_engine('local', workers=1) as engine: list(engine.run(typed, [7]))\n"
    )
    done = subprocess.run([sys.executable, "-c", session], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[7]\n"
    assert "ConfigError: Worker processes cannot import functions that were typed into a session." in done.stderr


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("slurm", {}, "There is no engine 'slurm'"),
        ("dask://", {}, "There is no engine 'dask://'"),
        ("local", {"workers": 0}, "workers must be at least 1, got 0"),
        ("local", {"threads": -1}, "threads must be at least 1, got -1"),
        ("dask://127.0.0.1:9", {}, "No Dask scheduler answers at 127.0.0.1:9"),
    ],
)
def test_nonsense_is_a_config_error(
    name: str, settings: dict[str, int], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_PATIENCE", 0.5)
    with pytest.raises(ConfigError, match=message):
        open_engine(name, **settings)
