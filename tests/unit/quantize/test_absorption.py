"""Factors on rectified channels leave the function of a network as it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.unit.quantize import small_networks as nets
from torch import Tensor, nn

from modicum.core.resnet import resnet20
from modicum.quantize.graph.graph import Graph, folded
from modicum.quantize.graph.ops import Convolution, Linear
from modicum.quantize.graph.trace import trace
from modicum.quantize.hessian.layers import absorb, mantissas, readers


def traced(model: nn.Module, size: int) -> Graph:
    return folded(trace(nets.stirred(model), nets.images(size)[:2]))


def absorbed(graph: Graph, names: list[str]) -> Graph:
    generator = torch.Generator().manual_seed(7)
    for name in names:
        channels = len(graph.layers[name].weight)
        graph = absorb(graph, name, 2 ** (torch.rand(channels, generator=generator, dtype=torch.float64) * 2 - 1))
    return graph


def outputs(graph: Graph, x: Tensor) -> Tensor:
    return graph.run({}, x=x)[graph.output]


class Wide(nn.Module):
    """A grouped, a depthwise and a wide depthwise reader, and a linear one behind several pixels of a channel."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.grouped = nn.Conv2d(8, 12, 3, groups=4, padding=1)
        self.depthwise = nn.Conv2d(12, 12, 3, groups=12, padding=1, stride=2)
        self.wide = nn.Conv2d(12, 24, 3, groups=12)
        self.last = nn.Linear(24 * 4, 5)
        self.head = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map images of 8x8 to two numbers."""
        for layer in (self.first, self.grouped, self.depthwise, self.wide):
            x = torch.relu(layer(x))
        return self.head(torch.relu(self.last(x.flatten(1))))


@pytest.mark.parametrize(
    ("make", "size", "least"),
    [
        (resnet20, 32, 9),  # the first layer of each block; the others end in a residual stream
        (nets.basic_resnet, 32, 3),
        (nets.bottleneck_resnet, 32, 6),
        (nets.regnet_x, 48, 4),
        (Wide, 8, 5),
    ],
)
def test_outputs_are_unchanged_by_any_factors(make: Callable[[], nn.Module], size: int, least: int) -> None:  # RAPQ-C9
    graph = traced(make(), size)
    x = nets.images(size)
    names = [name for name in graph.layers if readers(graph, name)]
    assert len(names) >= least
    wanted = outputs(graph, x)
    after = absorbed(graph, names)
    torch.testing.assert_close(outputs(after, x), wanted, rtol=0, atol=1e-12 * float(wanted.abs().max()))
    changed = [name for name in names if not torch.equal(after.layers[name].weight, graph.layers[name].weight)]
    assert changed == names


def test_readers_are_found_through_pools_and_flattening() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 2))
    assert readers(traced(model, 8), "0") == ("4",)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    assert readers(traced(model, 8), "0") == ("4",)


def test_last_layer_of_a_block_has_no_readers() -> None:
    graph = traced(nets.cifar_resnet(), 32)
    found = {name: readers(graph, name) for name in graph.layers}
    assert {name for name, it in found.items() if it} == {f"layer{stage}.0.conv1" for stage in (1, 2, 3)}


def test_ceiling_of_relu6_fixes_the_scale() -> None:
    graph = traced(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU6(), nn.Conv2d(4, 4, 3)), 8)
    assert readers(graph, "0") == ()


@pytest.mark.parametrize("tail", [[], [nn.MaxPool2d(2)], [nn.Flatten()]])
def test_output_of_the_network_has_a_scale_of_its_own(tail: list[nn.Module]) -> None:
    graph = traced(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), *tail), 8)
    assert readers(graph, "0") == ()


def test_layer_without_a_rectifier_has_no_readers() -> None:
    graph = traced(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)), 8)
    assert readers(graph, "0") == ()


def test_operator_that_is_not_homogeneous_fixes_the_scale() -> None:
    graph = traced(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Sigmoid(), nn.Conv2d(4, 4, 3)), 8)
    assert readers(graph, "0") == ()


class ChannelsLast(nn.Module):
    """Linear layers over the last axis of images: their channels are not those that convolutions have."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Conv2d(3, 4, 1)
        self.width = nn.Linear(8, 4)
        self.last = nn.Linear(4 * 8 * 4, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map images of 8x8 to two numbers."""
        h = torch.relu(self.rows(x))
        return self.last(torch.relu(self.width(h)).flatten(1))


def test_axes_that_are_no_channels_are_not_scaled() -> None:  # RAPQ-C9
    graph = traced(ChannelsLast(), 8)
    assert {name: readers(graph, name) for name in graph.layers} == {"rows": (), "width": (), "last": ()}


def test_mantissas_bring_scales_to_the_nearest_power_of_two() -> None:
    scale = torch.logspace(-3, 3, 500, base=2, dtype=torch.float64)
    factor = mantissas(scale)
    exponents = torch.log2(scale * factor)
    torch.testing.assert_close(exponents, exponents.round(), rtol=0, atol=1e-12)
    assert factor.min() > 0.7071
    assert factor.max() < 1.4143


def test_absorbing_by_hand() -> None:
    graph = traced(nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.Conv2d(2, 1, 1)), 4)
    factor = torch.tensor([2.0, 4.0], dtype=torch.float64)
    after = absorb(graph, "0", factor)
    first, second = (it.layers["0"] for it in (graph, after))
    assert isinstance(first, Convolution)
    assert isinstance(second, Convolution | Linear)
    torch.testing.assert_close(second.weight, first.weight * factor[:, None, None, None])
    torch.testing.assert_close(second.bias, first.bias * factor)
    torch.testing.assert_close(after.layers["2"].weight, graph.layers["2"].weight / factor[None, :, None, None])
    assert torch.equal(after.layers["2"].bias, graph.layers["2"].bias)
