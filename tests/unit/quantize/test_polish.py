"""The polish keeps what brings outputs closer, and says by how much."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from tests.unit.quantize.digits_network import trained_digits
from torch import Tensor

from modicum.quantize.codes import ActivationGrid, WeightCode
from modicum.quantize.configuration import RAPQConfig
from modicum.quantize.graph.graph import Graph, folded
from modicum.quantize.graph.ops import Convolution, Linear, Operation
from modicum.quantize.graph.placement import bits_of_weights, simulated, sites
from modicum.quantize.graph.trace import trace
from modicum.quantize.hessian.layers import (
    Layered,
    Neighbour,
    Recipe,
    powers_of_two,
    quantize_layers,
    with_biases,
)
from modicum.quantize.polish import Moves, Polished, State, distance, grid_moves, polish
from modicum.quantize.weight_moves import gradients, weight_moves

CONFIG = RAPQConfig(weight_bits=4, activation_bits=3)


@pytest.fixture(scope="module")
def layered() -> Layered:
    digits = trained_digits()
    graph = folded(trace(digits.model, digits.train[:2]))
    bits, placed = bits_of_weights(graph, CONFIG), sites(graph, CONFIG)
    recipe = Recipe(bits=bits, sites=placed, choice=powers_of_two, power=True, neighbouring=True)
    return quantize_layers(graph, digits.train[:64], recipe)


def start(layered: Layered) -> State:
    codes = {name: it for name, it in layered.codes.items() if isinstance(it, WeightCode)}
    grids = {name: it for name, it in layered.grids.items() if isinstance(it, ActivationGrid)}
    return State(codes=codes, biases=layered.biases, grids=grids)


def output(layered: Layered, state: State, images: Tensor) -> Tensor:
    through = lambda name, x: state.grids[name].apply(x) if name in state.grids else x
    return graph_of(layered, state).run({}, x=images, through=through)[layered.graph.output]


def graph_of(layered: Layered, state: State) -> Graph:
    return simulated(with_biases(layered.graph, state.biases), state.codes, state.grids)


def polished(layered: Layered, state: State, images: Tensor, *moves: Moves) -> tuple[Polished, float]:
    """Polish, and run the network that comes out."""
    wanted = layered.graph.run({}, x=images)[layered.graph.output]
    found = polish(state, images, wanted, rebuilt=lambda it: graph_of(layered, it), moves=moves or (grid_moves,))
    return found, distance(wanted, output(layered, found.state, images))


def test_distance_after_is_that_of_the_returned_grids_and_never_larger(layered: Layered) -> None:
    state = start(layered)
    found, after = polished(layered, state, trained_digits().train[:64])
    assert found.after <= found.before
    assert after == pytest.approx(found.after, rel=1e-6)
    assert found.moved == 0 or found.state.grids != state.grids
    assert {name: (it.bits, it.signed) for name, it in found.state.grids.items()} == {
        name: (it.bits, it.signed) for name, it in state.grids.items()
    }


def test_exponents_that_are_wrong_by_one_are_mended(layered: Layered) -> None:
    state = start(layered)
    wrong = {name: it.moved(it.exponent - (place % 3 == 1)) for place, (name, it) in enumerate(state.grids.items())}
    found, after = polished(layered, replace(state, grids=wrong), trained_digits().train[:64])
    assert found.moved >= 2
    assert after == pytest.approx(found.after, rel=1e-6)
    assert found.after < 0.7 * found.before


def test_weights_on_wrong_exponents_are_mended(layered: Layered) -> None:
    images, state = trained_digits().train[:64], start(layered)
    name = list(state.codes)[1]
    right = state.codes[name], state.biases[name]
    worse = layered.neighbours[name][0]
    wrong = replace(state, codes={**state.codes, name: worse.code}, biases={**state.biases, name: worse.bias})
    back = {name: (Neighbour(code=right[0], bias=right[1]),)}
    wanted = layered.graph.run({}, x=images)[layered.graph.output]
    slopes = gradients(graph_of(layered, wrong), wrong.grids, images, wanted)
    found, after = polished(layered, wrong, images, weight_moves(back, slopes))
    assert found.moved == 1
    assert after == pytest.approx(found.after, rel=1e-6)
    assert found.after < found.before
    moved = found.state.codes[name].exponent != worse.code.exponent
    assert bool(moved.any())
    assert torch.equal(found.state.codes[name].codes[moved], right[0].codes[moved])
    assert torch.equal(found.state.codes[name].codes[~moved], worse.code.codes[~moved])
    assert {it for it in found.state.codes if found.state.codes[it] is not wrong.codes[it]} == {name}


def test_neighbours_are_one_octave_beside(layered: Layered) -> None:
    codes = start(layered).codes
    for name, (up, down) in layered.neighbours.items():
        exponent = codes[name].exponent
        assert torch.equal(up.code.exponent, exponent + 1)
        assert torch.equal(down.code.exponent, exponent - 1)


def test_slopes_are_those_of_finite_differences_where_no_grid_rounds(layered: Layered) -> None:
    images = trained_digits().train[:100].double()  # more than one piece
    graph = Graph(nodes=tuple(replace(it, operation=_doubled(it.operation)) for it in layered.graph))
    wanted = torch.flip(graph.run({}, x=images)[graph.output], (0,))
    name = list(graph.layers)[1]
    slopes = gradients(graph, {}, images, wanted)[name]
    along = torch.randn(slopes[0].shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def at(step: float) -> float:
        layer = graph.layers[name]
        moved = graph.with_operations({name: replace(layer, weight=layer.weight + step * along)})
        return distance(wanted, moved.run({}, x=images)[graph.output])

    step = 1e-8  # so small that no ReLU turns on or off between, whatever weights training reached on this processor
    assert float((slopes[0] * along).sum()) == pytest.approx((at(step) - at(-step)) / (2 * step), rel=1e-5)


def _doubled(operation: Operation) -> Operation:
    if isinstance(operation, Convolution | Linear):
        return replace(operation, weight=operation.weight.double(), bias=operation.bias.double())
    return operation


def test_divergence_of_two_classes_by_hand() -> None:
    wanted, given = torch.tensor([[0.0, math.log(3)]]), torch.tensor([[0.0, 0.0]])
    assert distance(wanted, given) == pytest.approx(0.25 * math.log(0.5) + 0.75 * math.log(1.5))
    assert distance(wanted, wanted + 5) == pytest.approx(0, abs=1e-12)


def test_distance_of_anything_else_is_the_mean_square() -> None:
    assert distance(torch.zeros(2, 1), torch.tensor([[1.0], [3.0]])) == 5
    assert distance(torch.zeros(1, 2, 2, 1), torch.full((1, 2, 2, 1), 2.0)) == 4
