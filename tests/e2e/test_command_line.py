"""The program as a user meets it."""

from __future__ import annotations

import functools
import json
import os
import resource
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.e2e.in_process import heeding_interrupts, run_here

import modicum
from modicum.cli import main
from modicum.core.journal import FILE_NAME, Journal
from modicum.core.report import load
from modicum.quantize.quantizer import check_samples

pytestmark = pytest.mark.slow  # all of them together

SMALL = ["-o", "trials=2", "-o", "scales=10", "-o", "gains=1", "-o", "epochs=1"]
QUICK = ["compare", "nsgd", "--seeds", "2", *SMALL, "--workers", "1"]
# Seven jobs that are over at once, on one worker: where the time of a run would prove nothing more.
SMALLEST = ["-o", "trials=2", "-o", "scales=1", "-o", "gains=1", "-o", "epochs=1"]
LEAST = ["compare", "nsgd", "--seeds", "1", *SMALLEST, "--workers", "1"]


Done = subprocess.CompletedProcess[str]


def run(*arguments: str, cwd: Path, timeout: float = 120) -> Done:
    command = [sys.executable, "-m", "modicum", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=timeout)


def test_help_answers_at_once_and_loads_nothing_heavy(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from modicum.cli.main import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "print(*{'torch', 'numpy', 'matplotlib', 'pydantic'} & set(sys.modules), sep=', ')"
    )
    # The least that typer needs to print a help page here: processors differ, tests run side by side.
    bare = (
        "import typer\n"
        "app = typer.Typer()\n"
        "app.command('one')(lambda: None)\n"
        "app.command('two')(lambda: None)\n"
        "app(['--help'])"
    )
    ours: list[float] = []
    least: list[float] = []
    for _ in range(3):
        for code, seconds in ((script, ours), (bare, least)):
            start = processor_seconds_of_children()
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
            seconds.append(processor_seconds_of_children() - start)
            if code is script:
                assert "compare" in done.stdout
                assert done.stdout.splitlines()[-1] == "", "something heavy was imported"
            else:
                assert done.returncode == 0, done.stderr
    assert min(ours) < 2 * min(least)


@pytest.mark.parametrize("command", [("sarcasm", "submit"), ("molecules", "select"), ("compare",)])
def test_help_is_for_those_who_type(command: tuple[str, ...], tmp_path: Path) -> None:
    told = run_here(*command, "--help", cwd=tmp_path).stdout
    assert "Usage: " in told
    assert "Raises:" not in told


def test_help_of_a_comparison_lists_its_options_and_the_form_of_data(tmp_path: Path) -> None:
    told = " ".join(run_here("compare", "nsgd", "--help", cwd=tmp_path).stdout.split())
    assert "Usage: " in told
    assert "--data: A CSV file with a column label" in told
    assert "--option epochs=VALUE: passes over the training part; an integer from 1 on; default 6 (demo), 200" in told


@pytest.mark.parametrize("width", ["80", "160"])
def test_data_list_shows_whole_names_and_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: str) -> None:
    monkeypatch.setenv("COLUMNS", width)
    shown = run_here("data", "list", cwd=tmp_path).stdout
    assert max(map(len, shown.splitlines())) <= int(width)
    for row in json.loads(run_here("data", "list", "--json", cwd=tmp_path).stdout):
        assert any(line.split()[:2] == [row["name"], row["status"].split()[0]] for line in shown.splitlines())
    assert "Arabic sarcasm, sentiment and dialect of tweets" in " ".join(shown.split())


def test_doctor_diagnoses_a_wrong_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODICUM_DATA", "nowhere")
    done = run_here("doctor", "--json", cwd=tmp_path)
    assert done.returncode == 1
    found = {row["what"]: row for row in json.loads(done.stdout)}
    assert found["MODICUM_DATA"]["state"] == "wrong"
    assert "'nowhere'" in found["MODICUM_DATA"]["found"]
    assert found["cache"]["state"] == "ok"


def test_ctrl_c_where_nothing_is_kept_is_one_word_and_status_130(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "report.json")

    def interrupt_reader() -> None:
        with (tmp_path / "report.json").open("wb"):  # it is open for reading then
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)

    thread = threading.Thread(target=interrupt_reader)
    with heeding_interrupts():
        thread.start()
        done = run_here("report", ".", cwd=tmp_path)
        thread.join()
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Stopped.\n")


def processor_seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_import_loads_nothing_heavy(tmp_path: Path) -> None:
    script = "import sys, modicum; assert not {'torch', 'numpy'} & set(sys.modules); print(modicum.__version__)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.strip() == modicum.__version__, done.stderr


@dataclass(frozen=True)
class Whole:
    """A comparison that nobody disturbed.

    Args:
        folder: that it wrote; whoever changes it takes a copy.
        stdout: what it printed.
    """

    folder: Path
    stdout: str

    def copy(self, place: Path) -> Path:
        """Copy the folder as ``out`` into another one."""
        shutil.copytree(self.folder, place / "out")
        return place / "out"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    place = tmp_path_factory.mktemp("whole")
    done = run(*QUICK, "--out", "out", cwd=place)
    assert done.returncode == 0, done.stderr
    return Whole(place / "out", done.stdout)


def test_compare_writes_a_report_and_prints_the_same_one_again(whole: Whole, tmp_path: Path) -> None:
    assert "Over how many decades of the learning rate" in whole.stdout
    assert {"report.json", "report.md", "report.html", FILE_NAME} <= {path.name for path in whole.folder.iterdir()}
    whole.copy(tmp_path)
    again = run_here(*QUICK, "--out", "out", cwd=tmp_path)
    assert again.stdout == whole.stdout
    shown = run_here("report", "out", cwd=tmp_path)
    assert shown.stdout == whole.stdout
    page = tmp_path / "out" / "report.html"
    page.unlink()
    page.mkdir()
    shown = run_here("report", "out", cwd=tmp_path)
    assert (shown.returncode, shown.stdout) == (0, whole.stdout)
    assert "Markdown and HTML were not written" in shown.stderr


def test_of_an_unfinished_comparison_the_report_says_how_to_finish_it(whole: Whole, tmp_path: Path) -> None:
    (whole.copy(tmp_path) / "report.json").unlink()
    done = run_here("report", "out", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    what, hint = done.stderr.splitlines()
    assert what == "modicum: The comparison in out is not finished."
    before, _, command = hint.partition(": ")
    assert before == "  Run it again, with the --seeds that it had"
    finished = run_here(*shlex.split(command)[1:], "--seeds", "2", cwd=tmp_path)
    assert finished.stdout == whole.stdout


def test_a_warning_of_ours_has_no_path_wherever_it_points(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = torch.arange(192.0).reshape(1, 3, 8, 8)  # the warning points above the program, as into typer
    network: Any = torch.nn.Identity()
    network.pretrained_cfg = {"input_size": (3, 9, 9)}
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(main, "app", functools.partial(check_samples, images, network))
        main.run()
        said = capsys.readouterr().err
        assert said.startswith("modicum: The calibration images have 8 x 8 pixels")
        assert ".py" not in said
        shown: list[str] = []
        monkeypatch.setattr(main, "_default", lambda message, kind, file, *_: shown.append(file))
        monkeypatch.setattr(main, "app", lambda: warnings.warn("not ours", stacklevel=1))
        main.run()
        assert (shown, capsys.readouterr().err) == ([__file__], "")


def test_json_is_alone_on_stdout(tmp_path: Path) -> None:
    done = run_here(*LEAST, "--engine", "inline", "--out", "out", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["reports"][0]["method"] == "nsgd"
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == json.loads(done.stdout)
    assert done.stdout.isascii(), "it is printed whatever the encoding of stdout"
    (report,) = load(tmp_path / "out" / "report.json")
    assert report.seeds == (0,)
    assert report.environment.command.startswith("modicum compare nsgd --seeds 1")
    for command in (["doctor"], ["list"], ["data", "list"], ["report", "out"]):
        assert json.loads(run_here(*command, "--json", cwd=tmp_path).stdout)


def rows(journal: Path) -> int:
    if not journal.exists():
        return 0
    # Without asking for the lock, which the run holds as long as it lives.
    connection = sqlite3.connect(f"{journal.as_uri()}?immutable=1", uri=True)
    try:
        (count,) = connection.execute("SELECT count(*) FROM jobs").fetchone()
    except sqlite3.DatabaseError:  # caught in the middle of a row
        return 0
    finally:
        connection.close()
    return count


def test_of_two_runs_in_one_folder_the_second_is_refused(tmp_path: Path) -> None:
    with Journal(tmp_path / "out"):
        second = run_here(*LEAST, "--engine", "inline", "--out", "out", cwd=tmp_path)
    assert second.returncode == 2
    assert "Another process works on the folder out." in second.stderr
    assert "Traceback" not in second.stderr


def test_own_data_is_compared(tmp_path: Path) -> None:
    lines = ["width,height,label"] + [f"{n % 7},{n % 5 + 3 * (n % 2)},{'odd' if n % 2 else 'even'}" for n in range(80)]
    (tmp_path / "mine.csv").write_text("\n".join(lines) + "\n")
    done = run_here(*LEAST, "--engine", "inline", "--data", "mine.csv", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert load(tmp_path / "out" / "report.json")[0].data == "mine.csv"
    (tmp_path / "mine.csv").write_text("\n".join([*lines[:5], "3,oops,odd", *lines[5:]]))
    broken = run_here(*LEAST, "--engine", "inline", "--data", "mine.csv", "--out", "out", cwd=tmp_path)
    assert broken.returncode == 2
    assert "mine.csv, line 6, column height is 'oops', not a finite number" in broken.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["compare", "nsdg"], 2, "Did you mean nsgd?"),
        (["compare", "nsgd", "--seeds", "many"], 2, "--seeds takes a number or a list, got 'many'"),
        (["compare", "nsgd", "--seeds", "0"], 2, "at least one seed, got 0"),
        (["compare", "nsgd", "--budget", "huge"], 2, "huge"),
        (["compare", "nsgd", "--option", "epochs"], 2, "--option takes name=value, got 'epochs'"),
        (["compare", "nsgd", "-o", "epoch=3"], 2, "has no option 'epoch'"),
        (["compare", "nsgd", "-o", "epochs=-3"], 2, "epochs must be an integer from 1 on, got '-3'"),
        (["compare", "nsgd", "-o", "scales=0.1,nan"], 2, "with commas between them, got '0.1,nan'"),
        (["compare", "all", "-o", "trials=3"], 2, "The comparison hype has no option 'trials'"),
        (["compare", "nsgd", "--data", "nowhere.csv"], 2, "There is nothing at nowhere.csv"),
        (["compare", "nsgd", "--device", "foo"], 2, "torch cannot use the device 'foo'"),
        (["report", "file"], 2, "file is a file"),
        (["compare", "rapq", "--data", "file", "--engine", "inline", "--workers", "1"], 2, "need a network"),
        (["compare", "rapq", "--data", "file", "-o", "network=resnet20", "--engine", "inline"], 2, "file is no folder"),
        (["compare", "nsgd", "--out", "file/runs"], 2, "The folder file/runs cannot be written"),
        (["compare", "nsgd", "--engine", "dask://nohost"], 2, "No Dask scheduler answers at nohost"),
        (["compare", "nsgd", "--workers", "0"], 2, "workers must be at least 1, got 0"),
        (["report", "nowhere"], 2, "There is no report at nowhere"),
        (["data", "fetch", "cifra"], 2, "cifra"),
        (["data", "fetch"], 2, "takes names of data sets or --all"),
        (["juggle"], 2, "juggle"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else None,
)
def test_nonsense_says_what_and_how_to_mend_it(tmp_path: Path, arguments: list[str], status: int, words: str) -> None:
    refused(run_here, tmp_path, arguments, status, words)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["compare", "nsdg"], 2, "Did you mean nsgd?"),
        (["compare", "nsgd", "-o", "epochs=-3"], 2, "epochs must be an integer from 1 on, got '-3'"),
        (["compare", "nsgd", "--budget", "huge"], 2, "huge"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else None,
)
def test_a_process_of_its_own_says_the_same(tmp_path: Path, arguments: list[str], status: int, words: str) -> None:
    refused(run, tmp_path, arguments, status, words)


def test_a_wrong_option_is_refused_before_torch_is_imported(tmp_path: Path) -> None:
    script = """
import sys
sys.modules["torch"] = None  # an import of it raises
from modicum.cli.main import run
for name in ("nsgd", "hype", "gprmgk", "xpudu", "rapq"):
    sys.argv[1:] = ["compare", name, "-o", "speed=1"]
    try:
        run()
    except SystemExit as left:
        print(left.code)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == ["2"] * 5, done.stderr


def refused(run: Callable[..., Done], place: Path, arguments: list[str], status: int, words: str) -> None:
    (place / "file").touch()
    done = run(*arguments, cwd=place)
    assert done.returncode == status, done.stderr
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert [path.name for path in place.iterdir()] == ["file"]


def test_ctrl_c_keeps_what_is_done_and_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "modicum", *QUICK, "--out", "out"]

    def heed_interrupts() -> None:
        # A shell lets what it starts in the background ignore Ctrl-C, and that is inherited.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True, start_new_session=True, preexec_fn=heed_interrupts
    ) as stopped:
        deadline = time.monotonic() + 120
        while rows(tmp_path / "out" / FILE_NAME) < 1 and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(stopped.pid, signal.SIGINT)  # as a terminal does: to the program and its workers
        _, messages = stopped.communicate(timeout=60)
    assert stopped.returncode == 130
    assert "Stopped. What is finished is kept in out; the same command goes on from there." in messages
    assert "Traceback" not in messages
