"""The pickles of MulT and MultiBench: padded arrays of features, aligned to words or not, as a rule at the front."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from modicum.core.safeload.limits import MAX_BYTES
from modicum.fusion.readers.fields import (
    Say,
    entries,
    finished,
    group_of,
    load,
    names_of,
    rows_of,
    scores,
    silent,
    splits_in,
)
from modicum.fusion.readers.mmsa import ragged_streams
from modicum.fusion.recordings import Recordings

_SPAN = (-3.0, 3.0)


def read_mult(path: Path, *, say: Say = silent, max_bytes: int = MAX_BYTES) -> dict[str, Recordings]:
    """Read a pickle of MulT or MultiBench."""
    # The side of the padding is found in the arrays. In an aligned file (as many frames in all streams) frames stay
    # with their word. A stream that is zero throughout in a sample is absent there.
    return parse_mult(load(path, max_bytes=max_bytes), path, say=say)


def parse_mult(content: object, path: Path, *, say: Say = silent, clip: bool = False) -> dict[str, Recordings]:
    """Do what `read_mult` does with a pickle that is loaded."""
    splits = splits_in(entries(content, (), path), path, say)
    return {name: _split(part, f"{path}, {name}", say, clip=clip) for name, part in splits.items()}


def _split(part: object, where: str, say: Say, *, clip: bool) -> Recordings:
    table = entries(part, ["text", "audio", "vision", "labels"], where)
    labels = scores(table["labels"], _SPAN, f"{where}, labels", clip=clip, say=say)
    names = rows_of(table.get("id", [f"{place}" for place in range(len(labels))]), f"{where}, id")
    ids = names_of(names, f"{where}, id")
    videos = names_of([np.ravel(np.asarray(name, dtype=object))[:1] for name in names], f"{where}, id")
    recordings = Recordings(
        ids=ids,
        streams=ragged_streams(table, ("text", "audio", "video"), where, say),
        labels=labels,
        groups=tuple(map(group_of, videos)) if "id" in table else (),
    )
    return finished(recordings, where, say)
