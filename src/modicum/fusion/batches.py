"""Recordings as the keyword tensors that a model takes, checked before the first of them is made."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from modicum.errors import ConfigError, DataError
from modicum.fusion.configuration import CubeMLPConfig, Stream
from modicum.fusion.recordings import FloatArray, Ragged, Recordings
from modicum.fusion.words import OUTSIDE, Pieces

Batch: TypeAlias = dict[str, Any]  # tensors, and tables of tensors by stream
BoolArray: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One sample."""

    features: Mapping[str, FloatArray]  # by stream, float32, shape (frames, size)
    present: BoolArray  # for each modality, in the order of the configuration
    pieces: Pieces | None = None  # of its words, where there is a text encoder
    states: Tensor | None = None  # of its pieces behind the frozen layers, shape (pieces, H), where they are known
    label: Any = None  # a number, or shape (targets,); None if there is none


class Items(Sequence[Item]):
    """The samples of recordings, one by one."""

    def __init__(
        self,
        config: CubeMLPConfig,
        recordings: Recordings,
        *,
        pieces: Sequence[Pieces] | None = None,
        states: Sequence[Tensor] | None = None,
        present: npt.ArrayLike | None = None,
        max_words: int = 100,
    ) -> None:
        self.config = config
        self.recordings = recordings
        self.pieces, self.states, self.max_words = pieces, states, max_words
        self._features = [stream for stream in config.modalities if not stream.text]
        _check_streams(config, recordings, self._features)
        _check_words(recordings, self._features)
        self.labels = None if recordings.labels is None else _labels(config, recordings)
        self._there = _there(config, recordings)
        self.present = _present(recordings, self._there, present)
        self._ends = {name: stream.lengths.cumsum() for name, stream in recordings.streams.items()}

    def __len__(self) -> int:
        """Count the samples."""
        return len(self.recordings)

    def __getitem__(self, place: Any) -> Any:
        """Give one sample."""
        return Item(
            features={stream.name: self._frames(stream, place) for stream in self._features},
            present=self.present[place],
            pieces=None if self.pieces is None else self.pieces[place],
            states=None if self.states is None else self.states[place],
            label=None if self.labels is None else self.labels[place],
        )

    def with_states(self, states: Sequence[Tensor]) -> Items:
        """Give the same samples with the states of their text behind the frozen layers."""
        items = copy.copy(self)
        items.states = states
        return items

    def with_present(self, present: npt.ArrayLike) -> Items:
        """Give the same samples with other modalities."""
        items = copy.copy(self)
        items.present = _present(self.recordings, self._there, present)
        return items

    def longest(self) -> npt.NDArray[np.int64]:
        """Give the frames or pieces of the longest modality of each sample, shape (n,)."""
        lengths = [self.recordings.streams[stream.name].lengths for stream in self._features]
        if self.pieces is not None:
            lengths.append(np.array([len(pieces.input_ids) for pieces in self.pieces], dtype=np.int64))
        return np.max(lengths, axis=0)

    def _frames(self, stream: Stream, place: int) -> FloatArray:
        ragged, end = self.recordings.streams[stream.name], self._ends[stream.name][place]
        frames = ragged.values[end - ragged.lengths[place] : end]
        return frames[: self.max_words] if stream.per_word and self.pieces is not None else frames


@dataclass(frozen=True, kw_only=True, slots=True)
class Collator:
    """Makes a batch of samples, padded at the end."""

    padding: int = 0  # number of the padding token; of no meaning without text

    def __call__(self, items: Sequence[Item]) -> Batch:
        """Make a batch."""
        names = items[0].features
        features = {name: [torch.from_numpy(item.features[name]) for item in items] for name in names}
        batch: Batch = {
            "features": {name: _padded(frames) for name, frames in features.items()},
            "lengths": {name: torch.tensor([len(it) for it in frames]) for name, frames in features.items()},
            "present": torch.from_numpy(np.stack([item.present for item in items])),
        }
        pieces = [item.pieces for item in items if item.pieces is not None]
        states = [item.states for item in items if item.states is not None]
        if pieces:
            batch |= self._text(pieces, states)
        if items[0].label is not None:
            batch["labels"] = torch.from_numpy(np.stack([item.label for item in items]))
        return batch

    def _text(self, pieces: Sequence[Pieces], states: Sequence[Tensor]) -> Batch:
        ids = [torch.from_numpy(it.input_ids) for it in pieces]
        text: Batch = {
            "attention_mask": _padded([torch.ones_like(it) for it in ids]),
            "word_ids": _padded([torch.from_numpy(it.word_ids) for it in pieces], OUTSIDE),
        }
        return text | ({"text_states": _padded(states)} if states else {"input_ids": _padded(ids, self.padding)})


def batches_of_like_length(
    items: Items, collator: Collator, size: int
) -> Iterator[tuple[npt.NDArray[np.int64], Batch]]:
    """Go through samples, those of like length together."""
    order = np.argsort(items.longest(), kind="stable").astype(np.int64)
    for start in range(0, len(order), size):
        places = order[start : start + size]
        yield places, collator([items[place] for place in places])


def moved(batch: Batch, device: torch.device | str) -> Batch:
    """Copy a batch to a device, with the tables in it."""
    return {name: moved(part, device) if isinstance(part, dict) else part.to(device) for name, part in batch.items()}


def _padded(samples: Sequence[Tensor], value: float = 0) -> Tensor:
    batch = torch.nn.utils.rnn.pad_sequence(list(samples), batch_first=True, padding_value=value)
    # An encoder needs a frame, also where no sample of the batch has one.
    return batch if batch.shape[1] else batch.new_zeros(len(batch), 1, *batch.shape[2:])


def _check_streams(config: CubeMLPConfig, recordings: Recordings, expected: Sequence[Stream]) -> None:
    names = {stream.name for stream in expected}
    if names != recordings.streams.keys():
        raise ConfigError(
            f"The model takes the streams {', '.join(sorted(names)) or 'none'}, but the recordings have "
            f"{', '.join(sorted(recordings.streams)) or 'none'}.",
            hint="Give those streams; one that a sample lacks has 0 frames there.",
        )
    if len(expected) < len(config.modalities) and recordings.words is None:
        raise ConfigError("The model reads text, but the recordings have no words.", hint="Give the words.")
    for stream in expected:
        ragged = recordings.streams[stream.name]
        if ragged.size != stream.size:
            raise ConfigError(
                f"A frame of {stream.name} has {ragged.size} values, but the model takes {stream.size}.",
                hint="Extract the features as for training, or configure the model for these.",
            )
        _check_finite(recordings, stream.name, ragged)


def _check_finite(recordings: Recordings, name: str, ragged: Ragged) -> None:
    rows = np.flatnonzero(~np.isfinite(ragged.values).all(axis=1))
    if rows.size:
        sample = int(np.searchsorted(ragged.lengths.cumsum(), rows[0], side="right"))
        raise DataError(
            f"{len(rows)} frames of {name} have a value that is not finite, the first in {recordings.ids[sample]}."
            if len(rows) > 1
            else f"A frame of {name} has a value that is not finite, in {recordings.ids[sample]}.",
            hint="Replace such values by 0 where they are read, and say so.",
        )


def _check_words(recordings: Recordings, expected: Sequence[Stream]) -> None:
    if recordings.words is None:
        return
    words = np.array([len(text) for text in recordings.words], dtype=np.int64)
    for stream in expected:
        lengths = recordings.streams[stream.name].lengths
        wrong = np.flatnonzero((lengths != words) & (lengths > 0)) if stream.per_word else []
        if len(wrong):
            raise DataError(
                f"{recordings.ids[wrong[0]]} has {words[wrong[0]]} words, but {lengths[wrong[0]]} frames of "
                f"{stream.name}, which should have one a word.",
                hint="Align the stream with the words, or configure it without per_word.",
            )


def _there(config: CubeMLPConfig, recordings: Recordings) -> BoolArray:
    counts = [
        [len(text) for text in recordings.words or ()] if stream.text else recordings.streams[stream.name].lengths
        for stream in config.modalities
    ]
    return np.stack([np.asarray(count) > 0 for count in counts], axis=1)


def _present(recordings: Recordings, there: BoolArray, wanted: npt.ArrayLike | None) -> BoolArray:
    asked = there if wanted is None else np.asarray(wanted, dtype=np.bool_)
    if asked.shape != there.shape:
        raise ConfigError(
            f"present has the shape {asked.shape}, but there are {there.shape[0]} samples of {there.shape[1]} "
            "modalities.",
            hint="Give a row for each sample and a column for each modality.",
        )
    empty = np.flatnonzero(~(there & asked).any(axis=1))
    if empty.size:
        raise DataError(
            f"{len(empty)} samples have no frame of any modality, the first is {recordings.ids[empty[0]]}.",
            hint="Leave such samples out; nothing can be predicted for them.",
        )
    return there & asked


def _labels(config: CubeMLPConfig, recordings: Recordings) -> npt.NDArray[Any]:
    labels = np.asarray(recordings.labels)
    if config.loss == "cross_entropy":
        wrong = ~np.isin(labels, np.arange(config.outputs))
        expected, shape = f"a class from 0 to {config.outputs - 1}", (len(labels),)
    else:
        wrong = ~np.isfinite(labels)
        expected, shape = "a finite number", (len(labels),) if config.outputs == 1 else (len(labels), config.outputs)
    if labels.shape != shape:
        raise DataError(
            f"The labels have the shape {labels.shape}, but the model gives {shape}.",
            hint="Configure as many outputs as there are targets.",
        )
    rows = np.flatnonzero(wrong.reshape(len(labels), -1).any(axis=1))
    if rows.size:
        raise DataError(
            f"The label of {recordings.ids[rows[0]]} is {labels[rows[0]]}, not {expected}.",
            hint="Correct it, or leave the sample out.",
        )
    return labels.astype(np.int64 if config.loss == "cross_entropy" else np.float32)
