"""Values that are not finite: COVAREP writes -inf where there is no voice, and NaN where it fails."""

from __future__ import annotations

import dataclasses

import numpy as np

from modicum.fusion.recordings import Ragged, Recordings


def make_finite(recordings: Recordings) -> Recordings:
    """Put 0 in the place of each NaN and infinity, and count them."""
    # A stream none of whose values is finite in a sample says nothing of it, and has 0 frames there afterwards.
    done = {name: make_frames_finite(stream) for name, stream in recordings.streams.items()}
    counts = {name: count + recordings.replaced.get(name, 0) for name, (_, count) in done.items()}
    return dataclasses.replace(
        recordings,
        streams={name: stream for name, (stream, _) in done.items()},
        replaced={name: count for name, count in counts.items() if count},
    )


def make_frames_finite(stream: Ragged) -> tuple[Ragged, int]:
    """Do for one stream what `make_finite` does for all."""
    good = np.isfinite(stream.values)
    count = int(good.size - np.count_nonzero(good))
    if count == 0:
        return stream, 0
    sample_of_frame = np.repeat(np.arange(len(stream)), stream.lengths)
    telling = np.zeros(len(stream), dtype=bool)
    telling[sample_of_frame[good.any(axis=1)]] = True
    values = np.where(good, stream.values, np.float32(0))[telling[sample_of_frame]]
    return Ragged(values=values, lengths=np.where(telling, stream.lengths, 0)), count
