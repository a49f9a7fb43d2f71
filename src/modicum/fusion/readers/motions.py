"""BasicMotions: accelerometer and gyroscope of a watch while somebody stands, walks, runs or plays badminton."""

from __future__ import annotations

from typing import Any

import numpy as np

from modicum.core.extras import require
from modicum.fusion.recordings import Ragged, Recordings

_STREAMS = {"accelerometer": slice(0, 3), "gyroscope": slice(3, 6)}


def read_motions() -> dict[str, Recordings]:
    """Read BasicMotions (UEA archive) out of the wheel of sktime."""
    datasets: Any = require("sktime.datasets", extra="fusion", purpose="BasicMotions")
    loaded = {split: datasets.load_basic_motions(split, return_type="numpy3d") for split in ("train", "test")}
    classes = tuple(sorted({str(name) for _, names in loaded.values() for name in names}))
    splits: dict[str, Recordings] = {}
    for split, (series, names) in loaded.items():
        frames = np.moveaxis(series, 1, 2).astype(np.float32)
        streams = {name: Ragged.of(list(frames[:, :, axes]), 3) for name, axes in _STREAMS.items()}
        labels = np.array([classes.index(str(name)) for name in names], dtype=np.int64)
        ids = tuple(f"{split}[{place}]" for place in range(len(labels)))
        splits[split] = Recordings(ids=ids, streams=streams, labels=labels, classes=classes)
    return splits
