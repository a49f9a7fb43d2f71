"""Where the votes of readers lie in the data set's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from modicum.sarcasm.data.examples import Language
from modicum.sarcasm.data.isarcasm import Votes, read_vote_file


def read_votes(folder: Path, task: Literal["A", "C"], language: Language) -> Votes:
    """Read the votes on the test texts of task A, or on the pairs of task C."""
    name = {"en": "english", "ar": "arabic"}[language]
    return read_vote_file(folder / "third-party annotations" / f"{name}_task_{task.lower()}.csv", task)
