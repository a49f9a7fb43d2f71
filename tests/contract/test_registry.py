"""What every method owes the house, over all rows of the registry: a new method inherits these tests."""

from __future__ import annotations

import ast
import importlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from tests.e2e.in_process import run_script_here

import modicum
from modicum import errors
from modicum.core import registry
from modicum.core.compare import compare
from modicum.core.engine import Engine, open_engine
from modicum.core.method import Budget, Method
from modicum.core.settings import as_texts, entries
from modicum.errors import ConfigError

ROOT = Path(__file__).parents[2]
SOURCE = Path(modicum.__file__).parent
PUBLIC_NAMES = json.loads((Path(__file__).parent / "public_names.json").read_text())

each_method = pytest.mark.parametrize("row", registry.rows(), ids=lambda row: row.name)


@each_method
def test_the_row_is_what_the_package_declares(row: registry.Row) -> None:
    method = registry.load(row.name)
    assert isinstance(method, Method)
    assert (method.name, method.title, method.saves) == (row.name, row.title, row.saves)
    assert method.comparison.method == row.name
    assert method.comparison.question.endswith("?")
    assert method.sources
    assert [arm.role for arm in method.comparison.arms[:2]] == ["baseline", "method"]
    assert any(arm.role == "control" for arm in method.comparison.arms), "a sceptic's control is missing"
    assert set(method.comparison.data) == {"demo", "full"}


@each_method
def test_its_settings_are_those_of_its_configuration_and_can_be_typed(row: registry.Row) -> None:
    comparison = registry.load(row.name).comparison
    declared = registry.settings(row.name)
    assert comparison.settings is declared
    for budget in get_args(Budget):
        assert comparison.settings_for(budget, as_texts(declared[budget])) == declared[budget]
        assert all(entry.help for entry in entries(declared[budget]))


@pytest.fixture(scope="module")
def worker() -> Iterator[Engine]:
    """Open a process beside this one: one, since each that starts imports torch and what a method needs."""
    with open_engine("local", workers=1) as engine:
        yield engine


# All arms of a demo, and two of them once more, on less of it where it takes more than seconds.
LESS = {
    "nsgd": {"epochs": "1", "trials": "3", "scales": "1,10", "gains": "1"},
    "hype": {"epochs": "6"},
    "cubemlp": {"epochs": "2"},
    "peerpl": {"expert_steps": "2048", "trajectories": "10", "updates": "300", "episodes": "20"},
    "gotuning": {"steps": "2"},
    "fghv": {"steps": "60"},
    "rapq": {"iterations": "5"},
    "seqdiffuseq": {"steps": "40", "schedule_every": "4", "calls": "5", "many": "10", "validation": "5", "test": "50"},
    "xpudu": {"epochs": "2"},
}

# How far a value may be from the one recorded in tests/golden: twice what it moved where AVX2 was switched off, and at
# least a few samples. The arms of HyPe all move together, and of NSGD one by a rate that the
# validation chose. PeerPL's are returns, which are 29 to 81 and did not move. Go-tuning: not measured so, four of its
# 80 texts. SeqDiffuSeq's are percent of the letters of 50 verbs, and did not move.
SPREAD = {
    "nsgd": 0.5,
    "hype": 0.02,
    "gprmgk": 0.001,
    "cubemlp": 0.125,
    "peerpl": 15,
    "gotuning": 0.05,
    "fghv": 0.05,
    "rapq": 0.03,
    "seqdiffuseq": 8,
    "xpudu": 0.02,
}

# Arms that leave little of the network, so that rounding decides: twice what they moved from AVX2 to AVX-512.
CHAOTIC = {("rapq", "naive snap"): 0.36, ("rapq", "RAPQ paper"): 0.28}


@pytest.mark.slow
@each_method
def test_the_demo_runs_and_reproduces_from_its_seed(row: registry.Row, worker: Engine, tmp_path: Path) -> None:
    comparison = registry.load(row.name).comparison
    less = LESS.get(row.name)
    report = compare(comparison, seeds=[3], budget="demo", engine=worker, out=tmp_path, options=less)
    assert [len(arm.values) for arm in report.arms] == [1] * len(comparison.arms)
    assert {metric.name for metric in comparison.secondary} == set(report.arms[0].secondary)
    assert {metric.name for metric in comparison.costs} == set(report.arms[0].costs)
    recorded = json.loads((ROOT / "tests" / "golden" / "demo.json").read_text())[row.name]
    assert {arm.name: arm.values[0] for arm in report.arms} == {
        name: pytest.approx(arm["value"], abs=CHAOTIC.get((row.name, name), SPREAD[row.name]))
        for name, arm in recorded.items()
    }
    for arm in report.arms:
        assert {name: arm.costs[name] for name in recorded[arm.name]["costs"]} == recorded[arm.name]["costs"]
    pair = tuple(comparison.arms[:2])  # enough to see a stream that is not the seed's, at a third of the time
    # Here, where other tests have drawn from the global generators and strings have other hashes than in a worker.
    few = replace(comparison, arms=pair, variant=None)
    again = compare(few, seeds=[3], budget="demo", engine="inline", options=less)
    assert [(arm.name, arm.values, arm.secondary) for arm in again.arms] == [
        (arm.name, arm.values, arm.secondary) for arm in report.arms[:2]
    ]


@each_method
def test_it_has_a_page_an_example_and_a_benchmark(row: registry.Row) -> None:
    page = ROOT / "docs" / f"{row.name}.md"
    for heading in ("What it is", "When it helps", "When it does not", "How faithful it is", "Evidence"):
        assert f"\n## {heading}\n" in page.read_text(), f"{page} has no section {heading}"
    for folder in ("examples", "benchmarks"):
        assert (ROOT / folder / f"{row.name}.py").is_file()
    assert f"{row.name}.md" in (ROOT / "mkdocs.yml").read_text()


@pytest.mark.slow
@each_method
def test_its_example_runs(row: registry.Row, tmp_path: Path) -> None:
    script = ROOT / "examples" / f"{row.name}.py"
    done = run_script_here(script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@each_method
def test_its_benchmark_starts(row: registry.Row, tmp_path: Path) -> None:
    script = ROOT / "benchmarks" / f"{row.name}.py"
    done = run_script_here(script, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "--json" in done.stdout


@each_method
def test_it_raises_only_errors_of_the_tree(row: registry.Row) -> None:
    folder = SOURCE / Path(*row.package.split(".")[1:])
    for path in folder.rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        caught = {ast.unparse(it.type) for it in nodes if isinstance(it, ast.ExceptHandler) and it.type}
        for node in nodes:
            if not isinstance(node, ast.Raise) or node.exc is None:
                continue
            called = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            name = called.id if isinstance(called, ast.Name) else ast.unparse(called)
            inner = name.startswith("_") and name in caught  # leaves a function of someone else, not the module
            known = name in errors.__all__ or name in {"error", "AttributeError"} or inner
            assert known, f"{path.name}, line {node.lineno} raises {name}"


@pytest.mark.parametrize("package", sorted(PUBLIC_NAMES))
def test_public_names_are_the_committed_ones(package: str) -> None:
    module = importlib.import_module(package)
    assert sorted(module.__all__) == PUBLIC_NAMES[package]
    for name in module.__all__:
        assert getattr(module, name) is not None


def test_every_method_package_has_committed_names() -> None:
    assert {row.package for row in registry.rows()} <= set(PUBLIC_NAMES)


def test_an_unknown_method_is_told_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"There is no method 'nsdg'. Did you mean nsgd\? Use one of"):
        registry.load("nsdg")
