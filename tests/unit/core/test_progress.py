"""How far something is: counted where nobody knows the total, and said on a stderr that is no terminal."""

from __future__ import annotations

import logging
import time

import pytest

from modicum.cli.common import logged, progress_bar
from modicum.core.progress import counted


def test_steps_of_unknown_number_are_counted() -> None:
    told: list[tuple[int, int, str]] = []
    step = counted(lambda *now: told.append(now))
    step("first")
    step("second")
    assert told == [(1, 0, "first"), (2, 0, "second")]


@pytest.mark.parametrize(
    ("now", "words"),
    [((3, 21, "SGD, seed 1"), "3 of 21, SGD, seed 1"), ((3, 0, "layer1"), "3, layer1"), ((3, 21, ""), "3 of 21")],
)
def test_a_run_whose_output_is_no_terminal_says_how_far_it_is(
    now: tuple[int, int, str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress_bar("nsgd", every=0.02) as tell:
        tell(*now)
        time.sleep(0.1)
    assert f"nsgd: {words}, 0 min\n" in capsys.readouterr().err


def test_a_command_says_what_modicum_logs_and_no_more(capsys: pytest.CaptureFixture[str]) -> None:
    with logged():
        logging.getLogger("modicum.somewhere").info("Fitting part %d of %d", 1, 2)
        logging.getLogger("modicum.somewhere").debug("a detail")
        logging.getLogger("elsewhere").warning("not ours")
    logging.getLogger("modicum.somewhere").info("after it")
    assert capsys.readouterr().err == "Fitting part 1 of 2\n"
