"""The fast path against the equations, and the symmetries of the mixers, over random cubes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.fusion.equations import along, by_equations, mlp
from torch import Tensor, nn

from modicum.core.seeding import seeded_globally, torch_generator
from modicum.fusion import CubeMLP, CubeMLPConfig
from modicum.fusion.configuration import ACTIVATIONS
from modicum.fusion.functional import AXES, Axis, MixerWeights


def made(config: CubeMLPConfig, generator: torch.Generator) -> CubeMLP:
    with seeded_globally(0, "weights"):
        cube = CubeMLP(config).double()
    with torch.no_grad():
        for parameter in cube.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator).to(parameter), alpha=0.2)
    return cube.eval()


def padded(cube: CubeMLP, x: Tensor) -> Tensor:
    return nn.functional.pad(x, (0, 0, 0, 0, 0, cube.config.d_ins[0] - x.shape[1]))


@st.composite
def cubes(draw: st.DrawFn) -> tuple[CubeMLP, Tensor]:
    """Draw a cube mixer in float64, and a cube whose last frames may be missing."""
    sizes = st.lists(st.integers(3, 6), min_size=3, max_size=3)
    d_ins, project = draw(sizes), draw(st.booleans())
    outs = [draw(sizes) if project else d_ins for _ in range(draw(st.integers(1, 3)))]
    options: dict[str, Any] = {"norm": draw(st.sampled_from(["pre", "post", "branch"])), "res_project": project}
    config = CubeMLPConfig(
        d_ins, [draw(sizes) for _ in outs], outs, activation=draw(st.sampled_from(sorted(ACTIVATIONS))), **options
    )
    generator = torch_generator(draw(st.integers(0, 2**31)), "values")
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, d_ins[0])), *d_ins[1:])
    return made(config, generator), torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)


@settings(deadline=None, max_examples=60)
@given(cubes())
def test_missing_frames_are_zeros_and_the_fast_path_is_the_equations(drawn: tuple[CubeMLP, Tensor]) -> None:
    cube, x = drawn  # CUBEMLP-C5
    fast, plain = cube(x), by_equations(cube, padded(cube, x))
    wanted = [x, *cube.parameters()]
    gradients = zip(
        torch.autograd.grad(fast.sin().sum(), wanted), torch.autograd.grad(plain.sin().sum(), wanted), strict=True
    )
    assert (fast - plain).abs().max() < 1e-10
    for ours, expected in gradients:  # to 1e-8, as layer norms over few values are steep
        assert (ours - expected).abs().max() <= 1e-8 * expected.abs().max().clamp(min=1)


@settings(deadline=None, max_examples=30)
@given(cubes(), st.randoms(use_true_random=False))
def test_a_mixer_does_not_see_the_order_of_the_other_axes(drawn: tuple[CubeMLP, Tensor], random: Any) -> None:
    cube, x = drawn  # CUBEMLP-C4
    x = padded(cube, x)
    for mixer in cube.blocks[0].children():
        for other, place in AXES.items():
            if other == mixer.axis:
                continue
            order = list(range(x.shape[place]))
            random.shuffle(order)
            moved = torch.tensor(order)
            torch.testing.assert_close(
                along(mixer, x.index_select(place, moved)),
                along(mixer, x).index_select(place, moved),
                rtol=0,
                atol=1e-10,
            )


@settings(deadline=None, max_examples=30)
@given(cubes(), st.randoms(use_true_random=False))
def test_samples_are_mixed_each_alone(drawn: tuple[CubeMLP, Tensor], random: Any) -> None:
    cube, x = drawn  # CUBEMLP-C6, of the cube alone
    place = random.randrange(len(x))
    torch.testing.assert_close(cube(x[place : place + 1])[0], cube(x)[place], rtol=0, atol=1e-10)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31))
def test_without_norm_and_activation_a_block_is_a_kronecker_product(seed: int) -> None:
    generator = torch_generator(seed, "maps")  # CUBEMLP-C4
    maps: dict[Axis, tuple[Tensor, Tensor, Tensor]] = {}
    for axis, (d_in, d_hidden, d_out) in zip(AXES, ((5, 4, 3), (3, 2, 4), (2, 6, 5)), strict=True):
        shapes = ((d_hidden, d_in), (d_out, d_hidden), (d_out, d_in))
        first, second, residual = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
        maps[axis] = (first, second, residual)
    x = torch.randn(2, 5, 3, 2, generator=generator, dtype=torch.float64)
    y = x
    for axis, (first, second, residual) in maps.items():
        nothing = MixerWeights((first, None), (second, None), (first, first), residual)
        moved = y.movedim(AXES[axis], -1)
        y = (mlp(moved, nothing, nn.Identity()) + moved @ residual.mT).movedim(-1, AXES[axis])
    time, modality, channel = (second @ first + residual for first, second, residual in maps.values())
    whole = torch.kron(torch.kron(time, modality), channel)
    torch.testing.assert_close((x.flatten(1) @ whole.mT).view_as(y), y, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("norm", ["pre", "post", "branch"])
def test_the_fast_path_has_the_zero_tail_of_every_length(norm: Any) -> None:  # CUBEMLP-C5
    generator = torch_generator(0, norm)
    cube = made(CubeMLPConfig((20, 3, 16), ((12, 3, 16), (5, 3, 8)), norm=norm), generator)
    x = torch.randn(3, 20, 3, 16, generator=generator, dtype=torch.float64)
    for frames in range(1, 21):
        expected = by_equations(cube, padded(cube, x[:, :frames]))
        assert (cube(x[:, :frames]) - expected).abs().max() < 1e-12
        assert (cube(padded(cube, x[:, :frames])) - expected).abs().max() < 1e-12
