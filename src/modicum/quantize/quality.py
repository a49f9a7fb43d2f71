"""What quantization did to each layer, measured on calibration data."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from modicum.quantize.graph.network import Graph
from modicum.quantize.graph.placement import source
from modicum.quantize.model import QuantizedModel
from modicum.quantize.report import LayerQuality

_BATCH = 64


@torch.no_grad()
def measure_quality(reference: Graph, model: QuantizedModel, images: Tensor) -> dict[str, LayerQuality]:
    """Compare every layer of a quantized network with the float one, each fed by its own network."""
    layers = tuple(model.graph.layers)
    inputs = {name: model.graph[name].inputs[0] for name in layers}
    signal, noise = dict.fromkeys(layers, 0.0), dict.fromkeys(layers, 0.0)
    outside, seen = dict.fromkeys(model.grids, 0), dict.fromkeys(model.grids, 0)

    def to_grid(name: str, value: Tensor) -> Tensor:
        grid = model.grids.get(name)
        if grid is None:
            return value
        steps = value / grid.scale
        outside[name] += int(((steps < grid.low - 0.5) | (steps > grid.high + 0.5)).sum())
        seen[name] += value.numel()
        return grid.apply(value)

    for batch in images.split(_BATCH):
        wanted = reference.run({}, x=batch, wanted=layers)
        given = model.graph.run({}, x=batch, wanted=layers, through=to_grid)
        for name in layers:
            signal[name] += float(wanted[name].double().square().sum())
            noise[name] += float((wanted[name].double() - given[name].double()).square().sum())
    sources = {name: source(model.graph, inputs[name]) for name in layers}
    return {
        name: LayerQuality(
            clipped=outside[sources[name]] / seen[sources[name]] if sources[name] in seen else 0.0,
            snr_db=10 * math.log10(signal[name] / noise[name]) if noise[name] and signal[name] else math.inf,
        )
        for name in layers
    }
