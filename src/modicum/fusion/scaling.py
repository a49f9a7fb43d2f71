"""Features brought to mean 0 and std 1, by what the training split says of them and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from modicum.errors import ConfigError, DataError
from modicum.fusion.recordings import FloatArray, Ragged, Recordings


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaling:
    """Mean and std of each feature of each stream."""

    means: Mapping[str, FloatArray]  # by stream, shape (size,)
    deviations: Mapping[str, FloatArray]  # by stream, shape (size,)

    @classmethod
    def fit(cls, recordings: Recordings) -> Self:
        """Measure the frames of a training split; a sample that lacks a stream has none there."""
        moments = {name: _moments(name, stream) for name, stream in recordings.streams.items()}
        return cls(
            means={name: mean for name, (mean, _) in moments.items()},
            deviations={name: deviation for name, (_, deviation) in moments.items()},
        )

    def apply(self, recordings: Recordings) -> Recordings:
        """Scale recordings."""
        if recordings.streams.keys() != self.means.keys():
            raise ConfigError(
                f"The streams are {', '.join(sorted(recordings.streams)) or 'none'}, but the scaling was measured on "
                f"{', '.join(sorted(self.means)) or 'none'}.",
                hint="Give the streams that the system was trained on; one that is absent has 0 frames.",
            )
        return replace(
            recordings, streams={name: self._scaled(name, stream) for name, stream in recordings.streams.items()}
        )

    def _scaled(self, name: str, stream: Ragged) -> Ragged:
        mean = self.means[name]
        if stream.size != len(mean):
            raise ConfigError(
                f"A frame of {name} has {stream.size} values, but the scaling was measured on {len(mean)}.",
                hint="Extract the features as for training.",
            )
        return Ragged(values=(stream.values - mean) * self.factors(name), lengths=stream.lengths)

    def factors(self, name: str) -> FloatArray:
        """Give 1 / std of each feature of a stream, and 0 for one that never changes, shape (size,)."""
        deviation = self.deviations[name]
        return np.divide(1, deviation, out=np.zeros_like(deviation), where=deviation >= np.finfo(np.float32).tiny)

    def to_lists(self) -> dict[str, Any]:
        """Give what JSON can hold, to the last bit."""
        parts = {"means": self.means, "deviations": self.deviations}
        return {part: {name: values.tolist() for name, values in table.items()} for part, table in parts.items()}

    @classmethod
    def from_lists(cls, lists: Lists) -> Self:
        """Make one of what `to_lists` gave."""
        sizes = [{name: len(values) for name, values in table.items()} for table in (lists.means, lists.deviations)]
        if sizes[0] != sizes[1]:
            raise DataError(
                f"The means of a scaling have the sizes {sizes[0]}, its stds {sizes[1]}.",
                hint="Give a complete file.",
            )
        return cls(means=_arrays(lists.means), deviations=_arrays(lists.deviations))


@dataclass(frozen=True, kw_only=True, slots=True)
class Lists:
    """A scaling as JSON holds it."""

    means: dict[str, list[float]]
    deviations: dict[str, list[float]]


def _arrays(table: Mapping[str, Sequence[float]]) -> dict[str, FloatArray]:
    return {name: np.array(values, dtype=np.float32) for name, values in table.items()}


def _moments(name: str, stream: Ragged) -> tuple[FloatArray, FloatArray]:
    values = stream.values
    if not len(values):
        raise DataError(f"No sample of the training split has a frame of {name}.", hint="Leave the stream out.")
    mean, deviation = values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64)
    # The deviation of a constant is not exactly 0, as its mean is rounded.
    deviation[values.min(axis=0) == values.max(axis=0)] = 0
    return mean.astype(np.float32), deviation.astype(np.float32)
