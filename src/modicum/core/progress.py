"""How far something long is: one protocol for all that count; what is worth a line goes through `logging`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

# Called as steps are done: how many, how many in all (0 if nobody knows), and what was done last.
Progress: TypeAlias = Callable[[int, int, str], object]


def silent(done: int, total: int, text: str) -> None:
    """Take no note."""
    del done, total, text


def counted(progress: Progress) -> Callable[[str], None]:
    """Count what is done in steps whose number nobody knows before."""
    done = 0

    def step(text: str) -> None:
        nonlocal done
        done += 1
        progress(done, 0, text)

    return step
