"""Full docstrings are for public names, commands and the equations; everything else says what it is in one line."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import modicum

SOURCE = Path(modicum.__file__).parent
PUBLIC_NAMES = json.loads((Path(__file__).parent / "public_names.json").read_text())
SECTION = re.compile(r"^ *(Args|Returns|Yields|Raises|Attributes|Example):$", re.MULTILINE)


def public() -> Iterator[tuple[str, Any]]:
    for package, names in PUBLIC_NAMES.items():
        for name in names:
            found = getattr(importlib.import_module(package), name)
            if inspect.isfunction(found) or inspect.isclass(found):
                yield f"{package}.{name}", found


PUBLIC = dict(public())


def in_full() -> set[tuple[str, str]]:
    """Name the public functions, the public classes and what these have, as (module, qualified name)."""
    names: set[tuple[str, str]] = set()
    for found in PUBLIC.values():
        for each in inspect.getmro(found) if inspect.isclass(found) else (inspect.unwrap(found),):
            names.add((each.__module__, each.__qualname__))
            names |= {(each.__module__, f"{each.__qualname__}.{name}") for name in vars(each)}
    return names


def definitions(tree: ast.AST, within: str = "") -> Iterator[tuple[str, str]]:
    for node in ast.iter_child_nodes(tree):
        name = within
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            name = f"{within}.{node.name}" if within else node.name
            yield name, ast.get_docstring(node) or ""
        yield from definitions(node, name)


def test_only_public_names_have_sections() -> None:
    full = in_full()
    for path in SOURCE.rglob("*.py"):
        if path.name == "functional.py":
            continue
        module = ".".join(("modicum", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")
        for name, text in definitions(ast.parse(path.read_text())):
            assert (module, name) in full or not SECTION.search(text), f"{module}.{name} is internal: one line"
        internal = module not in PUBLIC_NAMES
        assert not (internal and "\n__all__" in path.read_text()), f"{module} is internal: no __all__"


@pytest.mark.parametrize(
    "name", [name for name, found in PUBLIC.items() if inspect.isfunction(found) and ".core." not in name]
)
def test_a_public_function_says_what_it_takes(name: str) -> None:
    found = PUBLIC[name]
    assert inspect.isfunction(found)
    said = inspect.getdoc(found) or ""
    for parameter in inspect.signature(found).parameters.values():
        assert re.search(rf"\b{parameter.name}:", said), f"{name} does not describe {parameter.name}"
