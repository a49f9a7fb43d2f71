"""What a model is given for a batch: checked once, told apart into present and absent, and put in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self, cast

import torch
from torch import Tensor
from torch.nn import functional

from modicum.errors import ConfigError, DataError
from modicum.fusion.configuration import Overflow, Stream


class Text(NamedTuple):
    """The text of a batch."""

    mask: Tensor  # 1 for a token and 0 for padding on the right, shape (batch, time)
    input_ids: Tensor | None  # shape (batch, time); None where there are states
    states: Tensor | None  # behind the frozen layers of the text encoder, shape (batch, time, hidden)
    word_ids: Tensor | None  # the word of each piece, -1 where there is none, shape (batch, time)

    @classmethod
    def of(
        cls, input_ids: Tensor | None, mask: Tensor | None, word_ids: Tensor | None, states: Tensor | None
    ) -> Self | None:
        """Take what `CubeMLPForPrediction` is given; None if there is no text."""
        given = input_ids if states is None else states
        if given is None:
            if mask is None and word_ids is None:
                return None
            raise ConfigError("There is a mask or word_ids, but no text.", hint="Give input_ids or text_states too.")
        if input_ids is not None and states is not None:
            raise ConfigError("There are input_ids and text_states.", hint="Give one of them.")
        shape = given.shape[:2]
        mask = torch.ones(shape, dtype=torch.long, device=given.device) if mask is None else mask
        if mask.shape != shape or (word_ids is not None and word_ids.shape != shape):
            words = "" if word_ids is None else f" and its word_ids {tuple(word_ids.shape)}"
            raise DataError(
                f"The text has the shape {tuple(shape)}, but its mask {tuple(mask.shape)}{words}.",
                hint="Give one number for each token.",
            )
        return cls(mask, input_ids, states, word_ids)


def present_lengths(
    streams: Sequence[Stream],
    features: Mapping[str, Tensor],
    lengths: Mapping[str, Tensor],
    present: Tensor | None,
    text: Text | None,
) -> Tensor:
    """Count the frames of each modality in each sample."""
    _check_names(streams, features, lengths, text)
    all_frames = lambda x: torch.full(x.shape[:1], x.shape[1], dtype=torch.long, device=x.device)
    counted = {name: lengths.get(name, all_frames(values)) for name, values in features.items()}
    for stream in streams:
        if text is not None and stream.text:
            counted[stream.name] = text.mask.long().sum(1)
        elif stream.name in features:
            shape, given = tuple(features[stream.name].shape), tuple(counted[stream.name].shape)
            if len(shape) != 3 or shape[2] != stream.size or given != shape[:1]:
                raise DataError(
                    f"The stream {stream.name!r} needs the shape (batch, frames, {stream.size}) and lengths of "
                    f"(batch,), got {shape} and {given}.",
                    hint="Give frames of that size, padded to the longest of the batch.",
                )
    sizes = [counts.shape[0] for counts in counted.values()]
    if not sizes or any(size != sizes[0] for size in sizes):
        named = ", ".join(f"{name} {size}" for name, size in zip(counted, sizes, strict=True)) or "none at all"
        raise DataError(f"The streams have batches of different sizes: {named}.", hint="Give each sample its part.")
    nothing = torch.zeros_like(next(iter(counted.values())))
    counts = torch.stack([counted.get(stream.name, nothing) for stream in streams], 1).long()
    if present is None:
        return counts
    if present.shape != counts.shape:
        raise DataError(
            f"present has the shape {tuple(present.shape)} for {counts.shape[0]} samples of {counts.shape[1]} streams.",
            hint=f"Give a row for each sample, in the order {', '.join(stream.name for stream in streams)}.",
        )
    return torch.where(present.bool(), counts, 0)


def check_present(streams: Sequence[Stream], counts: Tensor, features: Mapping[str, Tensor], text: Text | None) -> None:
    """Check the numbers in a batch, which a graph that is being exported cannot do."""
    widths = {name: values.shape[1] for name, values in features.items()}
    tokens = 0 if text is None else text.mask.shape[1]
    limits = [tokens if stream.text else widths.get(stream.name, 0) for stream in streams]
    if wrong := ((counts < 0) | (counts > torch.tensor(limits, device=counts.device))).nonzero().tolist():
        row, stream = wrong[0]
        raise DataError(
            f"Sample {row} of the batch has {int(counts[row, stream])} frames of stream {stream}, which has room for "
            f"{limits[stream]}.",
            hint="Give lengths that count the frames from the first on.",
        )
    if text is not None and (text.mask.long().diff(dim=1) > 0).any():
        raise DataError("A mask has padding before its last token.", hint="Pad texts on the right.")
    if empty := (counts == 0).all(1).nonzero().flatten().tolist():
        raise DataError(f"Sample {empty[0]} of the batch has no stream at all.", hint="Leave it out.")


def drop_modalities(counts: Tensor, rate: float) -> Tensor:
    """Take one present modality away from a share of the samples, and never the last one."""
    present = counts > 0
    drawn = torch.rand(counts.shape, device=counts.device).masked_fill(~present, -1.0)
    chosen = torch.zeros_like(present).scatter(1, drawn.argmax(1, keepdim=True), value=True)
    taken = (torch.rand(len(counts), device=counts.device) < rate) & (present.sum(1) > 1)
    return torch.where(chosen & taken[:, None], 0, counts)


def _check_names(
    streams: Sequence[Stream], features: Mapping[str, Tensor], lengths: Mapping[str, Tensor], text: Text | None
) -> None:
    known = [stream.name for stream in streams if not stream.text]
    if unknown := [name for name in (*features, *lengths) if name not in known]:
        hint = f"The model has: {', '.join(known) or 'none'}."
        raise ConfigError(f"There is no stream of features {unknown[0]!r}.", hint=hint)
    if missing := [name for name in lengths if name not in features]:
        raise ConfigError(f"The stream {missing[0]!r} has lengths and no features.", hint="Give both, or neither.")
    if text is not None and len(known) == len(streams):
        raise ConfigError("There is text, but no stream of the model is text.", hint="Leave it out.")


class Track(NamedTuple):
    """The frames of one modality."""

    frames: Tensor  # shape (batch, time, channel), 0 where there is none
    lengths: Tensor  # the place behind the last frame of each sample, int64, shape (batch,)


def frames_within(lengths: Tensor, time: int) -> Tensor:
    """Tell which frames are before the end."""
    return torch.arange(time, device=lengths.device) < lengths[:, None]


def keep_frames(frames: Tensor, lengths: Tensor) -> Tensor:
    """Put 0 in place of whatever stands at and behind the end of a sample, be it NaN."""
    return torch.where(frames_within(lengths, frames.shape[1])[..., None], frames, 0.0)


def pad_time(frames: Tensor, time: int) -> Tensor:
    """Add zeros behind the last frame, or crop."""
    # Without a comparison of sizes, so that an exported graph takes any number of frames.
    zeros = frames.new_zeros(frames.shape[0], time, *frames.shape[2:])
    return torch.cat([frames, zeros], 1)[:, :time]


def take_frames(frames: Tensor, sources: Tensor) -> Tensor:
    """Take the frame of each number, and 0 for -1."""
    places = sources.clamp(min=0)[..., None].expand(-1, -1, frames.shape[2])
    return torch.where(sources[..., None] >= 0, frames.gather(1, places), 0.0)


def place_words(track: Track, word_ids: Tensor, tokens: Tensor) -> Track:
    """Put the frames of words at each piece of their words."""
    # In a graph that is being exported they are no numbers yet, and max() would settle which is the larger.
    width = cast("int", torch.sym_max(track.frames.shape[1], word_ids.shape[1]))
    places = torch.arange(width, device=tokens.device).expand(tokens.shape[0], -1)
    apart = torch.where(frames_within(track.lengths, width), places, -1)
    known = (word_ids >= 0) & (word_ids < track.lengths[:, None]) & frames_within(tokens, word_ids.shape[1])
    sources = pad_time(torch.where(known, word_ids, -1) + 1, width) - 1
    frames = take_frames(track.frames, torch.where(tokens[:, None] > 0, sources, apart))
    ends = torch.where(tokens > 0, tokens, track.lengths)
    return Track(frames, torch.where(track.lengths > 0, ends, 0))


def fit_time(track: Track, limit: int, overflow: Overflow) -> Track:
    """Bring the frames of each sample to a number that the cube has room for."""
    exporting = torch.compiler.is_exporting()  # then how many frames there are is not known, and stays open
    if overflow == "pool" and (exporting or track.frames.shape[1] > limit):
        frames = _pool(track, limit)
    else:
        frames = pad_time(track.frames, limit) if exporting else track.frames[:, :limit]
    return Track(frames, track.lengths.clamp(max=limit))


def _pool(track: Track, limit: int) -> Tensor:
    bins = torch.arange(limit, device=track.lengths.device)
    number = track.lengths[:, None]
    starts = torch.div(bins * number, limit, rounding_mode="floor")
    stops = torch.div((bins + 1) * number + limit - 1, limit, rounding_mode="floor")
    # In float64, since the difference of two sums over thousands of frames loses digits.
    sums = functional.pad(track.frames.double().cumsum(1), (0, 0, 1, 0))
    total = take_frames(sums, stops) - take_frames(sums, starts)
    means = (total / (stops - starts).clamp(min=1)[..., None]).to(track.frames.dtype)
    return torch.where((number > limit)[..., None], means, pad_time(track.frames, limit))


def stack_tracks(tracks: Sequence[Track]) -> Tensor:
    """Stack modalities to a cube."""
    time = max(track.frames.shape[1] for track in tracks)
    return torch.stack([pad_time(track.frames, time) for track in tracks], dim=2)


def absent_tokens(cube: Tensor, lengths: Tensor, tokens: Tensor) -> Tensor:
    """Let a token stand for each absent modality, at the frames that the sample's other modalities have."""
    empty = frames_within(lengths.amax(1), cube.shape[1])[:, :, None] & (lengths == 0)[:, None]
    return torch.where(empty[..., None], tokens, cube)
