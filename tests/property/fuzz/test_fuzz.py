"""Damaged files of every reader and saved format end in a result or in a class of `modicum.errors`.

``MODICUM_FUZZ_CASES`` says how many cases each format gets, ``MODICUM_FUZZ_SEED`` with which seed they begin: the
message of a case that failed names both, and with them it is the same case again.
"""

from __future__ import annotations

import os
import signal
import time
import traceback
import warnings
from pathlib import Path
from random import Random

import pytest
from tests.property.fuzz.damage import OWN, damaged
from tests.property.fuzz.formats import FORMATS, copied

from modicum.errors import ModicumError

CASES = int(os.environ.get("MODICUM_FUZZ_CASES", "20"))
FIRST = int(os.environ.get("MODICUM_FUZZ_SEED", "0"))
SECONDS = 10.0  # of a case; pytest-timeout, which has the other alarm, ends what does not even come back to Python


class Hang(BaseException):
    """A case took longer than it may."""


def _alarm(_number: int, _frame: object) -> None:
    raise Hang


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.timeout(3600 if CASES > 30 else 240)
def test_damaged_files_end_in_a_result_or_an_error_of_the_library(tmp_path: Path, name: str) -> None:
    whole, sentinel = tmp_path / "whole", tmp_path / "code-was-run"
    whole.mkdir()
    FORMATS[name].make(whole)
    OWN.update(path.read_bytes() for path in whole.rglob("*.pkl"))
    copied(whole, tmp_path / "same")
    FORMATS[name].read(tmp_path / "same")  # the whole file is read: else the damage would show nothing
    before = signal.signal(signal.SIGVTALRM, _alarm)
    try:
        failures = [it for seed in range(FIRST, FIRST + CASES) if (it := _case(name, seed, whole, tmp_path, sentinel))]
    finally:
        signal.signal(signal.SIGVTALRM, before)
    assert not failures, f"{len(failures)} of {CASES} cases:\n" + "\n".join(failures)


def _case(name: str, seed: int, whole: Path, place: Path, sentinel: Path) -> str | None:
    """Read one damaged copy; say what went wrong, and with which seed it goes wrong again."""
    draw = Random(f"{name} {seed}")
    folder = place / f"case-{seed}" / "files"
    folder.parent.mkdir()
    chosen = draw.choice(copied(whole, folder))
    chosen.write_bytes(damaged(chosen.read_bytes(), draw, sentinel))
    told, began = None, time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            FORMATS[name].read(folder)
    except ModicumError as error:
        told = None if str(error).strip() else "an error without words"
    except Hang:
        told = f"it hangs: more than {SECONDS} s"
    except BaseException as error:  # noqa: BLE001 - every other one is what this test is for
        last = [
            f"{it.filename.rpartition('modicum/')[2]}:{it.lineno}" for it in traceback.extract_tb(error.__traceback__)
        ]
        told = f"{type(error).__name__}: {str(error)[:200]} ({' > '.join(last[2:])})"
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    if sentinel.exists():
        sentinel.unlink()
        told = f"code of the file was run; {told}"
    if told is None and time.monotonic() - began > 6 * SECONDS:
        told = "it hangs: it waited for a minute"
    again = f"MODICUM_FUZZ_SEED={seed} MODICUM_FUZZ_CASES=1 pytest tests/property/fuzz -k '[{name}]'"
    return told and f"{name}, seed {seed} ({chosen.relative_to(folder)}): {told}\n    again: {again}"
