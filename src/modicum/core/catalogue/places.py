"""Where data sets lie on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from modicum.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """The two folders that data sets are read from."""

    data: Path | None  # the user's own collection, read first and never written
    cache: Path  # ours; made when something is put in it


def places_from_environment() -> Places:
    """Read ``MODICUM_DATA``, which must be a folder, and ``MODICUM_CACHE``; without the latter the system's cache."""
    data = os.environ.get("MODICUM_DATA")
    if data and not Path(data).is_dir():
        raise ConfigError(
            f"MODICUM_DATA must name a folder, but it is {data!r}.", hint="Set it to an existing folder, or unset it."
        )
    return Places(data=Path(data).absolute() if data else None, cache=cache_folder())


def make_folder(folder: Path) -> None:
    """Make a folder of the cache, with its parents, if it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"The cache folder {folder} cannot be made ({error.strerror}).",
            hint="Set MODICUM_CACHE to a folder that can be written.",
        ) from error


def cache_folder() -> Path:
    """Give the folder that ``MODICUM_CACHE`` names, or the system's place for caches."""
    if own := os.environ.get("MODICUM_CACHE"):
        return Path(own).absolute()
    import pooch  # pyright: ignore[reportMissingTypeStubs]

    return Path(pooch.os_cache("modicum"))
