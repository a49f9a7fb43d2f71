"""Encoders of feature streams read the frames of their sample and no others."""

from __future__ import annotations

import pytest
import torch

from modicum.core.seeding import seeded_globally, torch_generator
from modicum.errors import ConfigError
from modicum.fusion.configuration import Stream
from modicum.fusion.encoders import FeatureEncoder, TextProjection

KINDS = ["gru", "lstm", "conv", "linear"]
LENGTHS = torch.tensor([6, 1, 0, 3])


def encoder(kind: str, **settings: int) -> FeatureEncoder:
    stream = Stream(name="audio", size=5, encoder=kind, **settings)  # type: ignore[arg-type]
    with seeded_globally(0, "initialisation"):
        built = FeatureEncoder(stream, 7, eps=1e-6).double().eval()
        for value in built.norm.parameters():
            torch.nn.init.normal_(value)  # a bias, so that norm and ReLU of padding would not be 0
    return built


def frames() -> torch.Tensor:
    return torch.randn(4, 6, 5, generator=torch_generator(0, "frames"), dtype=torch.float64)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_alone_gives_the_same(kind: str) -> None:  # CUBEMLP-C6
    encode, x = encoder(kind), frames()
    together = encode(x, LENGTHS)
    for sample, length in enumerate(LENGTHS.tolist()):
        assert not together[sample, length:].any()
        if length:
            alone = encode(x[sample : sample + 1, :length], LENGTHS[sample : sample + 1])
            assert torch.allclose(alone[0], together[sample, :length], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_behind_the_end_is_not_read(kind: str) -> None:
    encode, x = encoder(kind), frames()
    dirty = x.clone()
    for sample, length in enumerate(LENGTHS.tolist()):
        dirty[sample, length:] = torch.tensor([torch.nan, torch.inf, -torch.inf, 1e300, 7.0], dtype=torch.float64)
    assert torch.equal(encode(dirty, LENGTHS), encode(x, LENGTHS))
    encode(dirty, LENGTHS).sum().backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in encode.parameters())


@pytest.mark.parametrize("kind", ["gru", "lstm"])
@pytest.mark.parametrize("layers", [1, 2])
def test_directions_of_a_recurrence_are_added(kind: str, layers: int) -> None:
    encode, x = encoder(kind, layers=layers), frames()
    recurrence = encode.encoder.rnn  # type: ignore[union-attr]
    forth, back = recurrence(x)[0].chunk(2, -1)  # type: ignore[operator]
    both = forth + back
    normed = (both - both.mean(-1, keepdim=True)) / (both.var(-1, correction=0, keepdim=True) + 1e-6).sqrt()
    wanted = (normed * encode.norm.weight + encode.norm.bias).clamp(min=0)
    assert torch.allclose(encode(x, torch.full((4,), 6)), wanted, rtol=0, atol=1e-12)


def test_a_convolution_sees_its_neighbours_and_a_linear_map_only_its_frame() -> None:
    x = frames().requires_grad_()
    for kind, reach in (("conv", 1), ("linear", 0)):
        encode = encoder(kind)
        torch.nn.init.constant_(encode.norm.bias, 9.0)  # so that ReLU passes all
        (gradient,) = torch.autograd.grad(encode(x, torch.full((4,), 6))[0, 3].sum(), x)
        seen = gradient[0].abs().sum(-1).nonzero().flatten().tolist()
        assert seen == list(range(3 - reach, 4 + reach))


def test_sizes_are_those_of_the_published_recipe() -> None:  # CUBEMLP-C3
    count = lambda module: sum(value.numel() for value in module.parameters())
    audio = FeatureEncoder(Stream(name="audio", size=74), 128, eps=1e-6)
    video = FeatureEncoder(Stream(name="video", size=47), 128, eps=1e-6)
    assert (count(audio.encoder), count(video.encoder), count(audio.norm) + count(video.norm)) == (453120, 432384, 512)
    assert count(TextProjection(Stream(name="text", size=768, text=True), 128)) == 98304


def test_a_stream_without_an_encoder_is_its_channels() -> None:
    x = torch.randn(2, 5, 3)
    stream = Stream(name="system", size=3, encoder="none", dropout=0.0)
    encoded = FeatureEncoder(stream, 3, eps=1e-6)(x, torch.tensor([5, 2]))
    assert torch.equal(encoded[0], x[0])
    assert torch.equal(encoded[1, :2], x[1, :2])
    assert not encoded[1, 2:].any()
    with pytest.raises(ConfigError, match=r"'system' has 3 values a frame, and the cube 4 channels"):
        FeatureEncoder(stream, 4, eps=1e-6)
