"""Any file or folder that a reader knows, recognised by its name and what is in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, cast

import numpy as np

from modicum.core.safeload import load_pickle
from modicum.core.safeload.limits import MAX_BYTES
from modicum.errors import ConfigError, DataError
from modicum.fusion.readers.avec import label_files, read_avec
from modicum.fusion.readers.catalogue import read_mosi
from modicum.fusion.readers.common import Reading, split_in
from modicum.fusion.readers.csd import read_csd_folder
from modicum.fusion.readers.misa import parse_misa, parse_released
from modicum.fusion.readers.mmsa import parse_mmsa, parse_mult
from modicum.fusion.recordings import Recordings
from modicum.fusion.storage import is_stored, load_recordings

Format: TypeAlias = Literal["mmsa", "mult", "misa", "released", "csd", "avec", "mosi", "modicum"]

FORMATS: Mapping[Format, str] = {
    "mmsa": "a pickle of MMSA: splits with audio, vision, text and regression_labels",
    "mult": "a pickle of MulT or MultiBench: splits with audio, vision, text and labels",
    "misa": "pickles of MISA or MAG-BERT: lists of ((words, visual, acoustic), label, segment)",
    "released": "pickles of the released CubeMLP: lists of ([text, audio, video features], labels, segment)",
    "csd": "a .csd file of the CMU Multimodal SDK, or a folder of them",
    "avec": "a folder with CSV files of PHQ scores by split and a folder of features for each stream",
    "mosi": "the folder mosi-features of the catalogue",
    "modicum": "a .safetensors or .npz file that modicum wrote",
}

_HINT = "Give one of: " + "; ".join(f"{name} ({what})" for name, what in FORMATS.items()) + "."
_PICKLES = {".pkl", ".pickle"}
_PARSERS: Mapping[Format, Callable[[object, Path, Reading], dict[str, Recordings]]] = {
    **{"mmsa": parse_mmsa, "mult": parse_mult, "misa": parse_misa},
    "released": parse_released,
}
_READERS: Mapping[Format, Callable[[Path, Reading], dict[str, Recordings]]] = {
    "csd": read_csd_folder,
    "avec": read_avec,
    "mosi": read_mosi,
    "modicum": lambda path, how: load_recordings(path, max_bytes=how.max_bytes),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """What was found at a path."""

    format: Format  # in which it was
    splits: Mapping[str, Recordings]  # the recordings by split
    notes: tuple[str, ...] = ()  # sentences on what its reader found


def open_recordings(
    path: Path,
    format: Format | Literal["auto"] = "auto",  # noqa: A002 - as its users say
    *,
    max_bytes: int = MAX_BYTES,
    clip_labels: bool = False,
) -> Opened:
    """Read a file or folder in any of the formats that are known.

    Args:
        path: the file or folder.
        format: of `FORMATS`; "auto" recognises it.
        max_bytes: the largest file that is read.
        clip_labels: whether sentiments beyond -3 and 3, as older files of MOSEI have, are clipped instead of refused.

    Returns:
        Its recordings, its format, and what is to be known of them.

    Raises:
        ConfigError: if there is no such format.
        DataError: if it is in no format that is known, which are then listed, or broken.
        MissingExtraError: if a library is missing that its reader needs.
        UnsafeFileError: if a pickle has code in it, or a file is too large.
    """
    if format not in {"auto", *FORMATS}:
        raise ConfigError(f"There is no format {format!r}.", hint=f"Use auto or one of: {', '.join(FORMATS)}.")
    if not path.exists():
        raise DataError(f"{path} does not exist.", hint="Check the path.")
    notes: list[str] = []
    how = Reading(say=notes.append, clip=clip_labels, max_bytes=max_bytes)
    chosen = _by_name(path) if format == "auto" else format
    if chosen is not None and chosen in _READERS:
        return Opened(format=chosen, splits=_READERS[chosen](path, how), notes=tuple(notes))
    chosen, splits = _read_pickles(path, chosen, how)
    return Opened(format=chosen, splits=splits, notes=tuple(notes))


def _by_name(path: Path) -> Format | None:
    # None is for pickles, which must be read to be recognised.
    suffixes = {file.suffix for file in path.iterdir()} if path.is_dir() else {path.suffix}
    if ".csd" in suffixes:
        return "csd"
    if suffixes & _PICKLES:
        return None
    if path.is_dir() and (path / "transcripts.csv").is_file():
        return "mosi"
    if path.is_dir() and label_files(path, Reading().say):
        return "avec"
    if path.is_file() and is_stored(path):
        return "modicum"
    reason = f"ends in {path.suffix!r}" if path.is_file() else "is a folder without a file that is known"
    raise DataError(f"{path} is in no format that is known: it {reason}.", hint=_HINT)


def _read_pickles(path: Path, asked: Format | None, how: Reading) -> tuple[Format, dict[str, Recordings]]:
    """Read a pickle, or each of those in a folder."""
    files = sorted(file for file in path.iterdir() if file.suffix in _PICKLES) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path} has no file whose name ends in .pkl.", hint="Name the file, or its folder.")
    seen: list[Format] = []
    splits: dict[str, Recordings] = {}
    for file in files:
        # Of any age: in pickles of Python 2, texts and arrays are Latin-1.
        content = load_pickle(file, encoding="latin1", max_bytes=how.max_bytes)
        seen.append(asked or _by_content(content, file))
        found = _PARSERS[seen[-1]](content, file, how)
        if twice := splits.keys() & found.keys():
            raise DataError(f"{file} is one more file of {min(twice)!r} in its folder.", hint="Name one of them.")
        splits |= found
    if len(set(seen)) > 1:
        raise DataError(f"{path} has files of several formats: {', '.join(seen)}.", hint="Name one file.")
    return seen[0], splits


def _by_content(content: object, path: Path) -> Format:
    first: object = content
    if isinstance(content, dict) and content:
        parts = cast("dict[object, object]", content)
        first = next((part for name, part in parts.items() if split_in(str(name))), next(iter(parts.values())))
        if isinstance(first, dict):
            keys = set(cast("dict[object, object]", first))
            if any(str(key).startswith("regression_labels") for key in keys):
                return "mmsa"
            if {"vision", "labels"} <= keys:
                return "mult"
            if "id" in keys and keys & {"vision", "audio", "text"}:
                return "mmsa"
            kind = f"tables with {', '.join(map(repr, keys))}"
            raise DataError(f"{path} is in no format that is known: it is a pickle of {kind}.", hint=_HINT)
    if isinstance(first, list) and first:
        item = cast("list[object]", first)[0]
        if isinstance(item, list | tuple) and len(item) > 2 and isinstance(item[0], list | tuple) and len(item[0]) > 2:
            # MISA begins with words, the released code with a list of six features of the text.
            start = item[0][0]
            features = isinstance(start, list | tuple) and any(isinstance(part, np.ndarray) for part in start)
            return "released" if features else "misa"
    kind = f"a {type(content).__name__} that no reader knows"
    raise DataError(f"{path} is in no format that is known: it is a pickle of {kind}.", hint=_HINT)
