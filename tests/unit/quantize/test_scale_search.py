from __future__ import annotations

import pytest
import torch
from torch import Tensor

from modicum.errors import ConfigError
from modicum.quantize.scales import search_scales


def published(x: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Search the scale of one channel, or of one tensor, as the released code does."""
    best, scale, zero = float("inf"), torch.ones(()), torch.zeros(())
    for i in range(80):
        high, low = x.max() * (1.0 - i * 0.01), x.min() * (1.0 - i * 0.01)
        s = (high - low) / (2**bits - 1)
        z = torch.round(-low / s)
        q = torch.clamp(torch.round(x / s) + z, 0, 2**bits - 1)
        error = (x - (q - z) * s).abs().pow(2.4).mean()
        if error < best:
            best, scale, zero = float(error), s, z
    return scale, zero


def weights(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1)) * 0.02


@pytest.mark.parametrize(
    ("bits", "shape"), [(2, (16, 64, 3, 3)), (3, (2, 512, 3, 3)), (4, (16, 64, 3, 3)), (8, (16, 64, 3, 3))]
)
def test_the_search_is_the_published_one_bit_for_bit(bits: int, shape: tuple[int, ...]) -> None:  # RAPQ-C1
    weight = weights(*shape)
    scale, zero = search_scales(weight, bits)
    expected = [published(channel, bits) for channel in weight]
    assert torch.equal(scale, torch.stack([it for it, _ in expected]))
    assert torch.equal(zero, torch.stack([it for _, it in expected]))
    whole = published(weight, bits)
    assert [float(it) for it in search_scales(weight, bits, "tensor")] == [float(it) for it in whole]


@pytest.mark.parametrize("shape", [(33, 7), (5, 1, 3, 3), (1, 3), (40, 16, 3, 3)])
def test_odd_shapes_give_the_published_scales_too(shape: tuple[int, ...]) -> None:  # RAPQ-C1
    weight = weights(*shape)
    scale, zero = search_scales(weight, 3)
    expected = [published(channel, 3) for channel in weight]
    assert torch.equal(scale, torch.stack([it for it, _ in expected]))
    assert torch.equal(zero, torch.stack([it for _, it in expected]))


def test_of_equal_errors_the_first_is_kept() -> None:  # RAPQ-C1
    # 0 and 3 are hit at i = 0; no later error is smaller.
    scale, zero = search_scales(torch.tensor([[0.0, 3.0, 1.0, 2.0]]), 2)
    assert (float(scale), float(zero)) == (1.0, 0.0)


def test_an_outlier_is_clipped() -> None:
    channel = torch.cat([torch.linspace(-1, 1, 1000), torch.tensor([4.0])])
    scale, _ = search_scales(channel[None], 2)
    assert float(scale) < 0.8 * 5 / 3


def test_a_channel_without_a_range_does_not_spoil_the_others() -> None:
    weight = weights(3, 9)
    weight[1] = 0
    scale, zero = search_scales(weight, 2)
    assert (float(scale[1]), float(zero[1])) == (1.0, 0.0)
    assert torch.equal(scale[[0, 2]], search_scales(weight[[0, 2]], 2)[0])


def test_weights_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ConfigError, match="finite"):
        search_scales(torch.tensor([[0.0, float("nan")]]), 4)
    with pytest.raises(ConfigError, match="one at least"):
        search_scales(torch.zeros(0, 3), 4)
