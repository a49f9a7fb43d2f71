"""Recordings as the keyword tensors that a model takes: scaled, split into word pieces, and put into batches."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from modicum.core.pretrained import open_part, token_limit
from modicum.errors import ConfigError, DataError, ModelError
from modicum.fusion.configuration import CubeMLPConfig, Stream
from modicum.fusion.recordings import FloatArray, IntArray, Ragged, Recordings

Batch: TypeAlias = dict[str, Any]  # tensors, and tables of tensors by stream
BoolArray: TypeAlias = npt.NDArray[np.bool_]
WordTokenizer: TypeAlias = Any  # a fast tokenizer of transformers

OUTSIDE = -1  # the word of a special token, and of padding


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaling:
    """Mean and std of each feature of each stream, measured on the training split and nothing else; as JSON has it."""

    means: Mapping[str, list[float]]  # by stream, of float32, which a list keeps to the last bit
    deviations: Mapping[str, list[float]]

    @classmethod
    def fit(cls, recordings: Recordings) -> Self:
        """Measure the frames of a training split; a sample that lacks a stream has none there."""
        moments = {name: _moments(name, stream) for name, stream in recordings.streams.items()}
        return cls(
            means={name: mean.tolist() for name, (mean, _) in moments.items()},
            deviations={name: std.tolist() for name, (_, std) in moments.items()},
        )

    def apply(self, recordings: Recordings) -> Recordings:
        """Bring the features of recordings to mean 0 and std 1."""
        streams = {
            name: Ragged(values=(stream.values - self.mean(name)) * self.factors(name), lengths=stream.lengths)
            for name, stream in recordings.streams.items()
        }
        return replace(recordings, streams=streams)

    def mean(self, name: str) -> FloatArray:
        """Give the mean of each feature of a stream, shape (size,)."""
        return np.array(self.means[name], dtype=np.float32)

    def factors(self, name: str) -> FloatArray:
        """Give 1 / std of each feature of a stream, and 0 for one that never changes, shape (size,)."""
        std = np.array(self.deviations[name], dtype=np.float32)
        return np.divide(1, std, out=np.zeros_like(std), where=std >= np.finfo(np.float32).tiny)


def _moments(name: str, stream: Ragged) -> tuple[FloatArray, FloatArray]:
    values = stream.values
    if not len(values):
        raise DataError(f"No sample of the training split has a frame of {name}.", hint="Leave the stream out.")
    mean, std = values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64)
    std[values.min(axis=0) == values.max(axis=0)] = 0  # that of a constant is not exactly 0, as its mean is rounded
    return mean.astype(np.float32), std.astype(np.float32)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pieces:
    """The word pieces of one text."""

    input_ids: IntArray  # int64, shape (pieces,), special tokens among them
    word_ids: IntArray  # int64, shape (pieces,): the index of each piece's word, -1 for a special token


def open_tokenizer(source: str, encoder: Any) -> WordTokenizer:
    """Open the tokenizer of a text encoder, which cuts texts where the encoder has no more positions."""
    tokenizer = check_tokenizer(open_part("AutoTokenizer", source, extra="fusion"))
    tokenizer.model_max_length = token_limit(encoder, tokenizer)
    return tokenizer


def check_tokenizer(tokenizer: WordTokenizer) -> WordTokenizer:
    """Refuse a tokenizer that cannot be used."""
    if not tokenizer.is_fast:
        hint = "Use a fast tokenizer, as AutoTokenizer gives for BERT, RoBERTa or DeBERTa."
        raise ModelError(f"{type(tokenizer).__name__} does not tell of which word a piece is.", hint=hint)
    if tokenizer.pad_token_id is None:
        raise ModelError(f"{type(tokenizer).__name__} has no padding token.", hint="Set its pad_token.")
    return tokenizer


def split_words(tokenizer: WordTokenizer, texts: Sequence[Sequence[str]], *, max_words: int = 100) -> list[Pieces]:
    """Split the words of texts into pieces; a warning tells how many texts were cut."""
    if max_words < 1:
        raise ConfigError(f"max_words is {max_words}.", hint="Keep at least 1 word.")
    if not texts:
        return []
    limit = tokenizer.model_max_length
    words = [list(text[:max_words]) for text in texts]
    encoded = tokenizer(words, is_split_into_words=True, truncation=True, max_length=limit)
    found = [
        Pieces(
            input_ids=np.array(ids, dtype=np.int64),
            word_ids=np.array([OUTSIDE if word is None else word for word in encoded.word_ids(row)], dtype=np.int64),
        )
        for row, ids in enumerate(encoded["input_ids"])
    ]
    cut = sum(
        len(text) > max_words or (len(pieces.input_ids) == limit and int(pieces.word_ids.max()) + 1 < len(text))
        for text, pieces in zip(texts, found, strict=True)
    )
    if cut:
        message = f"{cut} of {len(texts)} texts have more than {max_words} words or {limit} pieces and were cut there."
        warnings.warn(message, UserWarning, stacklevel=2)
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One sample."""

    features: Mapping[str, FloatArray]  # by stream, float32, shape (frames, size)
    present: BoolArray  # for each modality, in the order of the configuration
    pieces: Pieces | None = None  # of its words, where there is a text encoder
    states: Tensor | None = None  # of its pieces behind the frozen layers, shape (pieces, H), where they are known
    label: Any = None  # a number, or shape (targets,); None if there is none


class Items(Sequence[Item]):
    """The samples of recordings, one by one, held against the configuration of the model that takes them."""

    def __init__(
        self,
        config: CubeMLPConfig,
        recordings: Recordings,
        *,
        scaling: Scaling | None = None,
        pieces: Sequence[Pieces] | None = None,
        states: Sequence[Tensor] | None = None,
        present: npt.ArrayLike | None = None,
        max_words: int = 100,
    ) -> None:
        self._features = [stream for stream in config.modalities if not stream.text]
        _check_streams(config, recordings, self._features)
        self.recordings = recordings if scaling is None else scaling.apply(recordings)
        self.pieces, self.states, self.max_words = pieces, states, max_words
        self.labels = None if recordings.labels is None else _labels(config, recordings)
        words = np.array([len(text) for text in recordings.words or ()])
        frames = {name: stream.lengths for name, stream in recordings.streams.items()}
        counts = [words if stream.text else frames[stream.name] for stream in config.modalities]
        self._there: BoolArray = np.stack(counts, axis=1) > 0
        self.present = self._checked(present)
        self._ends = {name: stream.lengths.cumsum() for name, stream in recordings.streams.items()}

    def __len__(self) -> int:
        """Count the samples."""
        return len(self.recordings)

    def __getitem__(self, sample: Any) -> Any:
        """Give one sample."""
        return Item(
            features={stream.name: self._frames(stream, sample) for stream in self._features},
            present=self.present[sample],
            pieces=None if self.pieces is None else self.pieces[sample],
            states=None if self.states is None else self.states[sample],
            label=None if self.labels is None else self.labels[sample],
        )

    def with_present(self, present: npt.ArrayLike | None) -> Items:
        """Give the same samples with other modalities; None stands for all that are there."""
        items = copy.copy(self)
        items.present = self._checked(present)
        return items

    def longest(self) -> npt.NDArray[np.int64]:
        """Give the frames or pieces of the longest modality of each sample, shape (n,)."""
        lengths = [self.recordings.streams[stream.name].lengths for stream in self._features]
        if self.pieces is not None:
            lengths.append(np.array([len(pieces.input_ids) for pieces in self.pieces], dtype=np.int64))
        return np.max(lengths, axis=0)

    def _frames(self, stream: Stream, sample: int) -> FloatArray:
        ragged, end = self.recordings.streams[stream.name], self._ends[stream.name][sample]
        frames = ragged.values[end - ragged.lengths[sample] : end]
        return frames[: self.max_words] if stream.per_word and self.pieces is not None else frames

    def _checked(self, present: npt.ArrayLike | None) -> BoolArray:
        there = self._there
        asked = there if present is None else np.asarray(present, dtype=np.bool_)
        if asked.shape != there.shape:
            raise ConfigError(
                f"present has the shape {asked.shape}, but there are {len(there)} samples of {there.shape[1]} "
                "modalities.",
                hint="Give a row for each sample and a column for each modality.",
            )
        empty = np.flatnonzero(~(there & asked).any(axis=1))
        if empty.size:
            raise DataError(
                f"{len(empty)} samples have no frame of any modality, the first is {self.recordings.ids[empty[0]]}.",
                hint="Leave such samples out; nothing can be predicted for them.",
            )
        return there & asked


def _check_streams(config: CubeMLPConfig, recordings: Recordings, expected: Sequence[Stream]) -> None:
    streams = recordings.streams
    if {stream.name for stream in expected} != streams.keys():
        raise ConfigError(
            f"The model takes the streams {', '.join(sorted(stream.name for stream in expected)) or 'none'}, but the "
            f"recordings have {', '.join(sorted(streams)) or 'none'}.",
            hint="Give those streams; one that a sample lacks has 0 frames there.",
        )
    if len(expected) < len(config.modalities) and recordings.words is None:
        raise ConfigError("The model reads text, but the recordings have no words.", hint="Give the words.")
    for stream in expected:
        lengths, size = streams[stream.name].lengths, streams[stream.name].size
        if size != stream.size:
            raise ConfigError(
                f"A frame of {stream.name} has {size} values, but the model takes {stream.size}.",
                hint="Extract the features as for training, or configure the model for these.",
            )
        if not stream.per_word or recordings.words is None:
            continue
        words = np.array([len(text) for text in recordings.words])
        wrong = np.flatnonzero((lengths > 0) & (lengths != words))
        if wrong.size:
            sample = wrong[0]
            raise DataError(
                f"{recordings.ids[sample]} has {words[sample]} words, but {lengths[sample]} frames of {stream.name}, "
                "which should have one a word.",
                hint="Align the stream with the words, or configure it without per_word.",
            )


def _labels(config: CubeMLPConfig, recordings: Recordings) -> npt.NDArray[Any]:
    labels, classes = np.asarray(recordings.labels), config.loss == "cross_entropy"
    shape = (len(labels),) if classes or config.outputs == 1 else (len(labels), config.outputs)
    if len(shape) == 1 and labels.shape == (*shape, 1):
        labels = labels[:, 0]
    if labels.shape != shape:
        hint = "Configure as many outputs as there are targets."
        raise DataError(f"The labels have the shape {labels.shape}, but the model gives {shape}.", hint=hint)
    wrong = np.flatnonzero(~np.isin(labels, np.arange(config.outputs)))
    if classes and len(wrong):
        raise DataError(
            f"The label of {recordings.ids[wrong[0]]} is {labels[wrong[0]]}, not a class from 0 to "
            f"{config.outputs - 1}.",
            hint="Correct it, or leave the sample out.",
        )
    return labels.astype(np.int64 if classes else np.float32)


@dataclass(frozen=True, kw_only=True, slots=True)
class Collator:
    """Makes a batch of samples, padded at the end."""

    padding: int = 0  # number of the padding token; of no meaning without text

    @classmethod
    def of(cls, tokenizer: WordTokenizer | None) -> Self:
        """Make the collator that goes with a tokenizer."""
        return cls(padding=0 if tokenizer is None else int(tokenizer.pad_token_id))

    def __call__(self, items: Sequence[Item]) -> Batch:
        """Make a batch."""
        names = items[0].features
        features = {name: [torch.from_numpy(item.features[name]) for item in items] for name in names}
        batch: Batch = {
            "features": {name: _padded(frames) for name, frames in features.items()},
            "lengths": {name: torch.tensor([len(each) for each in frames]) for name, frames in features.items()},
            "present": torch.from_numpy(np.stack([item.present for item in items])),
        }
        if items[0].label is not None:
            batch["labels"] = torch.from_numpy(np.stack([item.label for item in items]))
        pieces = [item.pieces for item in items if item.pieces is not None]
        if not pieces:
            return batch
        ids = [torch.from_numpy(each.input_ids) for each in pieces]
        batch["attention_mask"] = _padded([torch.ones_like(each) for each in ids])
        batch["word_ids"] = _padded([torch.from_numpy(each.word_ids) for each in pieces], OUTSIDE)
        states = [item.states for item in items if item.states is not None]
        return batch | ({"text_states": _padded(states)} if states else {"input_ids": _padded(ids, self.padding)})


def batches_of_like_length(items: Items, collator: Collator, size: int) -> Iterator[tuple[IntArray, Batch]]:
    """Go through samples, those of like length together."""
    order = np.argsort(items.longest(), kind="stable").astype(np.int64)
    for start in range(0, len(order), size):
        samples = order[start : start + size]
        yield samples, collator([items[sample] for sample in samples])


def moved(batch: Batch, device: torch.device | str) -> Batch:
    """Copy a batch to a device, with the tables in it."""
    return {name: moved(part, device) if isinstance(part, dict) else part.to(device) for name, part in batch.items()}


def _padded(samples: Sequence[Tensor], value: float = 0) -> Tensor:
    batch = torch.nn.utils.rnn.pad_sequence(list(samples), batch_first=True, padding_value=value)
    # An encoder needs a frame, also where no sample of the batch has one.
    return batch if batch.shape[1] else batch.new_zeros(len(batch), 1, *batch.shape[2:])
