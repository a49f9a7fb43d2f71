"""Units have one way in and one way out, and together hold every layer once."""

from __future__ import annotations

import functools

import pytest
import torch
from tests.unit.quantize import small_networks as nets
from torch import Tensor, nn

from modicum.quantize.graph.graph import Graph, folded, units
from modicum.quantize.graph.trace import trace

SIZES = {
    nets.cifar_resnet: 32,
    nets.basic_resnet: 32,
    nets.bottleneck_resnet: 32,
    nets.regnet_y: 48,
    nets.chain: 16,
    nets.Gated: 8,
    nets.Shared: 7,
}


@functools.cache
def graph_of(make: type[nn.Module]) -> Graph:
    return folded(trace(nets.stirred(make()), nets.images(SIZES[make])[:2]))


def test_blocks_of_the_cifar_resnet_are_units() -> None:
    found = [it.layers for it in units(graph_of(nets.cifar_resnet))]
    blocks = [(f"layer{stage}.0.conv1", f"layer{stage}.0.conv2") for stage in (1, 2, 3)]
    assert found == [("conv1",), *blocks, ("linear",)]


@pytest.mark.parametrize(("make", "main"), [(nets.basic_resnet, 2), (nets.bottleneck_resnet, 3)])
def test_blocks_of_resnet_are_units_with_their_shortcuts(make: type[nn.Module], main: int) -> None:
    pieces = [it.layers for it in units(graph_of(make))]
    stages = [[name.partition(".layers.")[0] for name in piece] for piece in pieces]
    assert all(len(set(names)) == 1 for names in stages)
    # The stem, a first stage of one block, a second one of two, of which the first halves the image, the classifier.
    assert [len(piece) for piece in pieces] == [1, main + 1, main + 1, main, 1]


def test_layers_of_a_chain_are_units_of_their_own() -> None:
    assert [it.layers for it in units(graph_of(nets.chain))] == [("0",), ("4",), ("9",), ("12",)]


@pytest.mark.parametrize("make", SIZES)
def test_every_layer_is_in_one_unit(make: type[nn.Module]) -> None:
    graph = graph_of(make)
    assert [name for piece in units(graph) for name in piece.layers] == list(graph.layers)


@pytest.mark.parametrize("make", SIZES)
def test_unit_runs_from_its_entry_alone_to_its_exit(make: type[nn.Module]) -> None:
    graph, x = graph_of(make), nets.images(SIZES[make])
    everything = graph.run({}, x=x, wanted=tuple(node.name for node in graph))
    pieces = units(graph)
    for piece in pieces:
        ran: list[str] = []

        def note(name: str, value: Tensor, ran: list[str] = ran) -> Tensor:
            ran.append(name)
            return value

        given = {piece.entry: everything[piece.entry]}
        found = graph.run(given, wanted=(piece.exit,), through=note)  # without x: nothing before the entry runs
        torch.testing.assert_close(found[piece.exit], everything[piece.exit], rtol=0, atol=0)
        assert set(ran) <= set(piece.nodes)
    assert [it.entry for it in pieces[1:]] == [it.exit for it in pieces[:-1]]
    assert pieces[-1].exit == graph.output
