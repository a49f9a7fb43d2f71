"""The polish keeps what brings outputs closer, and says by how much."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import cast

import pytest
import torch
from tests.unit.quantize.digits_network import trained_digits

from modicum.quantize.codes import ActivationGrid
from modicum.quantize.configuration import RAPQConfig
from modicum.quantize.graph.graph import folded
from modicum.quantize.graph.placement import bits_of_weights, simulated, sites
from modicum.quantize.graph.trace import trace
from modicum.quantize.hessian.layers import Layered, Recipe, powers_of_two, quantize_layers
from modicum.quantize.polish import Polished, distance, polish

CONFIG = RAPQConfig(weight_bits=4, activation_bits=3)


@pytest.fixture(scope="module")
def layered() -> Layered:
    digits = trained_digits()
    graph = folded(trace(digits.model, digits.train[:2]))
    bits, placed = bits_of_weights(graph, CONFIG), sites(graph, CONFIG)
    return quantize_layers(graph, digits.train[:64], Recipe(bits=bits, sites=placed, choice=powers_of_two, power=True))


def polished(layered: Layered) -> tuple[Polished, float]:
    """Polish, and run the network that comes out."""
    images = trained_digits().train[:64]
    found = polish(layered, images)
    after, grids = found.layered, found.layered.grids
    through = lambda name, x: grids[name].apply(x) if name in grids else x
    graph = simulated(after.corrected, after.codes, grids)
    wanted = layered.graph.run({}, x=images)[layered.graph.output]
    return found, distance(wanted, graph.run({}, x=images, through=through)[graph.output])


def test_distance_after_is_that_of_the_returned_grids_and_never_larger(layered: Layered) -> None:
    found, after = polished(layered)
    assert found.after <= found.before
    assert after == pytest.approx(found.after, rel=1e-6)
    assert found.moved == 0 or found.layered.grids != layered.grids
    assert {name: (it.bits, it.signed) for name, it in found.layered.grids.items()} == {
        name: (it.bits, it.signed) for name, it in layered.grids.items()
    }


def test_exponents_that_are_wrong_by_one_are_mended(layered: Layered) -> None:
    grids = cast("dict[str, ActivationGrid]", layered.grids)
    wrong = {name: it.moved(it.exponent - (place % 3 == 1)) for place, (name, it) in enumerate(grids.items())}
    found, after = polished(replace(layered, grids=wrong))
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
