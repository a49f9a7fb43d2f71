"""A report as files in a folder: whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from modicum.core.report.markdown import markdown
from modicum.core.report.model import Report, dump
from modicum.core.report.page import page
from modicum.errors import ConfigError


def write(reports: Sequence[Report], folder: Path) -> Path:
    """Write reports as ``report.json``, ``report.md`` and ``report.html``.

    Args:
        reports: the answers, in the order in which they are to be read.
        folder: made if it is missing; files of the same names are replaced.

    Returns:
        The path of the HTML page, which is the one to open.

    Raises:
        ConfigError: if the folder cannot be made or written. Files that were there are then still whole.
    """
    texts = {"report.json": dump(reports), "report.md": markdown(reports), "report.html": page(reports)}
    # Beside their final names, because a rename is atomic only within one file system.
    unfinished = {folder / f".{name}.{os.getpid()}.part": folder / name for name in texts}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for part, text in zip(unfinished, texts.values(), strict=True):
            part.write_bytes(text.encode())
        for part, path in unfinished.items():
            part.replace(path)
    except OSError as error:
        raise ConfigError(
            f"A report needs a folder to be written to, but {folder} is not usable ({error.strerror}).",
            hint="Name a folder that you may write to with --out, on a disk with room.",
        ) from error
    finally:
        if folder.is_dir():
            for part in unfinished:
                part.unlink(missing_ok=True)
    return folder / "report.html"
