"""A new method is a package and a row: toys in a copy of the library, compared through the command line."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.killing import Program

import modicum
from modicum.core.journal import Journal

COMPARISON = '''
"""Means against the median, as the core sees them."""

import numpy as np

from modicum.core.method import Arm, Comparison, Measurement, Method, Metric, Source
from modicum.core.seeding import numpy_generator
from modicum.NAME.functional import error


def mean(job):
    return Measurement(value=error(numpy_generator(job.seed, "sample").normal(size=20), np.mean))


def median(job):
    return Measurement(value=error(numpy_generator(job.seed, "sample").normal(size=20), np.median))


METHOD = Method(
    name="NAME",
    title="A toy",
    saves="time",
    sources=(Source(authors="Nobody", year=2026, title="A toy", address="https://example.org"),),
    comparison=Comparison(
        method="NAME",
        question="Is the median closer?",
        metric=Metric(name="error", higher_is_better=False),
        arms=(Arm(name="mean", role="baseline", run=mean), Arm(name="median", role="method", run=median)),
    ),
)
'''
FUNCTIONAL = '''
"""The equations."""


def error(sample, estimate):
    return float(abs(estimate(sample)))
'''


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the library and add two methods."""
    library = tmp_path_factory.mktemp("source") / "modicum"
    shutil.copytree(Path(modicum.__file__).parent, library, ignore=shutil.ignore_patterns("__pycache__"))
    registry = library / "core" / "registry.py"
    for name in ("toy", "rival"):
        (library / name).mkdir()
        (library / name / "__init__.py").write_text('"""A toy."""\n')
        (library / name / "functional.py").write_text(FUNCTIONAL)
        (library / name / "method.py").write_text(COMPARISON.replace("NAME", name))
        row = f'_ROWS = (\n    Row("{name}", "modicum.{name}", "A toy", "time"),'
        registry.write_text(registry.read_text().replace("_ROWS = (", row))
    return library


@pytest.fixture(scope="module")
def program(library: Path) -> Iterator[Program]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(library.parent))
        program = Program()
        yield program
        program.close()


def jobs(folder: Path) -> int:
    with Journal(folder) as journal:
        return len(journal)


def test_an_edit_of_one_method_keeps_the_finished_jobs_of_another(
    program: Program, library: Path, tmp_path: Path
) -> None:
    compare = lambda name: program.kill(
        "compare", name, "--seeds", "2", "--engine", "inline", "--out", name, cwd=tmp_path
    )
    program.run("compare", "rival", "--engine", "inline", cwd=tmp_path)  # imports what forks then need not
    assert compare("toy").status == 0
    assert jobs(tmp_path / "toy") == 4
    (library / "rival" / "functional.py").write_text(FUNCTIONAL + "# changed\n")
    assert compare("toy").status == 0
    assert jobs(tmp_path / "toy") == 4
    (library / "toy" / "functional.py").write_text("from modicum.rival.functional import error\n")
    assert compare("toy").status == 0
    assert jobs(tmp_path / "toy") == 8
    (library / "rival" / "functional.py").write_text(FUNCTIONAL + "# changed again, and toy imports it\n")
    assert compare("toy").status == 0
    assert jobs(tmp_path / "toy") == 12
