"""What a quantized network is made of: bits, exponents and bytes, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from modicum.quantize.codes import ActivationGrid, FloatActivationGrid, FloatWeightCode, WeightCode
from modicum.quantize.graph.operations import Convolution, Linear
from modicum.quantize.leftover import FloatPart, float_parts
from modicum.quantize.model import QuantizedModel
from modicum.quantize.packing import packed_size
from modicum.quantize.table import aligned_rows


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
