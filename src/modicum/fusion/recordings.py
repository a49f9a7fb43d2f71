"""Samples of several modalities, each with frames of its own number: what readers give and models are trained on.

What is valid is checked here, where samples enter; behind this door values and labels are finite and go together.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from modicum.errors import ConfigError, DataError

FloatArray: TypeAlias = npt.NDArray[np.float32]
IntArray: TypeAlias = npt.NDArray[np.int64]

_SPELLINGS = {
    "train": ("train", "training"),
    "valid": ("valid", "val", "validation", "dev", "devel", "development"),
    "test": ("test", "testing"),
}
_SPLITS = {spelling: split for split, spellings in _SPELLINGS.items() for spelling in spellings}


@dataclass(frozen=True, kw_only=True, slots=True)
class Ragged:
    """Frames of many samples, one behind the other.

    Args:
        values: all frames, float32, shape (sum of lengths, size).
        lengths: frames of each sample, int64, shape (samples,); a sample with none lacks this modality.

    Raises:
        DataError: if there are more or fewer frames than the lengths say.
    """

    values: FloatArray
    lengths: IntArray

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or len(self.values) != self.lengths.sum() or (self.lengths < 0).any():
            raise DataError(
                f"{self.lengths.sum()} frames were expected by their lengths, but the array has the shape "
                f"{self.values.shape}.",
                hint="Give one row a frame, and no length below 0.",
            )

    @classmethod
    def of(cls, samples: Sequence[npt.ArrayLike], size: int) -> Self:
        """Join arrays of shape (frames, size); one of no frames stands for an absent modality."""
        arrays = [np.asarray(sample, dtype=np.float32).reshape(-1, size) for sample in samples]
        values = np.concatenate(arrays) if arrays else np.empty((0, size), np.float32)
        return cls(values=values, lengths=np.array([len(array) for array in arrays], dtype=np.int64))

    def __len__(self) -> int:
        """Count the samples."""
        return len(self.lengths)

    def __getitem__(self, sample: int) -> FloatArray:
        """Give the frames of one sample, shape (frames, size)."""
        end = int(self.lengths[: sample + 1].sum())
        return self.values[end - int(self.lengths[sample]) : end]

    @property
    def size(self) -> int:
        """Values of a frame."""
        return self.values.shape[1]

    def take(self, samples: npt.ArrayLike) -> Ragged:
        """Give some samples, in the order asked for."""
        ends = self.lengths.cumsum()
        chosen = np.asarray(samples, dtype=np.int64)
        parts = [self.values[ends[sample] - self.lengths[sample] : ends[sample]] for sample in chosen]
        return Ragged(values=np.concatenate([self.values[:0], *parts]), lengths=self.lengths[chosen])


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Recordings:
    """Samples of one split.

    Args:
        ids: a name for each sample, such as "video[3]".
        streams: the modalities by name, all of as many samples, their values finite.
        words: of each sample, where there is text; else None.
        labels: finite float32 targets, shape (samples,) or (samples, targets); int64 for classes; None if there are
            none.
        classes: their names, where labels are classes.
        groups: what must not be split between training and test, such as the video; empty if there is nothing.
        replaced: values by stream that were not finite in the file, and are 0 here.

    Raises:
        DataError: if a part has another number of samples than there are ids, or a value or label is not finite.
    """

    ids: tuple[str, ...]
    streams: Mapping[str, Ragged]
    words: tuple[tuple[str, ...], ...] | None = None
    labels: FloatArray | IntArray | None = None
    classes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    replaced: Mapping[str, int] = field(default_factory=dict[str, int])

    def __post_init__(self) -> None:
        parts = {**self.streams, "words": self.words, "labels": self.labels, "groups": self.groups or None}
        for name, part in parts.items():
            if part is not None and len(part) != len(self.ids):
                hint = "Give each sample its part; a modality that it lacks has 0 frames."
                raise DataError(f"There are {len(self.ids)} samples, but {name} has {len(part)}.", hint=hint)
        for name, stream in self.streams.items():
            rows = np.flatnonzero(~np.isfinite(stream.values).all(axis=1))
            if len(rows):
                first = self.ids[int(np.searchsorted(stream.lengths.cumsum(), rows[0], side="right"))]
                raise DataError(
                    f"{len(rows)} frames of {name} have a value that is not finite, the first in {first}."
                    if len(rows) > 1
                    else f"A frame of {name} has a value that is not finite, in {first}.",
                    hint="Replace such values by 0 where they are read, and say so.",
                )
        if self.labels is not None:
            bad = np.flatnonzero(~np.isfinite(self.labels).all(axis=tuple(range(1, self.labels.ndim))))
            if len(bad):
                raise DataError(
                    f"The label of {self.ids[bad[0]]} is {self.labels[bad[0]]}, not a finite number.",
                    hint="Correct it, or leave the sample out.",
                )

    def __len__(self) -> int:
        """Count the samples."""
        return len(self.ids)

    @property
    def shape(self) -> tuple[int, int]:
        """Count the samples and the streams; with `__getitem__` it is what scikit-learn splits samples by."""
        return len(self), len(self.streams)

    def __getitem__(self, samples: Any) -> Recordings:
        """Give samples as an array gives rows: by integers, a mask or a slice; one integer gives one sample."""
        if isinstance(samples, tuple):  # of scikit-learn: rows, and all that is in them
            samples = cast("tuple[Any, ...]", samples)[0]
        return self.take(np.atleast_1d(np.arange(len(self))[samples]))

    def describe(self) -> dict[str, Any]:
        """Give counts and sizes as what JSON can hold."""
        streams = {
            name: {
                "size": stream.size,
                "frames": [int(stream.lengths.min()), int(stream.lengths.max())] if len(stream) else [0, 0],
                "absent": int((stream.lengths == 0).sum()),
            }
            for name, stream in self.streams.items()
        }
        known = {"words": self.words is not None, "classes": list(self.classes), "labelled": self.labels is not None}
        return {"samples": len(self), "streams": streams, **known}

    def __repr__(self) -> str:
        """Say how many samples there are, and of what."""
        streams = ", ".join(f"{name} of {stream.size} values" for name, stream in self.streams.items()) or "no streams"
        labels = f"classes {', '.join(self.classes)}" if self.classes else "labels"
        labels = "no labels" if self.labels is None else labels
        return f"Recordings({len(self):,} samples: {streams}{'' if self.words is None else ', words'}; {labels})"

    @classmethod
    def from_arrays(
        cls,
        streams: Mapping[str, npt.ArrayLike],
        *,
        lengths: Mapping[str, npt.ArrayLike] | None = None,
        groups: npt.ArrayLike | None = None,
        ids: Sequence[str] | None = None,
        labels: npt.ArrayLike | None = None,
    ) -> Recordings:
        """Take arrays apart into the frames that each sample has.

        Args:
            streams: by name, each of shape (n, frames, size).
            lengths: frames of each sample by stream, shape (n,); without them all are the sample's, and 0 is a stream
                that the sample lacks.
            groups: what stays on one side of a split, shape (n,).
            ids: of the samples; None names them by their row.
            labels: integers are classes, others targets, shape (n,) or (n, targets).

        Returns:
            The recordings, which scikit-learn can split: ``cross_val_score(CubeMLPRegressor(), recordings, y)``.

        Raises:
            DataError: if shapes disagree, or what should be numbers is not, such as names of classes.
        """
        arrays = {name: _floats(f"The stream {name!r}", values) for name, values in streams.items()}
        if unknown := sorted((lengths or {}).keys() - arrays.keys()):
            raise DataError(
                f"There are lengths of {', '.join(unknown)}, but the streams are {', '.join(arrays) or 'none'}.",
                hint="Give the stream, or leave its lengths out.",
            )
        parts = {name: _ragged(name, values, (lengths or {}).get(name)) for name, values in arrays.items()}
        count = max((len(part) for part in parts.values()), default=0)
        return cls(
            ids=tuple(f"row {place}" for place in range(count)) if ids is None else tuple(map(str, ids)),
            streams=parts,
            labels=None if labels is None else _labels(labels),
            groups=() if groups is None else tuple(str(group) for group in np.asarray(groups)),
        )

    def take(self, samples: npt.ArrayLike) -> Recordings:
        """Give some samples, in the order asked for."""
        chosen = np.asarray(samples, dtype=np.int64)
        return replace(
            self,
            ids=tuple(self.ids[sample] for sample in chosen),
            streams={name: stream.take(chosen) for name, stream in self.streams.items()},
            words=None if self.words is None else tuple(self.words[sample] for sample in chosen),
            labels=None if self.labels is None else self.labels[chosen],
            groups=tuple(self.groups[sample] for sample in chosen) if self.groups else (),
        )


def _floats(what: str, values: npt.ArrayLike, hint: str = "Give arrays of one shape, without text.") -> FloatArray:
    try:
        return np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what} should be an numeric array ({error}).", hint=hint) from error


def _labels(given: npt.ArrayLike) -> FloatArray | IntArray:
    hint = "Give targets as floats and classes as integers: np.unique(labels, return_inverse=True)[1]."
    floats = _floats("labels", given, hint)
    told: npt.NDArray[Any] = np.asarray(given)
    if told.dtype.kind in "SU":  # digits in text, which are as likely classes as targets
        raise DataError(f"labels should be an numeric array, got text, the first {told.flat[0]!r}.", hint=hint)
    return told.astype(np.int64) if told.dtype.kind in "iu" else floats


def _ragged(name: str, values: npt.NDArray[np.float32], lengths: npt.ArrayLike | None) -> Ragged:
    if values.ndim != 3:
        hint = "Give one frame, values[:, None], where there is no time."
        raise DataError(f"The stream {name!r} has the shape {values.shape}, expected (n, frames, size).", hint=hint)
    count, frames, _ = values.shape
    counts = np.full(count, frames) if lengths is None else np.asarray(lengths)
    if counts.shape != (count,) or counts.dtype.kind not in "iu" or ((counts < 0) | (counts > frames)).any():
        hint = "Give the frames of each sample."
        raise DataError(f"The lengths of {name!r} should be {count} integers from 0 to {frames}.", hint=hint)
    return Ragged(values=values[np.arange(frames) < counts[:, None]], lengths=counts.astype(np.int64))


def make_finite(stream: Ragged) -> tuple[Ragged, int]:
    """Put 0 in the place of each NaN and infinity, as COVAREP has where there is no voice, and count them."""
    # A stream none of whose values is finite in a sample says nothing of it, and has 0 frames there afterwards.
    good = np.isfinite(stream.values)
    count = int(good.size - np.count_nonzero(good))
    if count == 0:
        return stream, 0
    sample_of_frame = np.repeat(np.arange(len(stream)), stream.lengths)
    known = np.zeros(len(stream), dtype=bool)
    known[sample_of_frame[good.any(axis=1)]] = True
    values = np.where(good, stream.values, np.float32(0))[known[sample_of_frame]]
    return Ragged(values=values, lengths=np.where(known, stream.lengths, 0)), count


def split_called(name: str) -> str | None:
    """Tell of which split "train", "valid" or "test" a name is a spelling; None if of none."""
    return _SPLITS.get(name.strip().lower())


def by_role(splits: Mapping[str, Recordings]) -> tuple[Recordings, Recordings | None, Recordings | None]:
    """Tell what to train on, to choose the epoch by, and to score."""
    named: dict[str, Recordings] = {}
    for name, part in splits.items():
        role = "train" if len(splits) == 1 else split_called(name) or name
        if role in named:
            raise DataError(f"There are two splits of {role}, and one of them is {name}.", hint="Keep one of them.")
        named[role] = part
    if "train" not in named:
        raise DataError(
            f"There are the splits {', '.join(named) or 'none'}, and which to train on is not given.",
            hint="Name one of them train.",
        )
    if unused := [name for name in splits if len(splits) > 1 and split_called(name) is None]:
        named_so = ", ".join(unused)
        warnings.warn(f"Not used, since they are no split to train, choose or score by: {named_so}.", stacklevel=2)
    for name in ("train", "valid", "test"):
        if name in named:
            _check_role(name, named[name], named["train"])
    return named["train"], named.get("valid"), named.get("test")


def check_classes(name: str, part: Recordings, training: Recordings) -> None:
    """Refuse labels of other classes than those of training."""
    if part.labels is not None and part.classes != training.classes:
        raise ConfigError(
            f"The classes of {name} are {', '.join(part.classes) or 'none'}, those of train "
            f"{', '.join(training.classes) or 'none'}.",
            hint="Give labels of the same classes in the same order.",
        )


def _check_role(name: str, part: Recordings, training: Recordings) -> None:
    if not len(part):
        raise DataError(f"The split {name} has no sample.", hint="Leave it out, or give it samples.")
    if part.labels is None and name != "test":
        raise DataError(f"The split {name} has no labels to learn from.", hint="Give one for each sample.")
    sizes = [{stream: it.size for stream, it in recordings.streams.items()} for recordings in (part, training)]
    if sizes[0] != sizes[1]:
        own, trained = (", ".join(f"{name} of {size} values" for name, size in it.items()) or "none" for it in sizes)
        hint = "Give all splits the same streams; one that a sample lacks has 0 frames there."
        raise ConfigError(f"The split {name} has the streams {own}, and train {trained}.", hint=hint)
    check_classes(name, part, training)
