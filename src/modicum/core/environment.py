"""What made a result: code, libraries and machine."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import itertools
import marshal
import os
import pickle
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

import modicum
from modicum.core.catalogue.proof import sha256_of, tree_hash
from modicum.core.results import Environment
from modicum.errors import ConfigError

_PACKAGE = Path(modicum.__file__).parent
_LIBRARIES = (
    *("torch", "numpy", "scipy", "scikit-learn", "transformers", "tokenizers", "rdkit", "chemprop", "gymnasium"),
    *("chemicals", "descriptastorus", "lemminflect", "onnxruntime", "scikit-image", "sktime", "stable-baselines3"),
)
_CANNOT_CHANGE_A_RESULT = (
    "cli/",
    "core/report/",
    "core/compare.py",
    "core/jobs.py",
    "core/journal.py",
    "core/registry.py",
    "core/results.py",
)


def library_versions() -> dict[str, str]:
    """Give the versions of the installed libraries that a result may depend on."""
    return {name: found for name in _LIBRARIES if (found := installed_version(name))}


@functools.cache
def installed_version(name: str) -> str | None:
    """Give the version of a library; None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def code_digest(function: Callable[..., Any]) -> str:
    """Hash the code that a job runs: the package of its method and the core, or a function from elsewhere."""
    # With the module of a function from elsewhere go those that it imports, anywhere in its text, from its own folder
    # or package, and so on from there; and all of modicum, whose methods it may use by their public names.
    function, bound = _unbound(function)
    path = source_of(function)
    if path is None:
        return bound + _package_digest() + hashlib.sha256(marshal.dumps(function.__code__)).hexdigest()
    if path.is_relative_to(_PACKAGE.resolve()):
        return bound + _package_digest(path.relative_to(_PACKAGE.resolve()).parts[0])
    package = getattr(sys.modules.get(function.__module__), "__package__", None) or ""
    root = path.parents[len(package.split(".")) if package else 0]
    files: set[Path] = set()
    _add_with_imports(path, root, files)
    return bound + _package_digest() + tree_hash({file.relative_to(root).as_posix(): sha256_of(file) for file in files})


def source_of(function: Callable[..., Any]) -> Path | None:
    """Find the file of a function; one that was typed into a notebook or a session has none."""
    function, _ = _unbound(function)
    source = inspect.getsourcefile(function)
    return Path(source).resolve() if source is not None and Path(source).is_file() else None


def _unbound(function: Callable[..., Any]) -> tuple[FunctionType, str]:
    """Give the function itself, and a hash of the arguments and the object that it is bound to; "" for none."""
    bound: list[object] = []
    while isinstance(function, functools.partial | MethodType):
        if isinstance(function, MethodType):
            bound.append(function.__self__)
            function = function.__func__
        else:
            bound += [(function.args, function.keywords)] if function.args or function.keywords else []
            function = function.func
    if not isinstance(function, FunctionType):
        raise ConfigError(
            f"A job runs a function, not {function!r}.",
            hint="Give a function, a method, or a functools.partial of one.",
        )
    try:
        return function, hashlib.sha256(pickle.dumps(bound)).hexdigest() if bound else ""
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"What {function.__qualname__} is bound to cannot be recorded ({error}).",
            hint="Bind numbers, texts and objects of classes at the top level of a module.",
        ) from error


def _add_with_imports(path: Path, root: Path, found: set[Path]) -> None:
    found.add(path)
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return  # it cannot be imported either
    folder = path.relative_to(root).parts[:-1]
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = folder[: len(folder) + 1 - node.level] if node.level else ()
            base = ".".join((*above, *([node.module] if node.module else [])))
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        for file in itertools.chain.from_iterable(_files(name, root) for name in names):
            if file not in found:
                _add_with_imports(file, root, found)


def _files(name: str, root: Path) -> Iterator[Path]:
    # Below the root alone: libraries have their versions, modicum its own digest.
    parts = [part for part in name.split(".") if part]
    if {"site-packages", "dist-packages"} & set(root.parts) or "modicum" in parts[:1]:
        return
    for depth in range(1, len(parts) + 1):
        path = root.joinpath(*parts[:depth])
        yield from (file for file in (path.with_name(f"{path.name}.py"), path / "__init__.py") if file.is_file())


@functools.cache
def _package_digest(method: str | None = None) -> str:
    # Of one method with the core and the methods that it names in an import (or anywhere), or of all of modicum.
    found, waiting = {"core", "errors.py"}, [method] if method else [path.name for path in _PACKAGE.iterdir()]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            for path in (_PACKAGE / name).rglob("*.py"):
                waiting += re.findall(r"(?:modicum\.|from modicum import )(\w+)", path.read_text(encoding="utf-8"))
    digest = hashlib.sha256()
    for name in sorted(found):
        for path in sorted([_PACKAGE / name, *(_PACKAGE / name).rglob("*")]):  # tables and JSON, too
            relative = path.relative_to(_PACKAGE).as_posix()
            if path.is_file() and "__pycache__" not in path.parts and not relative.startswith(_CANNOT_CHANGE_A_RESULT):
                digest.update(f"{relative}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def tree_digest(path: Path) -> str:
    """Hash a file, or all files of a folder with their relative names."""
    if not path.exists():
        raise ConfigError(f"There is nothing at {path}.", hint="Give the path of a file or folder that exists.")
    files = [path] if path.is_file() else list(_files_below(path))
    return tree_hash({file.relative_to(path).as_posix(): sha256_of(file) for file in files})


def _files_below(folder: Path) -> Iterator[Path]:
    # Through links to folders, as readers go, but into no folder twice: a link may lead to where it lies.
    seen: set[str] = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        folders[:] = sorted(folders) if real not in seen else []
        yield from (path for name in files if real not in seen and (path := Path(parent, name)).is_file())
        seen.add(real)


def this_run(device: str = "cpu") -> dict[str, Any]:
    """Describe the machine, the software and the command of the script that runs, for its JSON."""
    return asdict(describe_environment(device=device, command=shlex.join(["python", *sys.argv])))


def describe_environment(*, device: str, command: str) -> Environment:
    """Describe this machine and software."""
    versions = library_versions()
    return Environment(
        modicum=modicum.__version__,
        python=platform.python_version(),
        torch=versions["torch"],
        numpy=versions["numpy"],
        platform=f"{platform.system()} {platform.machine()}",
        processor=_processor(),
        cores=os.cpu_count() or 1,
        device=_device_name(device),
        commit=_commit(),
        command=command,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _device_name(device: str) -> str:
    if not device.startswith("cuda"):
        return device
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})"


def _commit() -> str | None:
    """Give the commit of a checkout, with a plus sign when more than results differ; None for an installed package."""
    if not (_PACKAGE.parents[1] / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(_PACKAGE.parents[1]), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603

    try:
        changed = git("status", "--porcelain", "--", ".", ":!evidence/*.json")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None
