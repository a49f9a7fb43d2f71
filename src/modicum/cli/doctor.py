"""``modicum doctor``: what is here, what is missing, and what to do about it."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

import typer

from modicum.cli.common import Json, out, print_json

_COLLECTIONS = {"all", "demo", "dev"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str  # that was looked at
    state: Literal["ok", "missing", "wrong"]  # "ok", "missing" (an optional thing is not there) or "wrong"
    found: str  # in a few words
    hint: str = ""  # what to do; empty when nothing has to be done


def doctor(*, json: Json = False) -> None:
    """Look at this installation: libraries, extras, data and machine."""
    python = Finding("python", "ok", platform.python_version())
    found = [python, _torch(), *_extras(), _data_folder(), _cache()]
    if json:
        print_json([asdict(finding) for finding in found])
    else:
        from rich.table import Table

        table = Table("what", "state", "found", "hint", box=None, pad_edge=False)
        for finding in found:
            table.add_row(finding.what, finding.state, finding.found, finding.hint)
        out().print(table)
    if any(finding.state == "wrong" for finding in found):
        raise typer.Exit(1)


def _torch() -> Finding:
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return Finding("torch", "ok", f"{torch.__version__}, {os.cpu_count()} cores, GPUs: {', '.join(gpus) or 'none'}")


def _extras() -> Iterator[Finding]:
    from importlib.metadata import requires  # slow to import, and for this command alone

    from modicum.core.environment import installed_version

    wanted: dict[str, list[str]] = {}
    for requirement in requires("modicum") or []:
        match = re.match(r"([\w.-]+).*extra == ['\"](\w+)['\"]", requirement)
        if match and match[2] not in _COLLECTIONS:
            wanted.setdefault(match[2], []).append(match[1])
    for extra, libraries in sorted(wanted.items()):
        absent = [name for name in libraries if installed_version(name) is None]
        if absent:
            yield Finding(f"extra {extra}", "missing", f"no {', '.join(absent)}", f"pip install 'modicum[{extra}]'")
        else:
            yield Finding(f"extra {extra}", "ok", "complete")


def _data_folder() -> Finding:
    from modicum.core import catalogue
    from modicum.errors import ConfigError

    if not os.environ.get("MODICUM_DATA"):
        hint = "set it to a folder of data sets, or let modicum data fetch download them"
        return Finding("MODICUM_DATA", "missing", "not set", hint)
    try:
        here = [name for name in catalogue.names() if catalogue.status(name) == "here"]
    except ConfigError as error:
        return Finding("MODICUM_DATA", "wrong", error.what, error.hint)
    return Finding("MODICUM_DATA", "ok", f"{len(here)} of {len(catalogue.names())} data sets")


def _cache() -> Finding:
    from modicum.core.catalogue.store import cache_folder

    folder = cache_folder()  # without a look at MODICUM_DATA, which has a row of its own
    parent = next(each for each in (folder, *folder.parents) if each.exists())
    if os.access(parent, os.W_OK) and parent.is_dir():
        return Finding("cache", "ok", str(folder))
    return Finding("cache", "wrong", f"{folder} cannot be written", "set MODICUM_CACHE to a folder that can")
