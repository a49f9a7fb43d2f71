"""Where the frames of each modality go in the cube."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import functional

from modicum.fusion.configuration import Placement

__all__ = [
    "Track",
    "absent_tokens",
    "centre_released",
    "fit_time",
    "frame_sources",
    "frames_within",
    "keep_frames",
    "pad_time",
    "place_words",
    "stack_tracks",
    "take_frames",
]


class Track(NamedTuple):
    """The frames of one modality.

    Args:
        frames: shape (batch, time, channel), 0 where there is none.
        lengths: the place behind the last frame of each sample, int64, shape (batch,); 0 where the modality is absent.
    """

    frames: Tensor
    lengths: Tensor


def frames_within(lengths: Tensor, time: int) -> Tensor:
    """Tell which frames are before the end.

    Args:
        lengths: shape (batch,).
        time: places.

    Returns:
        bool, shape (batch, time).
    """
    return torch.arange(time, device=lengths.device) < lengths[:, None]


def keep_frames(frames: Tensor, lengths: Tensor) -> Tensor:
    """Put 0 in place of whatever stands at and behind the end of a sample, be it NaN.

    Args:
        frames: shape (batch, time, channel).
        lengths: shape (batch,).

    Returns:
        Of the same shape; no gradient flows to what was replaced.
    """
    return torch.where(frames_within(lengths, frames.shape[1])[..., None], frames, 0.0)


def pad_time(frames: Tensor, time: int) -> Tensor:
    """Add zeros behind the last frame, or crop.

    Args:
        frames: shape (batch, frames, ...).
        time: places wanted.

    Returns:
        Shape (batch, time, ...).
    """
    # Without a comparison of sizes, so that an exported graph takes any number of frames.
    zeros = frames.new_zeros(frames.shape[0], time, *frames.shape[2:])
    return torch.cat([frames, zeros], 1)[:, :time]


def frame_sources(word_ids: Tensor, words: Tensor, tokens: Tensor, how: Placement) -> Tensor:
    """Tell which frame of a stream of words goes to each piece of the text.

    Args:
        word_ids: the word of each piece, -1 where there is none, int64, shape (batch, time). Not read for "centre".
        words: frames of each sample, shape (batch,).
        tokens: pieces of each sample, shape (batch,).
        how: "repeat" gives each piece the frame of its word, "first" the first piece only, "centre" keeps the frames
            together, int((tokens - words) / 2) places from the start.

    Returns:
        The number of a frame, -1 where there is none, shape (batch, time).

    Source:
        "centre" is the released code, with the sample's own numbers in place of the largest of the batch.
    """
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
    """Put frames where `frame_sources` says.

    Args:
        frames: shape (batch, frames, channel).
        sources: shape (batch, time), -1 for none.

    Returns:
        Shape (batch, time, channel), 0 where there is none.
    """
    places = sources.clamp(min=0)[..., None].expand(-1, -1, frames.shape[2])
    return torch.where(sources[..., None] >= 0, frames.gather(1, places), 0.0)


def place_words(track: Track, word_ids: Tensor, tokens: Tensor, how: Placement) -> Track:
    """Put the frames of words where the pieces of their words are.

    Args:
        track: of one frame a word.
        word_ids: as in `frame_sources`.
        tokens: pieces of each sample; a sample without text keeps its frames one behind the other.
        how: as in `frame_sources`.

    Returns:
        The track, which reaches as far as the text where there is one.
    """
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
    """Put features in the middle of a text as the released code does, by the sizes of the batch.

    Args:
        frames: shape (batch, frames, size), 0 behind the end.
        mask: of the text, shape (batch, time).

    Returns:
        Shape (batch, time, size), with 1e-6 at the tokens that would have a frame of zeros.
    """
    time = mask.shape[1]
    before = int((time - frames.shape[1]) / 2)
    placed = functional.pad(frames, (0, 0, before, time - frames.shape[1] - before))
    empty = (placed == 0).all(-1) & mask.bool()
    return torch.where(empty[..., None], 1e-6, placed)


def fit_time(track: Track, limit: int, overflow: Literal["crop", "pool"]) -> Track:
    """Bring the frames of each sample to a number that the cube has room for.

    Args:
        track: of any length.
        limit: places of the cube.
        overflow: "crop" leaves out what is behind; "pool" makes n > limit frames into as many means, the k-th over the
            frames from floor(k n / limit) to ceil((k + 1) n / limit). A sample of no more frames stays as it is.

    Returns:
        A track of at most ``limit`` places.
    """
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
    """Stack modalities to a cube.

    Args:
        tracks: each of shape (batch, its own time, channel).

    Returns:
        Shape (batch, time of the longest, modality, channel).
    """
    time = max(track.frames.shape[1] for track in tracks)
    return torch.stack([pad_time(track.frames, time) for track in tracks], dim=2)


def absent_tokens(cube: Tensor, lengths: Tensor, tokens: Tensor) -> Tensor:
    """Let a token stand for each absent modality, at the frames that the sample's other modalities have.

    Args:
        cube: shape (batch, time, modality, channel).
        lengths: shape (batch, modality), 0 where the modality is absent.
        tokens: shape (modality, channel).

    Returns:
        Of the shape of the cube.
    """
    empty = frames_within(lengths.amax(1), cube.shape[1])[:, :, None] & (lengths == 0)[:, None]
    return torch.where(empty[..., None], tokens, cube)
