from __future__ import annotations

import functools
import importlib
import os
from pathlib import Path
from types import FunctionType

import pytest

from modicum.core.environment import code_digest, describe_environment, library_versions, tree_digest
from modicum.errors import ConfigError
from modicum.optim import comparison


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


def test_helpers_that_a_module_imports_from_its_folder_or_package_belong_to_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    texts = {
        "mine_script.py": "import mine_helper\ndef run(job):\n    from mine_tools import deep\n",
        "mine_helper.py": "",
        "mine_tools/__init__.py": "",
        "mine_tools/deep.py": "from . import deeper\nfrom .deeper import __name__ as name\n",
        "mine_tools/deeper.py": "",
        "mine_tools/arms.py": "import numpy\nfrom mine_tools import deep\ndef run(job): ...\n",
        "other.py": "",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    runs = [importlib.import_module(name).run for name in ("mine_script", "mine_tools.arms")]
    for name, text in texts.items():
        before = [code_digest(run) for run in runs]
        (tmp_path / name).write_text(text + "\n# changed\n")
        changed = [old != code_digest(run) for old, run in zip(before, runs, strict=True)]
        assert changed == [name not in {"mine_tools/arms.py", "other.py"}, name.startswith("mine_tools/")]


def test_arms_of_modicum_share_the_digest_of_the_package() -> None:
    assert code_digest(comparison.make) == code_digest(functools.partial(comparison.run))
    assert len(code_digest(comparison.make)) == 64


class Bound:
    def __init__(self, rate: float) -> None:
        self.rate = rate

    def run(self, job: object) -> float:
        return self.rate

    __call__ = run


def test_what_a_function_is_bound_to_belongs_to_its_code() -> None:
    run = Bound(1.0).run
    assert code_digest(functools.partial(library_versions, rate=0.1)) == code_digest(
        functools.partial(library_versions, rate=0.1)
    )
    digests = {
        code_digest(each)
        for rate in (0.1, 0.5)
        for each in (
            functools.partial(library_versions, rate=rate), functools.partial(library_versions, rate), Bound(rate).run,
            functools.partial(functools.partial(library_versions, rate), rate=2.0), functools.partial(run, rate),
        )
    }  # fmt: skip
    assert len(digests) == 10
    with pytest.raises(ConfigError, match="runs a function, not"):
        code_digest(Bound(1.0))
    with pytest.raises(ConfigError, match="library_versions is bound to cannot be recorded"):
        code_digest(functools.partial(library_versions, lambda: 1))


def test_a_tree_goes_through_links_and_no_circle(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "x.txt").write_text("one")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "class").symlink_to(tmp_path / "far")
    (tmp_path / "data" / "circle").symlink_to(tmp_path / "data")
    before = tree_digest(tmp_path / "data")
    assert before == tree_digest(tmp_path / "data")
    (tmp_path / "far" / "x.txt").write_text("two")
    assert before != tree_digest(tmp_path / "data")
    (tmp_path / "far" / os.fsdecode(b"\xff.txt")).write_text("a name that is no UTF-8")
    assert len(tree_digest(tmp_path / "data")) == 64


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
