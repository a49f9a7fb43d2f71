"""A new method is a package and a row: toys in a copy of the library, compared through the command line."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.killing import Program

import modicum
from modicum.core.journal import Journal
from modicum.core.report import load

METHOD = {
    "__init__.py": '''
"""The trimmed mean: an estimate of location that a few outliers do not move."""
''',
    "functional.py": '''
"""The equations."""

import numpy as np


def trimmed_mean(sample, share):
    """Give the mean without a share of the values at each end."""
    cut = int(share * len(sample))
    return float(np.sort(sample)[cut : len(sample) - cut].mean())
''',
    "configuration.py": '''
"""The settings."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Lt

from modicum.core.settings import Help


@dataclass(frozen=True, kw_only=True)
class Settings:
    size: Annotated[int, Help("values of a sample"), Ge(3)]
    share: Annotated[float, Help("cut off at each end"), Ge(0), Lt(0.5)] = 0.1
    tails: Annotated[Literal["heavy", "light"], Help("of the distribution")] = "heavy"


COMPARISON = {"demo": Settings(size=20), "full": Settings(size=1000)}
''',
    "comparison.py": '''
"""The trimmed mean against the mean."""

from modicum.core.method import Arm, Comparison, Measurement, Method, Metric, Source
from modicum.core.seeding import numpy_generator
from modicum.NAME.configuration import COMPARISON
from modicum.NAME.functional import trimmed_mean


def setup(job):
    generator = numpy_generator(job.seed, "sample")
    return generator.standard_t(2 if job.settings.tails == "heavy" else 30, size=job.settings.size)


def mean(_, sample):
    return Measurement(value=abs(trimmed_mean(sample, 0)))


def trimmed(job, sample):
    return Measurement(value=abs(trimmed_mean(sample, job.settings.share)))


def median(_, sample):
    return Measurement(value=abs(trimmed_mean(sample, 0.499)))


METHOD = Method(
    name="NAME",
    title="The trimmed mean",
    saves="values",
    sources=(Source(authors="Tukey", year=1962, title="The Future of Data Analysis", address="10.1214/aoms"),),
    comparison=Comparison(
        method="NAME",
        question="Is the trimmed mean closer to the centre?",
        metric=Metric(name="distance", higher_is_better=False),
        arms=(
            Arm(name="mean", role="baseline", run=mean),
            Arm(name="trimmed mean", role="method", run=trimmed),
            Arm(name="median", role="control", run=median),
        ),
        settings=COMPARISON,
        setup=setup,
        data={"demo": "20 drawn values", "full": "1,000 drawn values"},
    ),
)
''',
}
FUNCTIONAL = METHOD["functional.py"]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the library and add two methods."""
    library = tmp_path_factory.mktemp("source") / "modicum"
    shutil.copytree(Path(modicum.__file__).parent, library, ignore=shutil.ignore_patterns("__pycache__"))
    registry = library / "core" / "registry.py"
    for name in ("toy", "rival"):
        (library / name).mkdir()
        for file, text in METHOD.items():
            (library / name / file).write_text(text.replace("NAME", name))
        row = f'_ROWS = (\n    Row("{name}", "modicum.{name}", "The trimmed mean", "values"),'
        registry.write_text(registry.read_text().replace("_ROWS = (", row))
    return library


# Its own process has run "rival" once, and with it has imported what its forks, which run "toy", then need not.
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


def test_a_package_and_a_row_are_compared_through_the_command_line(program: Program, tmp_path: Path) -> None:
    assert sum(len(text.splitlines()) for text in METHOD.values()) < 120
    done = program.run("compare", "rival", "-o", "size=50", "--seeds", "2", "--engine", "inline", cwd=tmp_path)
    assert done.status == 0, done.said
    assert "trimmed mean against mean" in done.said
    (report,) = load(tmp_path / "runs" / "demo" / "rival" / "report.json")
    assert report.options == {"size": "50", "share": "0.1", "tails": "heavy"}
    assert all(len(arm.values) == 2 for arm in report.arms)
    shown = program.run("compare", "rival", "--help", cwd=tmp_path)
    assert "share=VALUE: cut off at each end; a number from 0 to less than 0.5;" in " ".join(shown.said.split())
    for option, words in (("tail=light", "no option 'tail'"), ("share=0.5", "must be a number from 0 to less than")):
        refused = program.run("compare", "rival", "-o", option, cwd=tmp_path)
        assert refused.status == 2
        assert words in refused.said


def test_an_edit_of_one_method_keeps_the_finished_jobs_of_another(
    program: Program, library: Path, tmp_path: Path
) -> None:
    compare = lambda name: program.kill(
        "compare", name, "--seeds", "1", "--engine", "inline", "--out", name, cwd=tmp_path
    )
    assert compare("toy").status == 0
    assert jobs(tmp_path / "toy") == 3
    (library / "rival" / "functional.py").write_text(FUNCTIONAL + "# changed\n")
    assert compare("toy").status == 0
    assert jobs(tmp_path / "toy") == 3
    (library / "toy" / "functional.py").write_text("from modicum.rival.functional import trimmed_mean\n")
    assert compare("toy").status == 0
    assert jobs(tmp_path / "toy") == 6
    (library / "rival" / "functional.py").write_text(FUNCTIONAL + "# changed again, and toy imports it\n")
    assert compare("toy").status == 0
    assert jobs(tmp_path / "toy") == 9
