"""What is present in a batch is counted, and taken away in training."""

from __future__ import annotations

import torch

from modicum.core.seeding import seeded_globally
from modicum.fusion.configuration import Stream
from modicum.fusion.inputs import Text, drop_modalities, present_lengths

STREAMS = [Stream(name="text", size=8, text=True), Stream(name="audio", size=5), Stream(name="video", size=4)]
MASK = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]])


def test_frames_are_counted_by_mask_and_lengths_and_present() -> None:
    text = Text.of(torch.zeros(2, 4, dtype=torch.long), MASK, None, None)
    features = {"audio": torch.zeros(2, 6, 5)}
    assert present_lengths(STREAMS, features, {}, None, text).tolist() == [[3, 6, 0], [1, 6, 0]]
    lengths = {"audio": torch.tensor([2, 0])}
    assert present_lengths(STREAMS, features, lengths, None, text).tolist() == [[3, 2, 0], [1, 0, 0]]
    present = torch.tensor([[False, True, True], [True, True, False]])
    assert present_lengths(STREAMS, features, lengths, present, text).tolist() == [[0, 2, 0], [1, 0, 0]]


def test_without_a_mask_all_tokens_are_of_the_text() -> None:
    text = Text.of(None, None, None, torch.zeros(2, 4, 8))
    assert present_lengths(STREAMS, {}, {}, None, text).tolist() == [[4, 0, 0], [4, 0, 0]]
    assert Text.of(None, None, None, None) is None


def test_a_share_of_the_samples_lacks_one_modality_and_none_lacks_all() -> None:
    counts = torch.tensor([[3, 5, 2], [0, 4, 4], [0, 0, 7]]).repeat(1000, 1)
    with seeded_globally(0, "dropout"):
        left = drop_modalities(counts, 0.3)
    assert ((left == counts) | (left == 0)).all()
    taken = ((left == 0) & (counts > 0)).reshape(1000, 3, 3).float().mean(0)
    assert torch.allclose(taken[0], torch.full((3,), 0.1), atol=0.04)  # four deviations of 1000 draws
    assert torch.allclose(taken[1], torch.tensor([0.0, 0.15, 0.15]), atol=0.05)
    assert not taken[2].any()
    assert torch.equal(drop_modalities(counts, 0.0), counts)
