"""What the commands of fusion share: a file of recordings, and one of its splits."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modicum.cli.console import say
from modicum.errors import ConfigError, DataError, UnsafeFileError

if TYPE_CHECKING:
    from modicum.fusion.ensemble import FusionEnsemble
    from modicum.fusion.readers.opening import Opened
    from modicum.fusion.recordings import Recordings


Source = Annotated[
    Path,
    typer.Argument(
        help="What convert wrote; a pickle of MMSA, MulT, MISA or CubeMLP, .csd files, AVEC; or mosi-features."
    ),
]
Model = Annotated[Path, typer.Option("--model", help="Folder that train wrote.")]
Split = Annotated[str | None, typer.Option(help="Split of the source; test, or the only one.")]
Gigabytes = Annotated[float, typer.Option("--max-gigabytes", help="The largest file that is read.")]
ClipLabels = Annotated[bool, typer.Option("--clip-labels", help="Clip sentiments beyond -3 and 3, as older MOSEI has.")]
FormatOption = Annotated[str, typer.Option("--format", help="Of the source; auto recognises it.")]

_CATALOGUE = ("mosi-features",)
_SILENT = {"mosi", "modicum"}  # the other readers tell themselves which values they replace


def opened(source: Path, format: str = "auto", gigabytes: float = 1.0, *, clip: bool = False) -> Opened:  # noqa: A002
    """Read a source, and tell what its reader found; a data set of the catalogue is fetched by its name."""
    from modicum.core.safeload.limits import check_size
    from modicum.fusion.readers.opening import open_recordings

    if not 0 < gigabytes < math.inf:
        raise ConfigError(f"--max-gigabytes is {gigabytes}.", hint="Give a number above 0.")
    max_bytes = int(gigabytes * 2**30)
    if not source.exists() and str(source) in _CATALOGUE:
        from modicum.core import catalogue

        source = catalogue.fetch(str(source))
    try:
        if source.is_file():
            check_size(source, source.stat().st_size, max_bytes=max_bytes)
        found = open_recordings(source, format, max_bytes=max_bytes, clip_labels=clip)  # type: ignore[arg-type]
    except UnsafeFileError as error:
        if "max_bytes" not in error.hint:
            raise
        raise UnsafeFileError(error.what, hint="If you trust the file, write a larger --max-gigabytes.") from error
    for note in found.notes:
        say(note)
    for name, recordings in found.splits.items() if found.format in _SILENT else ():
        for stream, count in recordings.replaced.items():
            if count:
                say(f"{name}, {stream}: {count:,} values were not finite and are 0.")
    return found


def split_of(found: Opened, name: str | None) -> Recordings:
    """Choose a split."""
    splits = found.splits
    chosen = name or ("test" if "test" in splits else next(iter(splits)) if len(splits) == 1 else None)
    if chosen is None or chosen not in splits:
        raise ConfigError(
            f"There is no split {chosen!r}." if chosen else "The source has several splits.",
            hint=f"Write --split with one of: {', '.join(splits)}.",
        )
    if not len(splits[chosen]):
        raise DataError(f"The split {chosen} has no sample.", hint="Choose another with --split.")
    return splits[chosen]


def check_model(folder: Path) -> None:
    """See whether there is a folder, before torch is imported to read it."""
    if not folder.is_dir():
        raise ConfigError(f"There is no folder {folder}.", hint="Write --model with a folder that train wrote.")


def known_to(ensemble: FusionEnsemble, recordings: Recordings) -> Recordings:
    """Leave out, and tell, the streams that a model was not trained on."""
    scaled = next(iter(ensemble.systems.values())).scaling.means
    for name in (it for it in recordings.streams if it not in scaled):
        say(f"The model was trained without the features {name}: they are not used.")
    return replace(recordings, streams={name: it for name, it in recordings.streams.items() if name in scaled})
