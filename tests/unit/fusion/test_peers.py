"""The fusions that CubeMLP is compared with."""

from __future__ import annotations

import pytest
import torch

from modicum.core.seeding import torch_generator
from modicum.errors import ConfigError
from modicum.fusion import CubeMLP, CubeMLPConfig
from modicum.fusion.comparison.peers import (
    AttentionFusion,
    ConcatenationMLP,
    WeightsOverTime,
    parameters,
    with_parameters_of,
)

KINDS = [ConcatenationMLP, AttentionFusion]
SMALL = CubeMLPConfig((12, 3, 16), [[6, 3, 16], [4, 2, 8]], dropouts=(0.0, 0.0, 0.0))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("config", [CubeMLPConfig(), CubeMLPConfig((9, 3, 32), [[9, 3, 32], [4, 3, 16]])])
def test_peers_are_as_large_as_the_cube(kind: type[ConcatenationMLP], config: CubeMLPConfig) -> None:
    cube = CubeMLP(config)
    assert parameters(with_parameters_of(cube, kind)) == pytest.approx(parameters(cube), rel=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_a_peer_gives_the_shape_of_the_cube_and_does_not_see_padding(kind: type[ConcatenationMLP]) -> None:
    peer = with_parameters_of(CubeMLP(SMALL), kind).double().eval()
    x = torch.randn(3, 7, 3, 16, dtype=torch.float64, generator=torch_generator(0, "cube"))
    x[1, 4:] = 0
    x[2, :, 1] = 0
    y = peer(x)
    assert y.shape == CubeMLP(SMALL).double().eval()(torch.nn.functional.pad(x, (0, 0, 0, 0, 0, 5))).shape
    assert torch.allclose(peer(x[1:2, :4]), y[1:2], atol=1e-12)
    assert not torch.allclose(y[0], y[1])


def test_weights_over_time_begin_at_the_mean_of_the_frames_that_are_there() -> None:
    layer = WeightsOverTime(7).double()
    values = torch.randn(3, 6, 4, dtype=torch.float64, generator=torch_generator(0, "values"))
    frames = torch.tensor([[1, 1, 1, 1, 1, 1], [0, 1, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0]]).bool()
    expected = torch.stack([values[0].mean(0), values[1, [1, 4]].mean(0), torch.zeros(4, dtype=torch.float64)])
    assert torch.allclose(layer(values, frames), expected, atol=1e-12)
    with torch.no_grad():
        layer.change.copy_(torch.tensor([-1 / 6] * 4 + [5 / 6] + [-1 / 6] * 2))
    assert torch.allclose(layer(values, frames)[0], values[0, 4], atol=1e-12)  # the frame that is asked about


@pytest.mark.parametrize("kind", KINDS)
def test_a_peer_can_learn_which_frame_is_asked_about(kind: type[ConcatenationMLP]) -> None:
    peer = with_parameters_of(CubeMLP(SMALL), kind)
    x = torch.randn(2, 7, 3, 16, generator=torch_generator(2, "cube"))
    peer(x).square().sum().backward()
    gradient = peer.get_parameter("over_time.change").grad
    assert gradient is not None
    assert len(gradient[:7].unique()) == 7
    assert not gradient[7:].any()


def test_attention_knows_time_and_modality() -> None:
    peer = with_parameters_of(CubeMLP(SMALL), AttentionFusion).double().eval()
    x = torch.randn(1, 7, 3, 16, dtype=torch.float64, generator=torch_generator(1, "cube"))
    with torch.no_grad():
        peer.get_parameter("modality").copy_(torch.arange(3.0)[:, None])
    assert not torch.allclose(peer(x.flip(1)), peer(x))
    assert not torch.allclose(peer(x.flip(2)), peer(x))


def test_a_cube_too_small_for_a_peer_is_refused() -> None:
    cube = CubeMLP(CubeMLPConfig((2, 3, 64), [[2, 3, 2]]))
    with pytest.raises(ConfigError, match="Compare a larger cube"):
        with_parameters_of(cube, lambda config, width: ConcatenationMLP(config, 100 * width))
