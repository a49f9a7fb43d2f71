"""Powers of patches against patches that are really formed, over random geometries."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import pad

from modicum.optim.functional import conv_power, linear_power, patch_power_map
from modicum.optim.power import Convolution, geometry_of

KINDS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Convolution, Tensor]:
    """Draw a convolution and an input that fits it, in float64."""
    axes = draw(st.integers(1, 3))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    channels = groups * draw(st.integers(1, 2))

    def per_axis(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(axes))

    kernel, dilation, stride = per_axis(1, 3), per_axis(1, 2), per_axis(1, 3)
    padding = draw(st.one_of(st.just("valid"), st.just("same"), st.just(per_axis(0, 2))))
    size = tuple(5 + extent for extent in per_axis(0, 3))
    module = KINDS[axes - 1](
        channels,
        groups * draw(st.integers(1, 2)),
        kernel,  # pyright: ignore[reportArgumentType] - its length fits the kind
        stride=1 if padding == "same" else stride,  # pyright: ignore[reportArgumentType]
        padding=padding,  # pyright: ignore[reportArgumentType]
        dilation=dilation,  # pyright: ignore[reportArgumentType]
        groups=groups,
        padding_mode=draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"])),
        dtype=torch.float64,
    )
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    return module, torch.randn(draw(st.integers(1, 3)), channels, *size, generator=generator, dtype=torch.float64)


def patches(module: Convolution, x: Tensor) -> Tensor:
    """Form all patches, shape (batch, channels, positions, taps), from torch's own padding."""
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    x = pad(x, module._reversed_padding_repeated_twice, mode=mode)
    taps: list[Tensor] = []
    for axis, (kernel, dilation, stride) in enumerate(
        zip(module.kernel_size, module.dilation, module.stride, strict=True)
    ):
        positions = (x.shape[2 + axis] - (kernel - 1) * dilation - 1) // stride + 1
        taps.append(torch.arange(positions)[:, None] * stride + torch.arange(kernel) * dilation)
    for axis, index in enumerate(taps):
        x = x.index_select(2 + 2 * axis, index.flatten()).unflatten(2 + 2 * axis, index.shape)
    axes = len(taps)
    order = [0, 1, *[2 + 2 * axis for axis in range(axes)], *[3 + 2 * axis for axis in range(axes)]]
    x = x.permute(order)
    return x.flatten(2 + axes).flatten(2, 1 + axes)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")  # torch is only slower there
@given(convolutions())
@settings(max_examples=150, deadline=None)
def test_patches_of_the_reference_are_those_of_the_convolution(drawn: tuple[Convolution, Tensor]) -> None:
    module, x = drawn
    formed = patches(module, x).unflatten(1, (module.groups, -1))
    weight = module.weight.flatten(2).unflatten(0, (module.groups, -1))
    output = torch.einsum("bgcpk,gock->bgop", formed, weight).flatten(1, 2)
    assert module.bias is not None
    torch.testing.assert_close(output + module.bias[:, None], module(x).flatten(2))


@given(convolutions(), st.sampled_from(["l1", "l2"]))
@settings(max_examples=200, deadline=None)
def test_powers_are_those_of_the_formed_patches(drawn: tuple[Convolution, Tensor], norm: str) -> None:
    module, x = drawn
    formed = patches(module, x)
    powers = (formed.square() if norm == "l2" else formed.abs()).sum(-1)  # (batch, channels, positions)
    grouped = powers.unflatten(1, (module.groups, -1)).sum(2)
    geometry = geometry_of(module)
    assert norm in {"l1", "l2"}
    torch.testing.assert_close(patch_power_map(x, geometry, norm=norm).flatten(2), grouped)  # pyright: ignore[reportArgumentType]
    torch.testing.assert_close(conv_power(x, geometry, norm=norm), grouped.mean((0, 2)))  # pyright: ignore[reportArgumentType]
    per_channel = conv_power(x, geometry, norm=norm, per_channel=True)  # pyright: ignore[reportArgumentType]
    torch.testing.assert_close(per_channel, powers.mean((0, 2)))


@given(st.integers(0, 2**31), st.floats(1e-3, 1e3))
@settings(max_examples=50, deadline=None)
def test_l2_power_grows_with_the_square_of_the_scale(seed: int, scale: float) -> None:  # NSGD-C15
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3, 4, 6, generator=generator, dtype=torch.float64)
    geometry = geometry_of(nn.Conv1d(4, 2, 3, padding=1))
    torch.testing.assert_close(conv_power(scale * x, geometry), scale**2 * conv_power(x, geometry))
    torch.testing.assert_close(linear_power(scale * x), scale**2 * linear_power(x))
