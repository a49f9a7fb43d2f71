"""The proof that a quantized network is one of shifts and integers, and how wide these are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from modicum.quantize.bounds import Span, span_of
from modicum.quantize.codes import ActivationGrid, Codes, FloatActivationGrid, FloatWeightCode, Grids, WeightCode
from modicum.quantize.graph.graph import Graph
from modicum.quantize.graph.ops import Convolution, Linear
from modicum.quantize.graph.placement import bias_step, own_of
from modicum.quantize.inspect.report import aligned_rows, float_parts, float_share

if TYPE_CHECKING:
    from modicum.quantize.model import QuantizedModel


Width = Literal["int16", "float32-exact", "int32", "int64", "none"]

_EXACT = 2**24  # integers up to here, and sums of them that stay below, are exact in float32
_SMALLEST, _LARGEST = -126, 127  # exponents of float32 that lose no digit


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerProof:
    """What holds for a layer."""

    name: str  # of the layer
    bits: int  # n of its weights; 0 if they are real
    levels: int  # the largest number of distinct weights of a channel, at most 2^n
    powers_of_two: float  # share of channels whose weights are (q - z) 2^e with an integer z, to the last digit
    accumulator: int | None  # bound of every sum of the layer, in units of its channel; None if its input is real
    reach: int | None  # the same with what is added to it before the next grid, aligned by shifts
    width: Width  # the smallest kind of number that holds `reach`; "none" if there is none
    failures: tuple[str, ...]  # what does not hold, in words


@dataclass(frozen=True, kw_only=True, slots=True)
class Certificate:
    """What holds for a network.

    Args:
        layers: in the order of running.
        failures: what does not hold, of layers and of grids, each with the name of its node.
        float_operations: nodes that have no integer form, and why.
        exact_in_float32: whether float32 computes the very numbers of integers, from the grid of the input to the
            output and in any order of summation (without TF32, Winograd and half precision): every integer, in
            the unit of its channel, is below 2^24.
        float_share: share of the weights that belong to no layer, since they stay in floating point.
    """

    layers: tuple[LayerProof, ...]
    failures: tuple[str, ...]
    float_operations: tuple[str, ...]
    exact_in_float32: bool
    float_share: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether all scales are powers of two, all zero points integers, and all levels within their bits."""
        return not self.failures

    @property
    def whole(self) -> bool:
        """Whether the network can run on integers alone."""
        return self.holds and not self.float_operations

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [
            ("layer", "bits", "levels", "powers of two", "accumulator", "after additions", "fits")
        ]
        for it in self.layers:
            sums = ("-" if bound is None else str(bound) for bound in (it.accumulator, it.reach))
            rows.append((it.name, str(it.bits), str(it.levels), f"{it.powers_of_two:.1%}", *sums, it.width))
        return "\n".join([*aligned_rows(rows), *self.sentences()])

    def sentences(self) -> list[str]:
        """Give the verdict as lines, without the table; what is computed in floating point comes first."""
        lines = ["The certificate holds: every scale is a power of two, and every zero point an integer."]
        if not self.holds:
            lines = ["The certificate does not hold:", *(f"  {it}" for it in self.failures)]
        if self.float_operations:
            floats = ["Computed in floating point:", *(f"  {it}" for it in self.float_operations)]
            if self.holds:
                count, share = len(self.layers), 1 - self.float_share
                them = f"{count} layer{'s' * (count > 1)}, {share:.1%} of all weights"
                lines = [f"The certificate holds for the weights of {them}, and not for these operations."]
            lines = floats + lines
        exact = "equals the integers bit for bit" if self.exact_in_float32 else "is not proved equal to the integers"
        return [*lines, f"The simulation in float32 {exact}."]


def certify(model: QuantizedModel) -> Certificate:
    """Prove what can be proved of a quantized network from its codes and from the weights that it multiplies with."""
    bounds = bounds_of(model.graph, model.codes, model.grids)
    layers = tuple(_prove(model, name, bounds) for name in model.graph.layers)
    failures = [f"{layer.name}: {it}" for layer in layers for it in layer.failures]
    failures += [f"{name}: {it}" for name, grid in model.grids.items() for it in _grid_failures(grid)]
    real = tuple(f"{name}: {reason}" for name, reason in bounds.real.items())
    exact = not failures and not real and all(map(_is_exact, bounds.computed.values()))
    return Certificate(
        layers=layers,
        failures=tuple(failures),
        float_operations=real,
        exact_in_float32=exact,
        float_share=float_share(model.graph, float_parts(model.graph, model.network)),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """The integers of a network."""

    computed: dict[str, Span] = field(default_factory=dict[str, Span])
    on_grid: dict[str, Span] = field(default_factory=dict[str, Span])  # by node, what its readers see
    real: dict[str, str] = field(default_factory=dict[str, str])  # by node, why it has no integer form
    reach: dict[str, int] = field(default_factory=dict[str, int])


def bounds_of(graph: Graph, codes: Codes, grids: Grids) -> Bounds:
    """Bound every tensor of a network that computes with integers."""
    bounds = Bounds()
    for node in graph:
        inputs: Sequence[Span | None] = [bounds.on_grid.get(name) for name in node.inputs]
        found = node.operation.bounds(inputs, own_of(graph, node, codes, grids))
        if isinstance(found, Span):
            bounds.computed[node.name] = found
            for layer in found.layers:
                bounds.reach[layer] = max(bounds.reach.get(layer, 0), found.largest)
        elif found:
            bounds.real[node.name] = found
        grid = grids.get(node.name)
        if isinstance(grid, ActivationGrid):
            bounds.on_grid[node.name] = span_of(grid)
        elif isinstance(found, Span) and grid is None:
            bounds.on_grid[node.name] = found
    return bounds


def width_of(bound: int | None) -> Width:
    """Name the smallest kind of number that holds all integers up to a bound and down to its negative."""
    if bound is None:
        return "none"
    kinds: tuple[tuple[Width, int], ...] = (("int16", 15), ("float32-exact", 24), ("int32", 31), ("int64", 63))
    for kind, digits in kinds:
        if bound < 2**digits:
            return kind
    return "none"


def power_of_two_channels(weight: Tensor, code: WeightCode | FloatWeightCode) -> Tensor:
    """Tell of each channel whether its weights are integer multiples of a power of two, as its code says."""
    if isinstance(code, WeightCode):
        expected = code.dequantized(torch.float64)
        whole = torch.ones(len(weight), dtype=torch.bool, device=weight.device)
    else:
        expected = code.dequantized(torch.float64).to(weight.dtype).double()
        mantissa = torch.frexp(code.scale).mantissa
        whole = (mantissa == 0.5) & (code.zero == code.zero.round())
    return (weight.double() == expected).flatten(1).all(dim=1) & whole


def _prove(model: QuantizedModel, name: str, bounds: Bounds) -> LayerProof:
    layer, code = model.graph.layers[name], model.codes.get(name)
    span, reach = bounds.computed.get(name), bounds.reach.get(name)
    levels = _levels(layer.weight)
    if code is None:
        share, failures = 0.0, ["its weights have no codes"]
    else:
        found = power_of_two_channels(layer.weight, code)
        share = float(found.double().mean())
        failures = _code_failures(code, levels) + _channel_failures(found, code)
        failures += _bias_failures(model, name, layer) + _sum_failures(reach)
    return LayerProof(
        name=name,
        bits=0 if code is None else code.bits,
        levels=levels,
        powers_of_two=share,
        accumulator=None if span is None else span.largest,
        reach=reach,
        width=width_of(reach),
        failures=tuple(failures),
    )


def _levels(weight: Tensor) -> int:
    ordered = weight.flatten(1).sort(dim=1).values
    return 1 + int((ordered[:, 1:] != ordered[:, :-1]).sum(dim=1).max())


def _channel_failures(found: Tensor, code: WeightCode | FloatWeightCode) -> list[str]:
    wrong = int((~found).sum())
    if not wrong:
        return []
    if isinstance(code, WeightCode):
        return [f"the weights of {wrong} of {len(found)} channels are not those of their codes"]
    return [f"the scale or the zero point of {wrong} of {len(found)} channels is real"]


def _code_failures(code: WeightCode | FloatWeightCode, levels: int) -> list[str]:
    failures: list[str] = []
    most = 2**code.bits - 1
    if levels > most + 1:
        failures.append(f"{levels} levels in a channel, but {code.bits} bits have {most + 1}")
    if int(code.codes.max()) > most:
        failures.append(f"a code of {int(code.codes.max())}, but {code.bits} bits end at {most}")
    if bool(((code.zero < 0) | (code.zero > most)).any()):
        failures.append(f"a zero point outside of 0 ... {most}")
    if isinstance(code, FloatWeightCode):
        return failures
    if code.bits == 8 and bool((code.zero != 128).any()):
        failures.append("a zero point of 8 bits that is not 128")
    return failures


def _bias_failures(model: QuantizedModel, name: str, layer: Convolution | Linear) -> list[str]:
    step = bias_step(model.graph, model.codes, model.grids, name)
    if step is None:
        return []
    number = layer.bias.double() / step
    if not bool((number == number.round()).all()):
        return ["a bias that is no integer multiple of the accumulator's unit"]
    return ["a bias beyond 32 bits"] if float(number.abs().max()) >= 2**31 else []


def _sum_failures(reach: int | None) -> list[str]:
    return ["its sums fit no integer of 64 bits"] if reach is not None and reach >= 2**63 else []


def _grid_failures(grid: ActivationGrid | FloatActivationGrid) -> list[str]:
    if isinstance(grid, FloatActivationGrid):
        return ["the scale of its grid is real"]
    return [f"a step of its grid is larger than the ceiling {grid.ceiling}"] if grid.high < 1 else []


def _is_exact(span: Span) -> bool:
    used = span.reach > 0
    digits = np.array([math.log2(max(1, it)) for it in span.reach])  # of integers beyond int64, too
    fits = (span.exponents >= _SMALLEST) & (span.exponents + digits < _LARGEST)
    return span.largest < _EXACT and bool((fits | ~used).all())
