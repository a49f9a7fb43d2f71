from __future__ import annotations

import functools
from pathlib import Path
from types import FunctionType

import pytest

from modicum.core.environment import code_digest, describe_environment, library_versions, tree_digest
from modicum.errors import ConfigError
from modicum.optim import arms


def typed(source: str) -> FunctionType:
    space: dict[str, FunctionType] = {}
    exec(compile(source, "<session>", "exec"), space)
    return space["run"]


def test_code_of_a_session_is_told_apart() -> None:
    one, two = typed("def run(job): return 1"), typed("def run(job): return 2")
    assert code_digest(one) == code_digest(typed("def run(job): return 1"))
    assert code_digest(one) != code_digest(two)


def test_code_of_a_module_is_its_file(tmp_path: Path) -> None:
    digests: set[str] = set()
    for helper in ("1", "2"):
        path = tmp_path / f"mine{helper}.py"
        path.write_text(f"HELPER = {helper}\ndef run(job): return HELPER\n")
        space: dict[str, FunctionType] = {}
        exec(compile(path.read_text(), str(path), "exec"), space)
        digests.add(code_digest(space["run"]))
    assert len(digests) == 2


def test_arms_of_modicum_share_the_digest_of_the_package() -> None:
    assert code_digest(arms.sgd) == code_digest(functools.partial(arms.adam))
    assert len(code_digest(arms.sgd)) == 64


def test_a_tree_is_its_names_and_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.txt").write_text("same")
    assert tree_digest(tmp_path / "a") == tree_digest(tmp_path / "b")
    (tmp_path / "b" / "x.txt").rename(tmp_path / "b" / "y.txt")
    assert tree_digest(tmp_path / "a") != tree_digest(tmp_path / "b")
    (tmp_path / "b" / "y.txt").rename(tmp_path / "b" / "x.txt")
    (tmp_path / "b" / "x.txt").write_text("other")
    assert tree_digest(tmp_path / "a") != tree_digest(tmp_path / "b")
    with pytest.raises(ConfigError, match="There is nothing at"):
        tree_digest(tmp_path / "c")


def test_the_environment_names_what_made_a_result() -> None:
    made = describe_environment(device="cpu", command="modicum compare nsgd")
    assert made.torch == library_versions()["torch"]
    assert made.cores >= 1
    assert made.command == "modicum compare nsgd"
    assert made.processor
