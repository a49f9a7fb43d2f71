"""A network that a file describes is not built larger than the weights next to the description can fill."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident
from typing import Any

from modicum.errors import ModelError

_LARGEST = 1 << 20  # ours: what any configuration may hold, such as a base of rotary positions


@contextmanager
def bounded_build(path: Path, *, hint: str) -> Generator[None]:
    """Stop a network that asks for more parameters than its file, or the files of its folder, have bytes."""
    if not path.exists():  # the name of a model elsewhere
        yield
        return
    from torch.nn.modules.module import register_module_parameter_registration_hook

    files = [path] if path.is_file() else [file for file in path.iterdir() if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    # A number of labels becomes a dictionary before there is any parameter.
    for name, value in _integers(path / "config.json"):
        if abs(value) > max(size, _LARGEST):
            raise ModelError(f"config.json in {path} says {name} {value}, for weights of {size:,} bytes.", hint=hint)
    # One that is replaced, as by the loaded one, counts once.
    seen: set[tuple[int, str]] = set()
    asked, thread = 0, get_ident()

    def count(module: object, name: str, parameter: Any) -> None:
        nonlocal asked
        if parameter is None or get_ident() != thread or (id(module), name) in seen:
            return
        seen.add((id(module), name))
        asked += parameter.numel()
        if asked > size:
            raise ModelError(
                f"{path} cannot be read: its description asks for {asked:,} parameters or more, its weights have "
                f"{size:,} bytes.",
                hint=hint,
            )

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def _integers(path: Path) -> Iterator[tuple[str, int]]:
    try:
        left: list[tuple[str, Any]] = [("", json.loads(path.read_bytes()))]
    except (OSError, ValueError, RecursionError):  # whoever opens it says so
        return
    while left:
        name, value = left.pop()
        if isinstance(value, dict):
            left += value.items()  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        elif isinstance(value, list):
            left += [(name, part) for part in value]  # pyright: ignore[reportUnknownVariableType]
        elif isinstance(value, int):
            yield name, value
