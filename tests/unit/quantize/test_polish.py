"""The polish keeps what brings outputs closer, and says by how much."""

from __future__ import annotations

import math

import pytest
import torch
from tests.unit.quantize.digits_network import trained_digits
from torch import Tensor

from modicum.quantize.codes import ActivationGrid, WeightCode
from modicum.quantize.configuration import RAPQConfig
from modicum.quantize.graph.folding import folded
from modicum.quantize.graph.network import Graph
from modicum.quantize.graph.placement import bits_of_weights, sites
from modicum.quantize.graph.tracing import trace
from modicum.quantize.hessian.layers import Layered, Recipe, powers_of_two, quantize_layers
from modicum.quantize.model import simulated
from modicum.quantize.polish import Polished, distance, polish_grids

CONFIG = RAPQConfig(weight_bits=4, activation_bits=3)


@pytest.fixture(scope="module")
def layered() -> Layered:
    digits = trained_digits()
    graph = folded(trace(digits.model, digits.train[:2]))
    bits, placed = bits_of_weights(graph, CONFIG), sites(graph, CONFIG)
    recipe = Recipe(bits=bits, sites=placed, choice=powers_of_two, power=True)
    return quantize_layers(graph, digits.train[:64], recipe)


def polished(layered: Layered, grids: dict[str, ActivationGrid], images: Tensor) -> tuple[Polished, float]:
    """Polish, and run the network on the grids that come out."""
    codes = layered.codes
    assert all(isinstance(it, WeightCode) for it in codes.values())

    def rebuilt(trial: object) -> Graph:
        return simulated(layered.corrected, codes, trial)  # pyright: ignore[reportArgumentType]

    wanted = layered.graph.run({}, x=images)[layered.graph.output]
    with torch.no_grad():
        found = polish_grids(rebuilt(grids), grids, images, wanted, rebuilt=rebuilt)
        after = rebuilt(found.grids).run(
            {}, x=images, through=lambda name, x: found.grids[name].apply(x) if name in found.grids else x
        )
    return found, distance(wanted, after[layered.graph.output])


def test_distance_after_is_that_of_the_returned_grids_and_never_larger(layered: Layered) -> None:
    grids = {name: it for name, it in layered.grids.items() if isinstance(it, ActivationGrid)}
    found, after = polished(layered, grids, trained_digits().train[:64])
    assert found.after <= found.before
    assert after == pytest.approx(found.after, rel=1e-6)
    assert found.moved == 0 or found.grids != grids
    assert {name: (it.bits, it.signed) for name, it in found.grids.items()} == {
        name: (it.bits, it.signed) for name, it in grids.items()
    }


def test_exponents_that_are_wrong_by_one_are_mended(layered: Layered) -> None:
    grids = {name: it for name, it in layered.grids.items() if isinstance(it, ActivationGrid)}
    wrong = {name: it.moved(it.exponent - (place % 3 == 1)) for place, (name, it) in enumerate(grids.items())}
    found, after = polished(layered, wrong, trained_digits().train[:64])
    assert found.moved >= 2
    assert after == pytest.approx(found.after, rel=1e-6)
    assert found.after < 0.7 * found.before


def test_divergence_of_two_classes_by_hand() -> None:
    wanted, given = torch.tensor([[0.0, math.log(3)]]), torch.tensor([[0.0, 0.0]])
    assert distance(wanted, given) == pytest.approx(0.25 * math.log(0.5) + 0.75 * math.log(1.5))
    assert distance(wanted, wanted + 5) == pytest.approx(0, abs=1e-12)


def test_distance_of_anything_else_is_the_mean_square() -> None:
    assert distance(torch.zeros(2, 1), torch.tensor([[1.0], [3.0]])) == 5
    assert distance(torch.zeros(1, 2, 2, 1), torch.full((1, 2, 2, 1), 2.0)) == 4
