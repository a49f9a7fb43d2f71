"""The arms of the comparison: the same network, images and bits; scales and rounding differ."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from modicum.core.method import Job, Measurement
from modicum.quantize.certificate import power_of_two_channels
from modicum.quantize.codes import FloatWeightCode, WeightCode
from modicum.quantize.configuration import RAPQConfig
from modicum.quantize.graph.folding import folded
from modicum.quantize.graph.network import Graph
from modicum.quantize.graph.placement import bits_of_weights, sites
from modicum.quantize.graph.tracing import trace
from modicum.quantize.hessian.layers import Recipe, quantize_layers
from modicum.quantize.model import QuantizedModel, simulated
from modicum.quantize.opening import accuracy, logits
from modicum.quantize.polish import distance
from modicum.quantize.problem import Problem, problem, settings
from modicum.quantize.quantizer import quantize
from modicum.quantize.snap import ZeroTreatment, snap_grid, snap_to_nearest

_FLOAT_BITS = 32


def naive_snap(job: Job) -> Measurement:
    """Snap the usual scales to powers of two, and round under each layer's second moments."""
    return _snapped(job, correcting=False)


def snap_corrected(job: Job) -> Measurement:
    """Do the same with our targets and biases, which make up for what earlier layers lost."""
    return _snapped(job, correcting=True)


def rapq_hessian(job: Job) -> Measurement:
    """Try all exponents and zero points under second moments."""
    return _quantized(job, settings(job))


def rapq_paper(job: Job) -> Measurement:
    """Go on from there with unit-wise reconstruction by gradient descent."""
    return _quantized(job, replace(settings(job), method="paper"))


def float_scales(job: Job) -> Measurement:
    """Do as RAPQ by second moments, with real scales."""
    return _quantized(job, replace(settings(job), scales="float"))


def float_network(job: Job) -> Measurement:
    """Quantize nothing."""
    posed = problem(job)
    numbers = sum(it.numel() for it in posed.network.parameters())
    return Measurement(
        value=accuracy(posed.network, posed.test, posed.labels),
        beside={"whole channels": 0.0},
        costs={"kB": 4 * numbers / 1000, "weight bits": float(_FLOAT_BITS)},
    )


def _quantized(job: Job, config: RAPQConfig) -> Measurement:
    posed = problem(job)
    return _measure(quantize(posed.network, posed.calibration, config), posed)


def _snapped(job: Job, *, correcting: bool) -> Measurement:
    posed, config = problem(job), settings(job)
    graph = folded(trace(posed.network, posed.calibration[:2]))
    with torch.no_grad():
        wanted = logits(posed.network, posed.calibration)
        tried = [_snap(graph, posed, config, zeros, correcting=correcting) for zeros in ("kept", "rescaled")]
        # The better treatment of zero points is chosen as a user could: by the outputs on the calibration images.
        best = min(tried, key=lambda model: distance(wanted, model(posed.calibration)))
    return _measure(best, posed)


def _snap(
    graph: Graph, posed: Problem, config: RAPQConfig, zeros: ZeroTreatment, *, correcting: bool
) -> QuantizedModel:
    found = quantize_layers(
        graph,
        posed.calibration,
        Recipe(
            bits=bits_of_weights(graph, config),
            sites=sites(graph, config),
            choice=snap_to_nearest(zeros),
            power=True,
            grid_choice=snap_grid,
            correcting=correcting,
        ),
    )
    shape = tuple(posed.calibration.shape[1:])
    return QuantizedModel(
        simulated(found.corrected, found.codes, found.grids), found.codes, found.grids, config=config, shape=shape
    ).eval()


def _measure(model: QuantizedModel, posed: Problem) -> Measurement:
    codes = model.codes
    channels = sum(len(it.codes) for it in codes.values())
    whole = sum(_whole(model.graph.layers[name].weight, code) for name, code in codes.items())
    bits = sum(code.bits * code.codes.numel() for code in codes.values())
    return Measurement(
        value=accuracy(model, posed.test, posed.labels),
        beside={"whole channels": whole / channels},
        costs={
            "kB": sum(_bytes(code) for code in codes.values()) / 1000,
            "weight bits": bits / sum(code.codes.numel() for code in codes.values()),
        },
    )


def _bytes(code: WeightCode | FloatWeightCode) -> float:
    """Count packed weights, and for each channel a bias, a scale and a zero point (one byte each where whole)."""
    beside = 4 + (1 + 1 if isinstance(code, WeightCode) else 4 + 1)
    return code.bits * code.codes.numel() / 8 + beside * len(code.codes)


def _whole(weight: Tensor, code: WeightCode | FloatWeightCode) -> int:
    return int(power_of_two_channels(weight, code).sum())
