"""Where the frames of each modality go in the cube."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import functional

from modicum.fusion.configuration import Placement


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


def frame_sources(word_ids: Tensor, words: Tensor, tokens: Tensor, how: Placement) -> Tensor:
    """Tell which frame of a stream of words goes to each piece of the text."""
    places = torch.arange(word_ids.shape[1], device=word_ids.device)
    if how == "centre":
        sources = places - torch.div(tokens - words, 2, rounding_mode="trunc")[:, None]
    elif how == "first":
        before = functional.pad(word_ids[:, :-1], (1, 0), value=-1)
        sources = torch.where(word_ids == before, -1, word_ids)
    else:
        sources = word_ids
    given = (sources >= 0) & (sources < words[:, None]) & (places < tokens[:, None])
    return torch.where(given, sources, -1)


def take_frames(frames: Tensor, sources: Tensor) -> Tensor:
    """Put frames where `frame_sources` says."""
    places = sources.clamp(min=0)[..., None].expand(-1, -1, frames.shape[2])
    return torch.where(sources[..., None] >= 0, frames.gather(1, places), 0.0)


def place_words(track: Track, word_ids: Tensor, tokens: Tensor, how: Placement) -> Track:
    """Put the frames of words where the pieces of their words are."""
    # In a graph that is being exported they are no numbers yet, and max() would settle which is the larger.
    width = cast("int", torch.sym_max(track.frames.shape[1], word_ids.shape[1]))
    places = torch.arange(width, device=tokens.device).expand(tokens.shape[0], -1)
    apart = torch.where(frames_within(track.lengths, width), places, -1)
    sources = frame_sources(word_ids, track.lengths, tokens, how)
    sources = pad_time(sources + 1, width) - 1
    frames = take_frames(track.frames, torch.where(tokens[:, None] > 0, sources, apart))
    ends = torch.where(tokens > 0, tokens, track.lengths)
    return Track(frames, torch.where(track.lengths > 0, ends, 0))


def centre_released(frames: Tensor, mask: Tensor) -> Tensor:
    """Put features in the middle of a text as the released code does, by the sizes of the batch."""
    time = mask.shape[1]
    before = int((time - frames.shape[1]) / 2)
    placed = functional.pad(frames, (0, 0, before, time - frames.shape[1] - before))
    empty = (placed == 0).all(-1) & mask.bool()
    return torch.where(empty[..., None], 1e-6, placed)


def fit_time(track: Track, limit: int, overflow: Literal["crop", "pool"]) -> Track:
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
