"""The pickles of MulT and MultiBench: padded arrays of features, aligned to words or not, as a rule at the front."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from modicum.core.safeload.limits import MAX_BYTES
from modicum.errors import DataError
from modicum.fusion.readers.fields import Say, entries, finished, load, names_of, scores, silent, splits_in
from modicum.fusion.readers.mmsa import ragged_streams
from modicum.fusion.recordings import Recordings

__all__ = ["parse_mult", "read_mult"]

_SPAN = (-3.0, 3.0)


def read_mult(path: Path, *, say: Say = silent, max_bytes: int = MAX_BYTES) -> dict[str, Recordings]:
    """Read a pickle of MulT or MultiBench.

    The side of the padding is found in the arrays. In an aligned file (as many frames in all streams) frames stay with
    their word. A stream that is zero throughout in a sample is absent there.

    Args:
        path: such as mosi_data.pkl or mosei_senti_data_noalign.pkl.
        say: is told on which side the file is padded, and what was replaced.
        max_bytes: the largest file that is read.

    Returns:
        By split; labels are the scores from -3 to 3. The first part of an id that has several is the video, the group.

    Raises:
        DataError: if an array is missing or of another shape, or a score is off the scale.
        UnsafeFileError: if the pickle has code in it, or is too large.
    """
    return parse_mult(load(path, max_bytes=max_bytes), path, say=say)


def parse_mult(content: object, path: Path, *, say: Say = silent) -> dict[str, Recordings]:
    """Do what `read_mult` does with a pickle that is loaded."""
    splits = splits_in(entries(content, (), path), path)
    return {name: _split(part, f"{path}, {name}", say) for name, part in splits.items()}


def _split(part: object, where: str, say: Say) -> Recordings:
    table = entries(part, ["text", "audio", "vision", "labels"], where)
    labels = np.asarray(table["labels"])
    if labels.size != len(labels):
        raise DataError(
            f"{where}, labels, has the shape {labels.shape}, not (samples, 1, 1).",
            mend="Only files with one score for each sample are read, such as those of MOSI and MOSEI.",
        )
    if "id" in table:
        ids = names_of(table["id"])
        groups = tuple(name.split("[")[0] for name in names_of([np.ravel(row)[:1] for row in np.asarray(table["id"])]))
    else:
        ids, groups = tuple(map(str, range(len(labels)))), ()
    recordings = Recordings(
        ids=ids,
        streams=ragged_streams(table, ("text", "audio", "video"), where, say),
        labels=scores(labels, _SPAN, f"{where}, labels"),
        groups=groups,
    )
    return finished(recordings, where, say)
