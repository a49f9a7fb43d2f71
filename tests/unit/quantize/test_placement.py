"""Which tensors have a grid, and of how many bits."""

from __future__ import annotations

import functools

import pytest
import torch
from tests.unit.quantize import small_networks as nets
from torch import nn

from modicum.errors import ConfigError, ModelError
from modicum.quantize.configuration import LayerBits, RAPQConfig
from modicum.quantize.graph.graph import Graph, folded
from modicum.quantize.graph.ops import Activation, Add, Convolution, MeanPool
from modicum.quantize.graph.placement import bits_of_weights, check_layers, sites, source
from modicum.quantize.graph.trace import trace

W2A4 = RAPQConfig(weight_bits=2, activation_bits=4)


@functools.cache
def graph() -> Graph:
    return folded(trace(nets.stirred(nets.cifar_resnet()), nets.images(32)[:2]))


@functools.cache
def mobilenet() -> Graph:
    return folded(trace(nets.stirred(nets.mobilenet()), nets.images(64)[:2]))


def test_first_and_last_weights_have_their_own_bits() -> None:
    assert list(bits_of_weights(graph(), W2A4).values()) == [8, 2, 2, 2, 2, 2, 2, 8]


def test_input_first_output_and_last_input_have_eight_bits() -> None:
    network = graph()
    bits = {name: site.bits for name, site in sites(network, W2A4).items()}
    relus = [node.name for node in network if isinstance(node.operation, Activation)]
    mean = next(node.name for node in network if isinstance(node.operation, MeanPool))
    # conv1 before two relus a block: the last of them is what the mean is taken of.
    expected = {network.nodes[0].name: 8, relus[0]: 8, **dict.fromkeys(relus[1:-1], 4), relus[-1]: 8, mean: 8}
    assert bits == expected


def test_tensors_behind_rectifiers_and_their_means_are_unsigned() -> None:
    found = sites(graph(), W2A4)
    assert found[graph().nodes[0].name].unsigned is None
    assert all(site.unsigned for name, site in found.items() if name != graph().nodes[0].name)


def test_sums_of_a_residual_stream_have_no_grid_but_behind_the_rectifier() -> None:
    network, found = graph(), sites(graph(), W2A4)
    for node in network:
        if isinstance(node.operation, Add):
            assert node.name not in found
            assert all(isinstance(it.operation, Activation) for it in network.consumers(node.name))
            assert not any(name in found and name in network.layers for name in node.inputs)


def test_output_of_the_network_has_no_grid() -> None:
    assert graph().output not in sites(graph(), W2A4)
    alone = folded(trace(nn.Sequential(nn.Linear(3, 2), nn.ReLU()).double(), nets.images(3)[:2, 0]))
    assert alone.output not in sites(alone, W2A4)


def test_relu6_gives_its_ceiling_and_linear_bottlenecks_are_signed_by_data() -> None:
    network, found = mobilenet(), sites(mobilenet(), W2A4)
    ceilings = {name: site.ceiling for name, site in found.items()}
    for node in network:
        if isinstance(node.operation, Activation):
            assert (ceilings[node.name], found[node.name].unsigned) == (6.0, True)
        if node.name in found and isinstance(node.operation, Convolution | Add):
            assert (ceilings[node.name], found[node.name].unsigned) == (None, None)
    assert any(isinstance(network[name].operation, Add) for name in found)


def test_every_layer_reads_a_tensor_on_a_grid() -> None:
    for network in (graph(), mobilenet()):
        found = sites(network, W2A4)
        for name in network.layers:
            assert source(network, network[name].inputs[0]) in found


def test_weights_alone_need_no_grids() -> None:
    assert sites(graph(), RAPQConfig(activation_bits=None)) == {}


def test_single_layers_have_bits_of_their_own() -> None:
    own = {"layer1.0.conv2": LayerBits(weight_bits=3, activation_bits=6), "linear": LayerBits(weight_bits=5)}
    config = RAPQConfig(weight_bits=2, activation_bits=4, per_layer=own)
    weights = bits_of_weights(graph(), config)
    assert (weights["layer1.0.conv2"], weights["linear"], weights["conv1"]) == (3, 5, 8)
    placed = sites(graph(), config)
    before = source(graph(), graph()["layer1.0.conv2"].inputs[0])
    changed = {name for name, site in placed.items() if site != sites(graph(), W2A4)[name]}
    assert (changed, placed[before].bits) == ({before}, 6)


def test_input_of_the_last_layer_can_have_bits_of_its_own_and_so_has_what_the_mean_is_taken_of() -> None:
    config = RAPQConfig(weight_bits=2, activation_bits=4, per_layer={"linear": LayerBits(activation_bits=5)})
    placed = sites(graph(), config)
    mean = source(graph(), graph()["linear"].inputs[0])
    assert isinstance(graph()[mean].operation, MeanPool)
    assert placed[mean].bits == placed[graph()[mean].inputs[0]].bits == 5


def test_unknown_layer_is_named_with_those_that_there_are() -> None:
    config = RAPQConfig(per_layer={"layer9": LayerBits(weight_bits=4)})
    with pytest.raises(ConfigError, match=r"'layer9'.*conv1, layer1\.0\.conv1"):
        check_layers(graph(), config)


@pytest.mark.parametrize(
    ("parameter", "value", "layer"),
    [("0.bias", torch.inf, "0"), ("3.weight", torch.nan, "3"), ("1.running_var", torch.nan, "0")],
)
def test_a_layer_whose_weights_are_not_finite_is_named(parameter: str, value: float, layer: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3)).eval()
    model.state_dict()[parameter].view(-1)[0] = value
    with pytest.raises(ModelError, match=f"The weights or biases of {layer} are not finite"):
        check_layers(folded(trace(model, torch.zeros(2, 3, 8, 8))), W2A4)


def test_network_without_layers_is_refused() -> None:
    empty = folded(trace(nn.Sequential(nn.ReLU(), nn.Flatten()), nets.images(4)[:2]))
    with pytest.raises(ModelError, match="no convolution over images and no linear layer"):
        check_layers(empty, W2A4)
