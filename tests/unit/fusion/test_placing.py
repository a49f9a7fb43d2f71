"""Frames go where the pieces of their words are, and to a number that the cube has room for."""

from __future__ import annotations

import pytest
import torch

from modicum.core.seeding import torch_generator
from modicum.fusion.inputs import (
    Track,
    absent_tokens,
    fit_time,
    keep_frames,
    pad_time,
    place_words,
    stack_tracks,
)

WORD_IDS = torch.tensor([[-1, 0, 0, 1, 2, 2, -1, -1], [-1, 0, 1, -1, -1, -1, -1, -1]])
TOKENS = torch.tensor([7, 4])


def numbered(batch: int, time: int, channel: int = 2) -> torch.Tensor:
    return torch.arange(1.0, batch * time * channel + 1, dtype=torch.float64).reshape(batch, time, channel)


def test_a_word_without_a_frame_has_zeros() -> None:
    placed = place_words(Track(numbered(2, 3), torch.tensor([2, 1])), WORD_IDS, TOKENS)
    assert placed.frames[0, :, 0].tolist() == [0, 1, 1, 3, 0, 0, 0, 0]
    assert placed.frames[1, :, 0].tolist() == [0, 7, 0, 0, 0, 0, 0, 0]
    assert placed.lengths.tolist() == [7, 4]


def test_without_text_frames_stand_one_behind_the_other() -> None:
    frames = keep_frames(numbered(2, 9), torch.tensor([9, 3]))
    placed = place_words(Track(frames, torch.tensor([9, 3])), WORD_IDS, torch.tensor([0, 4]))
    assert placed.frames.shape == (2, 9, 2)
    assert torch.equal(placed.frames[0], frames[0])
    assert placed.lengths.tolist() == [9, 4]


def test_an_absent_stream_of_words_stays_absent() -> None:
    placed = place_words(Track(torch.zeros(2, 3, 2), torch.tensor([0, 2])), WORD_IDS, TOKENS)
    assert placed.lengths.tolist() == [0, 4]


@pytest.mark.parametrize("overflow", ["crop", "pool"])
def test_frames_that_fit_stay(overflow: str) -> None:
    track = Track(keep_frames(numbered(2, 6), torch.tensor([6, 2])), torch.tensor([6, 2]))
    fitted = fit_time(track, 6, overflow)  # type: ignore[arg-type]
    assert torch.equal(fitted.frames, track.frames)
    assert torch.equal(fitted.lengths, track.lengths)


def test_crop_leaves_out_what_is_behind() -> None:
    fitted = fit_time(Track(numbered(1, 6), torch.tensor([6])), 4, "crop")
    assert torch.equal(fitted.frames, numbered(1, 6)[:, :4])
    assert fitted.lengths.tolist() == [4]


@pytest.mark.parametrize("lengths", [[23, 10, 11, 3, 0], [10, 20, 30, 7, 12]])
def test_pooling_is_that_of_torch(lengths: list[int]) -> None:
    time, limit = max(lengths), 10
    frames = torch.randn(len(lengths), time, 3, generator=torch_generator(0, "frames"))
    track = Track(keep_frames(frames, torch.tensor(lengths)), torch.tensor(lengths))
    fitted = fit_time(track, limit, "pool")
    for sample, length in enumerate(lengths):
        own = frames[sample, :length]
        if length > limit:
            own = torch.nn.functional.adaptive_avg_pool1d(own.T[None], limit)[0].T
        assert torch.allclose(fitted.frames[sample, : len(own)], own, rtol=0, atol=1e-6)
        assert not fitted.frames[sample, len(own) :].any()
        assert fitted.lengths[sample] == len(own)


def test_tracks_of_any_time_make_a_cube() -> None:
    tracks = [Track(numbered(2, time), torch.tensor([time, time])) for time in (1, 4, 0)]
    cube = stack_tracks(tracks)
    assert cube.shape == (2, 4, 3, 2)
    assert torch.equal(cube[:, :, 1], numbered(2, 4))
    assert not cube[:, 1:, 0].any()
    assert not cube[:, :, 2].any()
    assert torch.equal(pad_time(cube, 2), cube[:, :2])


def test_tokens_stand_where_others_have_frames() -> None:
    cube, tokens = torch.zeros(2, 5, 3, 1), torch.tensor([[1.0], [2.0], [3.0]])
    filled = absent_tokens(cube, torch.tensor([[2, 0, 4], [0, 1, 0]]), tokens)[..., 0]
    assert filled[0].T.tolist() == [[0] * 5, [2, 2, 2, 2, 0], [0] * 5]
    assert filled[1].T.tolist() == [[1, 0, 0, 0, 0], [0] * 5, [3, 0, 0, 0, 0]]


def test_what_is_behind_the_end_is_zero_even_where_it_is_nan() -> None:
    frames = torch.tensor([[[1.0], [torch.nan], [torch.inf]]])
    assert keep_frames(frames, torch.tensor([1])).flatten().tolist() == [1, 0, 0]
