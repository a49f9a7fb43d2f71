"""What a quantized network is made of, what quantization did to its layers, and what stays in floating point."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from modicum.quantize.codes import ActivationGrid, FloatActivationGrid, FloatWeightCode, WeightCode, packed_size
from modicum.quantize.graph.graph import Graph
from modicum.quantize.graph.ops import BatchNorm, Convolution, Linear, Mean, Opaque, Table
from modicum.quantize.graph.placement import source

if TYPE_CHECKING:
    from modicum.quantize.model import QuantizedModel


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerQuality:
    """What quantization did to a layer on calibration data."""

    clipped: float  # share of input values beyond the ends of the grid
    snr_db: float  # power of the output over power of its error, in decibels


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerSummary:
    """A layer."""

    name: str  # of its module
    kind: str  # "3x3 convolution", "3x3 depthwise convolution" or "linear"
    bits: int | None  # of its weights; None if they are real
    weights: int  # number of weights
    parameters: int  # number of weights and biases
    exponents: dict[int, int]  # number of channels by exponent, the smallest first; empty if scales are real
    zeros: dict[int, int]  # number of channels by zero point, likewise
    bytes: int | None  # packed weights, exponents, zero points and biases; None if it cannot be stored
    quality: LayerQuality | None  # None if nothing was measured


@dataclass(frozen=True, kw_only=True, slots=True)
class GridSummary:
    """The grid of a tensor between layers."""

    name: str  # of its node
    bits: int  # n
    signed: bool  # whether it goes below zero
    exponent: int | None  # None if the scale is real
    scale: float  # the step


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """A network."""

    layers: tuple[LayerSummary, ...]  # in the order of running
    grids: tuple[GridSummary, ...]  # likewise
    floats: tuple[FloatPart, ...] = ()  # what stays in floating point, with 32 bits a parameter, likewise

    @property
    def parameters(self) -> int:
        """Number of weights and biases, also of those that stay in floating point."""
        return sum(it.parameters for it in (*self.layers, *self.floats))

    @property
    def bytes(self) -> int | None:
        """Of all parameters, without names and graph; None if a layer cannot be stored."""
        sizes = [it.bytes for it in (*self.layers, *self.floats)]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def exponents(self) -> dict[int, int]:
        """Number of channels by exponent, over all layers, the smallest first."""
        found: dict[int, int] = {}
        for layer in self.layers:
            for exponent, count in layer.exponents.items():
                found[exponent] = found.get(exponent, 0) + count
        return dict(sorted(found.items()))

    def to_dict(self) -> dict[str, Any]:
        """Give all of it as what JSON can hold; exponents and zero points become strings there."""
        layers = [asdict(it) | {"exponents": _as_text(it.exponents), "zeros": _as_text(it.zeros)} for it in self.layers]
        totals = {"parameters": self.parameters, "bytes": self.bytes, "mean_bits": self.mean_bits}
        grids, floats = ([asdict(it) for it in them] for them in (self.grids, self.floats))
        return {"layers": layers, "grids": grids, "floats": floats, "totals": totals}

    @property
    def mean_bits(self) -> float | None:
        """Bits per weight, 32 of those in floating point; without exponents, zero points and biases."""
        # None if a layer has no codes.
        stored = [(it.bits, it.weights) for it in self.layers if it.bits is not None]
        if len(stored) < len(self.layers):
            return None
        stored += [(32, it.weights) for it in self.floats]
        return sum(bits * count for bits, count in stored) / sum(count for _, count in stored)

    def __str__(self) -> str:
        measured = any(it.quality for it in self.layers)
        head = ("layer", "kind", "bits", "exponents", "zero points", "parameters", "bytes")
        rows = [head + (("clipped", "SNR") if measured else ())]
        rows += [_row(it, measured=measured) for it in self.layers]
        rows += [_float_row(it, measured=measured) for it in self.floats if it.parameters]
        lines = aligned_rows(rows)
        if self.grids:
            grids = [("grid", "bits", "sign", "step")]
            grids += [(it.name, str(it.bits), "signed" if it.signed else "unsigned", _step(it)) for it in self.grids]
            lines += ["", *aligned_rows(grids)]
        size = "It cannot be stored: a scale is real."
        if self.bytes is not None:
            size = f"{self.bytes} bytes for {self.parameters} parameters; {self.mean_bits:.2f} bits per weight."
        return "\n".join([*lines, "", size])


def summarise(model: QuantizedModel) -> Summary:
    """Say what a quantized network is made of."""
    quality: Mapping[str, LayerQuality] = model.quality
    layers = [
        _layer(name, layer, model.codes.get(name), quality.get(name)) for name, layer in model.graph.layers.items()
    ]
    grids = tuple(_grid(name, grid) for name, grid in model.grids.items())
    return Summary(layers=tuple(layers), grids=grids, floats=float_parts(model.graph, model.network))


def _layer(
    name: str,
    layer: Convolution | Linear,
    code: WeightCode | FloatWeightCode | None,
    quality: LayerQuality | None,
) -> LayerSummary:
    whole = code if isinstance(code, WeightCode) else None
    size = None
    if whole is not None:  # a byte for an exponent, one for a zero point and four for a bias
        size = packed_size(whole.codes.numel(), whole.bits) + 6 * layer.bias.numel()
    return LayerSummary(
        name=name,
        kind=_kind(layer),
        bits=None if code is None else code.bits,
        weights=layer.weight.numel(),
        parameters=layer.weight.numel() + layer.bias.numel(),
        exponents={} if whole is None else _counted(whole.exponent.tolist()),
        zeros={} if whole is None else _counted(whole.zero.tolist()),
        bytes=size,
        quality=quality,
    )


def _grid(name: str, grid: ActivationGrid | FloatActivationGrid) -> GridSummary:
    exponent = grid.exponent if isinstance(grid, ActivationGrid) else None
    return GridSummary(name=name, bits=grid.bits, signed=grid.signed, exponent=exponent, scale=grid.scale)


def _kind(layer: Convolution | Linear) -> str:
    if isinstance(layer, Linear):
        return "linear"
    rows, columns = layer.weight.shape[2:]
    depthwise = layer.groups > 1 and layer.weight.shape[1] == 1
    grouped = "depthwise " if depthwise else "grouped " if layer.groups > 1 else ""
    return f"{rows}x{columns} {grouped}convolution"


def _counted(values: list[int]) -> dict[int, int]:
    return {it: values.count(it) for it in sorted(set(values))}


def _as_text(counts: dict[int, int]) -> dict[str, int]:
    return {str(value): count for value, count in counts.items()}


def _row(layer: LayerSummary, *, measured: bool) -> tuple[str, ...]:
    bits = "real" if layer.bits is None else str(layer.bits)
    size = "-" if layer.bytes is None else str(layer.bytes)
    row = (layer.name, layer.kind, bits, _range(layer.exponents), _range(layer.zeros), str(layer.parameters), size)
    if not measured:
        return row
    quality = layer.quality
    return row + (("-", "-") if quality is None else (f"{quality.clipped:.2%}", f"{quality.snr_db:.1f} dB"))


def _float_row(part: FloatPart, *, measured: bool) -> tuple[str, ...]:
    return (part.name, part.kind, "float", "-", "-", str(part.parameters), str(part.bytes), *["-", "-"] * measured)


def _range(counts: dict[int, int]) -> str:
    if not counts:
        return "real"
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} ... {high} ({len(counts)} values)"


def _step(grid: GridSummary) -> str:
    return f"{grid.scale:.6g}" if grid.exponent is None else f"2^{grid.exponent}"


_NAMED = 3  # places of an operator that a warning names


@dataclass(frozen=True, kw_only=True, slots=True)
class FloatPart:
    """A part of a network that stays in floating point."""

    name: str  # of its module, or of its node where no module stands for it
    kind: str  # of its operator, as torch calls it
    weights: int  # number of parameters of tensors with two axes or more; those of one axis are biases and norms
    parameters: int  # number of all its parameters

    @property
    def bytes(self) -> int:
        """Of its parameters in float32."""
        return 4 * self.parameters


def float_parts(graph: Graph, network: nn.Module | None = None) -> tuple[FloatPart, ...]:
    """Give what stays in floating point, in the order of running; a parameter that is read twice counts once."""
    # `network` is the module that runs where the graph stands for one that cannot be traced.
    if network is not None:
        return _of_modules(graph, network)
    found: list[FloatPart] = []
    seen: set[str] = set()
    for node in graph:
        it = node.operation
        if isinstance(it, Opaque):
            own = [it.tensors[name] for name in sorted(it.parameters - seen)]
            seen |= it.parameters
            found.append(_part(it.module or node.name, it.named(), own))
        elif isinstance(it, BatchNorm):
            found.append(_part(node.name, "batch_norm", [it.weight, it.bias]))
        elif isinstance(it, Table) and node.name == graph.output:
            found.append(_part(node.name, it.named(), []))
        elif isinstance(it, Mean) and not it.is_shift:
            found.append(_part(node.name, f"mean of {it.pixels}", []))
    return tuple(found)


def float_share(graph: Graph, parts: Sequence[FloatPart]) -> float:
    """Give the share of the weights that stay in floating point."""
    left = sum(it.weights for it in parts)
    return left / max(1, left + sum(layer.weight.numel() for layer in graph.layers.values()))


def described(parts: Sequence[FloatPart]) -> str:
    """Name operators, and some places of each: "conv1d (0, 2), flatten (5)"."""
    places: dict[str, list[str]] = {}
    for it in parts:
        places.setdefault(it.kind, []).append(it.name)
    return ", ".join(f"{kind} ({_some(list(dict.fromkeys(names)))})" for kind, names in places.items())


def warn_of_floats(graph: Graph, network: nn.Module | None = None) -> None:
    """Warn whoever called `quantize` of what will stay in floating point."""
    parts = float_parts(graph, network)
    share = float_share(graph, parts)
    if share or (parts and network is None):  # layer by layer, norms stay as they are
        warnings.warn(
            f"{share:.1%} of the weights stay in floating point, with these operators: "
            f"{described(parts)}. The result is a simulation without an integer engine, C source or ONNX file; "
            "docs/rapq.md lists the operators that integers stand for.",
            UserWarning,
            stacklevel=5,  # torch wraps the function that calls this one
        )


def _of_modules(graph: Graph, network: nn.Module) -> tuple[FloatPart, ...]:
    quantized = {f"{layer}.{name}" for layer in graph.layers for name in ("weight", "bias")}
    left: dict[str, list[Tensor]] = {}
    for name, parameter in network.named_parameters():
        if name not in quantized:
            left.setdefault(name.rpartition(".")[0], []).append(parameter)
    return tuple(
        _part(place or "the network", type(network.get_submodule(place)).__name__, own) for place, own in left.items()
    )


def _part(name: str, kind: str, own: Iterable[Tensor]) -> FloatPart:
    sizes = [(it.ndim, it.numel()) for it in own]
    weights = sum(size for axes, size in sizes if axes > 1)
    return FloatPart(name=name, kind=kind, weights=weights, parameters=sum(size for _, size in sizes))


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def aligned_rows(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Write rows of cells one below the other, columns aligned to the left."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


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
