"""What the commands of fusion share: a file of recordings, and one of its splits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modicum.cli.console import say
from modicum.errors import ConfigError

if TYPE_CHECKING:
    from modicum.fusion.readers.opening import Opened
    from modicum.fusion.recordings import Recordings

__all__ = ["FormatOption", "Gigabytes", "Model", "Source", "Split", "opened", "split_of"]

Source = Annotated[
    Path,
    typer.Argument(
        help="What convert wrote; a pickle of MMSA, MulT, MISA or CubeMLP, .csd files, AVEC; or mosi-features."
    ),
]
Model = Annotated[Path, typer.Option("--model", help="Folder that train wrote.")]
Split = Annotated[str | None, typer.Option(help="Split of the source; test, or the only one.")]
Gigabytes = Annotated[float, typer.Option("--max-gigabytes", help="The largest file that is read.")]
FormatOption = Annotated[str, typer.Option("--format", help="Of the source; auto recognises it.")]

_CATALOGUE = ("mosi-features",)


def opened(source: Path, format: str = "auto", gigabytes: float = 1.0) -> Opened:  # noqa: A002 - as the option
    """Read a source, and tell what its reader found; a data set of the catalogue is fetched by its name."""
    from modicum.fusion.readers.opening import open_recordings

    max_bytes = int(gigabytes * 2**30)
    if not source.exists() and str(source) in _CATALOGUE:
        from modicum.core import catalogue

        source = catalogue.fetch(str(source))
    found = open_recordings(source, format, max_bytes=max_bytes)  # type: ignore[arg-type] - it checks the name
    for note in found.notes:
        say(note)
    for name, recordings in found.splits.items():
        for stream, count in recordings.replaced.items():
            if count:
                say(f"{name}, {stream}: {count:,} values were not finite and are 0.")
    return found


def split_of(found: Opened, name: str | None) -> Recordings:
    """Choose a split.

    Args:
        found: a source.
        name: of the split; None takes the test split, or the only one.

    Raises:
        ConfigError: if there is none of that name, or several to choose from.
    """
    splits = found.splits
    chosen = name or ("test" if "test" in splits else next(iter(splits)) if len(splits) == 1 else None)
    if chosen is None or chosen not in splits:
        raise ConfigError(
            f"There is no split {chosen!r}." if chosen else "The source has several splits.",
            mend=f"Write --split with one of: {', '.join(splits)}.",
        )
    return splits[chosen]
