"""A quantized model with random codes: the arithmetic of the engine does not ask whether they are good ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from modicum.quantize.codes import ActivationGrid, WeightCode
from modicum.quantize.configuration import RAPQConfig
from modicum.quantize.functional import power_of_two
from modicum.quantize.graph.folding import folded
from modicum.quantize.graph.placement import bits_of_weights, sites
from modicum.quantize.graph.tracing import trace
from modicum.quantize.model import QuantizedModel, simulated


def random_code(weight: Tensor, bits: int, generator: torch.Generator) -> WeightCode:
    levels, channels = 2**bits, len(weight)
    zero = torch.full((channels,), 128) if bits == 8 else torch.randint(levels, (channels,), generator=generator)
    return WeightCode(
        codes=torch.randint(levels, weight.shape, generator=generator).to(torch.uint8),
        zero=zero.to(torch.uint8),
        exponent=torch.randint(-8, -4, (channels,), generator=generator).to(torch.int8),
        bits=bits,
    )


def coded(
    module: nn.Module,
    shape: tuple[int, ...],
    *,
    config: RAPQConfig | None = None,
    signed: bool = True,
    seed: int = 0,
    grids: Mapping[str, ActivationGrid] | None = None,
) -> tuple[QuantizedModel, Tensor]:
    """Give a model whose grids fit what random data make of it, and a batch of nine samples."""
    config, generator = config or RAPQConfig(), torch.Generator().manual_seed(seed)
    x = torch.randn(9, *shape, generator=generator)
    graph = folded(trace(module, x[:2]))
    bits = bits_of_weights(graph, config)
    codes = {name: random_code(it.weight, bits[name], generator) for name, it in graph.layers.items()}
    found: dict[str, ActivationGrid] = {}
    for name, site in sites(graph, config).items():
        values = simulated(graph, codes, found).run({}, x=x, wanted=(name,), through=lambda at, it: on(found, at, it))
        values = values[name]
        below = not (site.unsigned or (site.unsigned is None and not signed))
        grid = ActivationGrid(
            bits=site.bits, signed=below, exponent=0, ceiling=site.ceiling, rounding=config.rounding
        )
        largest = max(float(values.abs().max()), 1e-6) * (0.7 if site.ceiling is None else 1.0)
        exponent = int(torch.tensor(largest / grid.high).log2().ceil()) if site.ceiling is None else -site.bits + 2
        found[name] = replace(grid, exponent=exponent)
    found |= dict(grids or {})
    graph = simulated(with_bias(graph, codes, found, generator), codes, found)
    return QuantizedModel(graph, codes, found, config=config, shape=shape).double(), x.double()


def on(grids: Mapping[str, ActivationGrid], name: str, value: Tensor) -> Tensor:
    return grids[name].apply(value) if name in grids else value


def with_bias(graph, codes, grids, generator):
    operations = {}
    for name, layer in graph.layers.items():
        bias = torch.randn(len(layer.bias), generator=generator, dtype=torch.float64) * 0.3
        operations[name] = replace(layer, weight=layer.weight.double(), bias=bias * power_of_two(codes[name].exponent, torch.float64) * 16)
    return graph.with_operations(operations)
