"""What the arms of the comparison learn from and are scored on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from modicum.core import catalogue
from modicum.core.method import Job
from modicum.core.seeding import legacy_seed, numpy_generator
from modicum.core.settings import refuse_idle
from modicum.core.splits import Among, at_rows, hold_out, shuffled
from modicum.errors import ConfigError, DataError
from modicum.fusion.configuration import COMPARISON, ComparisonSettings
from modicum.fusion.fitting import split_off
from modicum.fusion.metrics import concordance
from modicum.fusion.readers.catalogue import SYSTEMS, CesSequence, read_ces, read_mosi, read_motions, windows
from modicum.fusion.readers.opening import open_recordings
from modicum.fusion.recordings import FloatArray, Ragged, Recordings, by_role

_VALID, _TEST = 0.2, 0.3  # ours: shares of the videos, or of a user's samples
_NEIGHBOURS = 4  # utterances on each side of one, so that the cube has nine
_TRAINED_ON_LABELS = "svr"


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Three splits, and what is known of them."""

    train: Recordings  # to learn from
    valid: Recordings  # to choose the epoch by, and between arms
    test: Recordings  # what is scored
    fixed: bool = False  # whether the test split is the same for all seeds
    among: Among | None = None  # which samples it has, where seeds draw it from the same ones
    settings: dict[str, Any] = field(default_factory=dict[str, Any])  # of the configuration, that the task asks for
    estimates: int | None = None  # the frame of each stream that is itself an estimate of the labels

    def change(self, function: Any) -> Problem:
        """Do something to each split."""
        parts = {name: function(getattr(self, name)) for name in ("train", "valid", "test")}
        return replace(self, **parts)

    def score(self, predicted: FloatArray) -> float:
        """Score predictions of the test split."""
        return score(self.test, predicted)

    def items(self, predicted: FloatArray) -> list[float]:
        """Give the accuracy as a mean over videos or, without them, samples; none of estimates."""
        labels = np.asarray(self.test.labels)
        if self.among is not None:
            return at_rows(predicted.argmax(1) == labels, self.among)
        if not self.fixed or labels.dtype.kind not in "iu":
            return []
        _, video = np.unique(self.test.groups or range(len(labels)), return_inverse=True)
        right = np.bincount(video, weights=predicted.argmax(1) == labels)
        return (right * len(right) / len(labels)).tolist()


def score(recordings: Recordings, predicted: FloatArray) -> float:
    """Score predictions; see `Problem.score`."""
    labels = np.asarray(recordings.labels)
    if labels.dtype.kind in "iu":
        return float((predicted.argmax(1) == labels).mean())
    columns = zip(labels.reshape(len(labels), -1).T, predicted.reshape(len(labels), -1).T, strict=True)
    return float(np.mean([concordance(truth, found, variant="CES") for truth, found in columns]))


def setup(job: Job) -> Problem:
    """Read the data of a job, split what is not split, and add copies to the training split."""
    settings: ComparisonSettings = job.settings
    problem = _read(job, settings)
    labels = np.asarray(problem.train.labels)
    if labels.dtype.kind in "iu" and (labels == labels[0]).all():
        raise DataError(
            f"All training samples ({len(labels)}) are of one class.", hint="Give samples of two classes or more."
        )
    return replace(problem, train=shifted(problem.train, settings.shifts, seed=job.seed))


def _read(job: Job, settings: ComparisonSettings) -> Problem:
    if job.data is not None:
        refuse_idle(settings, COMPARISON[job.budget], ["task"], where="with --data, which is the task")
        return _fewer(_own(open_recordings(job.data).splits, job.seed), settings.labels, job.seed)
    if settings.task == "motions":
        return _drawn(join([*read_motions().values()]), settings.labels, job.seed)
    if settings.task == "mosi":
        splits = read_mosi(catalogue.fetch("mosi-features"))
        splits = {name: windows(part, _NEIGHBOURS, _NEIGHBOURS) for name, part in splits.items()}
        return _fewer(_own(splits, job.seed), settings.labels, job.seed)
    return _fewer(_parted(read_ces(catalogue.fetch("avec2019-ces")), job.seed), settings.labels, job.seed)


def join(parts: Sequence[Recordings]) -> Recordings:
    """Put recordings of the same streams one behind the other."""
    first = parts[0]
    streams: dict[str, Ragged] = {}
    for name in first.streams:
        values, lengths = zip(*((part.streams[name].values, part.streams[name].lengths) for part in parts), strict=True)
        streams[name] = Ragged(values=np.concatenate(values), lengths=np.concatenate(lengths))
    return replace(
        first,
        ids=tuple(name for part in parts for name in part.ids),
        streams=streams,
        words=None if first.words is None else tuple(text for part in parts for text in part.words or ()),
        labels=np.concatenate([np.asarray(part.labels) for part in parts]),
        groups=tuple(group for part in parts for group in part.groups),
    )


def shifted(recordings: Recordings, copies: int, *, seed: int) -> Recordings:
    """Add copies of each recording whose frames are rolled in a circle, by a drawn share of each stream's length."""
    draw = numpy_generator(seed, "shifts")

    def rolled() -> Recordings:
        shares = draw.random(len(recordings))  # the same for all streams of a recording, so that they stay together
        frames = lambda stream: [
            np.roll(stream[place], int(share * stream.lengths[place]), axis=0) for place, share in enumerate(shares)
        ]
        streams = {name: Ragged.of(frames(stream), stream.size) for name, stream in recordings.streams.items()}
        return replace(recordings, streams=streams)

    return join([recordings, *(rolled() for _ in range(copies))])


def shuffle(problem: Problem, name: str, *, seed: int) -> Problem:
    """Give one stream to other samples of the same split."""
    # Samples that lack it go on lacking it: no other could be left without any stream.
    if name not in problem.train.streams:
        hint = f"Write --option shuffled= with one of: {', '.join(problem.train.streams)}."
        raise ConfigError(f"There is no stream {name!r} to shuffle.", hint=hint)

    def change(part: Recordings) -> Recordings:
        order, there = np.arange(len(part)), np.flatnonzero(part.streams[name].lengths)
        order[there] = there[shuffled(len(there), seed, f"shuffled {len(part)}")]
        return replace(part, streams={**part.streams, name: part.streams[name].take(order)})

    return problem.change(change)


def frames_of_sequences(
    sequences: Sequence[CesSequence], *, every: int, reach: int = 10, spacing: int = 4
) -> Recordings:
    """Make a sample of each frame: what all systems say around it, and its labels."""
    names = [name for name in SYSTEMS if name != _TRAINED_ON_LABELS]
    steps = np.arange(-reach, reach + 1) * spacing
    windowed: list[FloatArray] = []
    labels: list[FloatArray] = []
    groups: list[str] = []
    for sequence in sequences:
        count = len(sequence.labels)
        centres = np.arange(0, count, every)
        windowed.append(sequence.predictions[np.clip(centres[:, None] + steps, 0, count - 1)])
        labels.append(sequence.labels[centres])
        groups += [sequence.name] * len(centres)
    values = np.concatenate(windowed).astype(np.float32)  # (samples, frames, systems, targets)
    lengths = np.full(len(values), len(steps), dtype=np.int64)
    return Recordings(
        ids=tuple(f"{name}[{place}]" for place, name in enumerate(groups)),
        streams={
            name: Ragged(values=values[:, :, SYSTEMS.index(name)].reshape(-1, values.shape[3]), lengths=lengths)
            for name in names
        },
        labels=np.concatenate(labels).astype(np.float32),
        groups=tuple(groups),
    )


def _own(splits: Mapping[str, Recordings], seed: int) -> Problem:
    train, valid, test = by_role(splits)
    if len(train.streams) < 2:
        hint = "Give two streams of features or more; words are not read here."
        raise DataError(f"There is nothing to fuse: the streams are {', '.join(train.streams) or 'none'}.", hint=hint)
    fixed = test is not None
    if test is None:
        train, test = split_off(train, seed=legacy_seed(seed, "test"), share=_TEST)
    if test.labels is None:
        raise DataError("The split test has no labels to score by.", hint="Give one for each sample, or leave it out.")
    if valid is None:
        train, valid = split_off(train, seed=seed, share=_VALID)
    return Problem(train=train, valid=valid, test=test, fixed=fixed)


def _drawn(recordings: Recordings, labels: int, seed: int) -> Problem:
    places = np.arange(len(recordings))
    classes = np.asarray(recordings.labels)
    if not len(recordings.classes) <= labels <= len(recordings) // 3:
        raise ConfigError(
            f"labels is {labels}, but there are {len(recordings)} recordings of {len(recordings.classes)} classes.",
            hint=f"Write --option labels=NUMBER, from {len(recordings.classes)} to {len(recordings) // 3}.",
        )

    def cut(rest: npt.NDArray[np.int64], name: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        taken, left = hold_out(len(rest), len(rest) - labels, seed, name, labels=classes[rest])
        return rest[np.sort(taken)], rest[np.sort(left)]

    train, rest = cut(places, "train")
    valid, test = cut(rest, "valid")
    return Problem(
        train=recordings.take(train),
        valid=recordings.take(valid),
        test=recordings.take(test),
        among=(test, len(recordings)),
    )


def _parted(sequences: Sequence[CesSequence], seed: int) -> Problem:
    order = shuffled(len(sequences), seed, "sequences")
    held, chosen = round(_TEST * len(order)), round(_VALID * len(order))
    part = lambda places, every: frames_of_sequences([sequences[place] for place in places], every=every)
    return Problem(
        train=part(order[held + chosen :], 10),
        valid=part(order[held : held + chosen], 10),
        test=part(order[:held], 1),
        settings={"loss": "ccc"},
        estimates=10,
    )


def _fewer(problem: Problem, labels: int, seed: int) -> Problem:
    if not labels:
        return problem
    if labels > len(problem.train):
        hint = "Write --option labels=0 for all of them."
        raise ConfigError(f"labels is {labels}, but there are {len(problem.train)} training samples.", hint=hint)
    taken = shuffled(len(problem.train), seed, "labels", count=labels)
    return replace(problem, train=problem.train.take(np.sort(taken)))
