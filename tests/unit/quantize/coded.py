"""A quantized model with random codes: the arithmetic of the engine does not ask whether they are good ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from modicum.quantize.codes import ActivationGrid, WeightCode
from modicum.quantize.configuration import RAPQConfig
from modicum.quantize.functional import power_of_two
from modicum.quantize.graph.graph import Graph, folded
from modicum.quantize.graph.placement import Site, bits_of_weights, simulated, sites
from modicum.quantize.graph.trace import trace
from modicum.quantize.model import QuantizedModel

SAMPLES = 9


def coded(
    module: nn.Module, shape: tuple[int, ...], *, config: RAPQConfig | None = None, signed: bool = True, seed: int = 0
) -> tuple[QuantizedModel, Tensor]:
    """Give a model in float64 whose grids fit what random data make of it, and these data.

    Args:
        module: traced; its weights do not matter.
        shape: of one sample.
        config: bits and rounding.
        signed: whether the grids that may be signed are; the input's, and those behind additions without a ReLU.
        seed: of codes, biases and data.
    """
    config, generator = config or RAPQConfig(), torch.Generator().manual_seed(seed)
    x = torch.randn(SAMPLES, *shape, generator=generator, dtype=torch.float64)
    graph = folded(trace(module, x[:2].float()))
    bits = bits_of_weights(graph, config)
    codes = {name: random_code(it.weight, bits[name], generator) for name, it in graph.layers.items()}
    graph = with_biases(graph, codes, generator)
    grids: dict[str, ActivationGrid] = {}
    for name, site in sites(graph, config).items():
        known = simulated(graph, codes, grids)
        value = known.run({}, x=x, wanted=(name,), through=lambda at, it: on(grids, at, it))[name]
        below = site.unsigned is None and signed
        grids[name] = fitting(value, site, config, below)
    return QuantizedModel(simulated(graph, codes, grids), codes, grids, config=config, shape=shape), x


def random_code(weight: Tensor, bits: int, generator: torch.Generator) -> WeightCode:
    levels, channels = 2**bits, len(weight)
    zero = torch.full((channels,), 128) if bits == 8 else torch.randint(levels, (channels,), generator=generator)
    return WeightCode(
        codes=torch.randint(levels, weight.shape, generator=generator).to(torch.uint8),
        zero=zero.to(torch.uint8),
        exponent=torch.randint(-8, -4, (channels,), generator=generator).to(torch.int8),
        bits=bits,
    )


def with_biases(graph: Graph, codes: Mapping[str, WeightCode], generator: torch.Generator) -> Graph:
    operations = {}
    for name, layer in graph.layers.items():
        scale = 8 * power_of_two(codes[name].exponent, torch.float64)
        bias = torch.randn(len(layer.bias), generator=generator, dtype=torch.float64) * scale
        operations[name] = replace(layer, weight=layer.weight.double(), bias=bias)
    return graph.with_operations(operations)


def fitting(value: Tensor, site: Site, config: RAPQConfig, signed: bool) -> ActivationGrid:
    """Give a grid that clips some of the values."""
    grid = ActivationGrid(bits=site.bits, signed=signed, exponent=0, ceiling=site.ceiling, rounding=config.rounding)
    largest = 0.6 * max(float(value.abs().max()), 2.0**-20)
    top = grid.high if site.ceiling is None else 2**site.bits - 1
    return grid.moved(math.ceil(math.log2(min(largest, site.ceiling or largest) / top)))


def on(grids: Mapping[str, ActivationGrid], name: str, value: Tensor) -> Tensor:
    return grids[name].apply(value) if name in grids else value


def simulated_logits(model: QuantizedModel, x: Tensor) -> np.ndarray:
    with torch.no_grad():
        return model(x).numpy()
