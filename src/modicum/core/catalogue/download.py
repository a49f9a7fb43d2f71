"""Fetch one public address into one file, proved or not at all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from modicum.core.catalogue.checksums import sha256_of
from modicum.core.catalogue.places import make_folder
from modicum.errors import ChecksumError, MissingDataError

# Ours. One more attempt gets over a broken connection; a machine without network should hear of it soon.
_RETRIES = 1
_TIMEOUT = 30.0


def download(address: str, target: Path, *, sha256: str | None, name: str) -> None:
    """Fetch an address, unless ``target`` is right already. ``target`` appears whole and checked."""
    import pooch as untyped  # pyright: ignore[reportMissingTypeStubs]

    pooch = cast("Any", untyped)
    make_folder(target.parent)
    downloader = _Downloader(pooch.HTTPDownloader(timeout=_TIMEOUT))
    registry = pooch.create(
        path=target.parent,
        base_url="",
        registry={target.name: sha256 and f"sha256:{sha256}"},
        urls={target.name: address},
        retry_if_failed=_RETRIES,
    )
    try:
        with _quiet(pooch.get_logger()):
            registry.fetch(target.name, downloader=downloader)
    # requests, which pooch calls, derives all of its exceptions from OSError. The chain is cut: it tells nothing more.
    except OSError as error:
        proof = f", check that its SHA-256 is {sha256}," if sha256 else ""
        raise MissingDataError(
            f"{name} needs {address}, which is neither in MODICUM_DATA nor in the cache and could not be fetched "
            f"({_reason(error)}).",
            hint=f"Fetch it on a connected machine{proof} and save it as {target}, or set MODICUM_DATA to a folder "
            f"that holds {name}.",
        ) from None
    except ValueError:
        raise ChecksumError(
            f"{address} should have the SHA-256 {sha256}, but what came for {target} has {downloader.found}.",
            hint="Fetch again later or over another connection; if it stays, the public file was changed.",
        ) from None


class _Downloader:
    """pooch's downloader, which also remembers the hash of what came."""

    def __init__(self, inner: Callable[[str, str, object], None]) -> None:
        self._inner = inner
        self.found = "none"

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        self._inner(url, output_file, pooch)
        self.found = sha256_of(Path(output_file))


@contextmanager
def _quiet(logger: logging.Logger) -> Generator[None]:
    # pooch writes "Downloading data from ..." to stderr; progress belongs to the command line.
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _reason(error: OSError) -> str:
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP status {response.status_code}"
    return error.strerror or type(error).__name__
