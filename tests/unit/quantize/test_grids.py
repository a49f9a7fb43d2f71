"""The grid of a tensor is the one of the least squared error."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from modicum.errors import ModelError
from modicum.quantize import scales as module
from modicum.quantize.codes import ActivationGrid, FloatActivationGrid
from modicum.quantize.graph.placement import Site
from modicum.quantize.scales import choose_grid


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def chosen(x: Tensor, bits: int = 4, *, unsigned: bool | None = None, ceiling: float | None = None) -> ActivationGrid:
    site = Site(bits=bits, unsigned=unsigned, ceiling=ceiling)
    found = choose_grid(site, x, x, power=True, rounding="half_even")
    assert isinstance(found, ActivationGrid)
    return found


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("seed", range(3))
def test_no_other_exponent_is_closer(bits: int, seed: int) -> None:
    for x in (drawn(4000, seed=seed), 3.7 * drawn(4000, seed=seed).relu(), drawn(4000, seed=seed).abs().sqrt() - 0.1):
        grid = chosen(x, bits)
        errors = {e: float((grid.moved(e).apply(x) - x).square().mean()) for e in range(-12, 8)}
        assert grid.exponent == min(errors, key=errors.__getitem__)


def test_wanted_tensor_is_what_counts() -> None:
    given = drawn(4000).relu()
    site = Site(bits=4, unsigned=True)
    usual = choose_grid(site, given, given, power=True, rounding="half_even")
    # What is wanted is clipped, so that a finer grid is closer than the one of what is given.
    finer = choose_grid(site, given.clamp(max=0.5), given, power=True, rounding="half_even")
    assert isinstance(usual, ActivationGrid)
    assert isinstance(finer, ActivationGrid)
    assert finer.exponent < usual.exponent


def test_sign_comes_from_data_only_where_the_site_leaves_it_open() -> None:
    assert chosen(drawn(100)).signed
    assert not chosen(drawn(100).abs()).signed
    assert not chosen(drawn(100), unsigned=True).signed


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_positive_end_of_a_signed_grid_can_be_reached(bits: int) -> None:
    # k ends at 2^(n-1) - 1 above and at -2^(n-1) below; with two bits that is half.
    x = torch.tensor([1.0, -0.01] * 50)
    grid = chosen(x, bits)
    assert grid.high * grid.scale >= 1


def test_empty_tensor_of_zeros_has_a_grid() -> None:
    assert torch.equal(chosen(torch.zeros(10)).apply(torch.zeros(3)), torch.zeros(3))


def test_grid_of_relu6_reaches_no_higher_than_its_ceiling() -> None:
    x = (5 * drawn(4000)).clamp(0, 6)
    grid = chosen(x, 2, unsigned=True, ceiling=6.0)
    assert 0 < grid.high * grid.scale <= 6


def test_real_scale_is_at_least_as_close() -> None:
    for seed in range(5):
        x = (1 + seed / 5) * drawn(4000, seed=seed).relu()
        real = choose_grid(Site(bits=4, unsigned=True), x, x, power=False, rounding="half_even")
        assert isinstance(real, FloatActivationGrid)
        assert (real.apply(x) - x).square().mean() <= 1.02 * (chosen(x).apply(x) - x).square().mean()


def test_values_whose_squares_are_no_numbers_are_refused() -> None:
    with pytest.raises(
        ModelError, match=r"values of up to 1e\+25 is too large to compare grids of it in torch.float32"
    ):
        chosen(torch.tensor([0.3e25, 1e25]))


def test_half_up_is_handed_on() -> None:
    found = choose_grid(Site(bits=4, unsigned=True), drawn(9), drawn(9), power=True, rounding="half_up")
    assert isinstance(found, ActivationGrid)
    assert found.rounding == "half_up"


@pytest.mark.parametrize("width", [28, 32])
def test_sample_of_a_large_tensor_has_all_of_its_columns(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # One column is large: a sample of every 28th or 32nd number would never see it.
    x = drawn(width * width, 4, width).abs()
    x[..., 5] *= 100
    monkeypatch.setattr(module, "_MOST", x.numel() // width)
    few = chosen(x, 8, unsigned=True)
    monkeypatch.setattr(module, "_MOST", 2**30)
    assert abs(few.exponent - chosen(x, 8, unsigned=True).exponent) <= 1
