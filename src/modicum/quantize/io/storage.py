"""One safetensors file for a quantized network: packed codes, integer exponents, integer biases, and a description."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn

from modicum.core.storage import Format, Tensors, read_tensors, write_tensors
from modicum.errors import ConfigError, DataError, ModelError
from modicum.quantize.codes import ActivationGrid, WeightCode, pack_bits, unpack_bits
from modicum.quantize.configuration import LEAST_BITS, MOST_BITS
from modicum.quantize.graph.graph import Graph, Node, folded
from modicum.quantize.graph.ops import BatchNorm, Opaque
from modicum.quantize.graph.placement import bias_integers, bias_step
from modicum.quantize.graph.trace import trace
from modicum.quantize.inspect.certificate import certify
from modicum.quantize.io.document import Blank, Document, blanks, check_name, read_document, write_document

if TYPE_CHECKING:
    from modicum.quantize.model import QuantizedModel


_FORMAT = Format(
    name="modicum.quantize",
    version=2,
    what="quantized network",
    hint="Name a file that save() or `modicum quantize run` wrote, complete.",
)
_DAMAGED = "The file is damaged: write it again."
_FLOAT = "float/"  # before the names of tensors that stay in floating point
_ANOTHER = "Pass the network that was quantized, in the class and sizes that it had, or quantize again."


def save(model: QuantizedModel, path: Path | str) -> None:
    """Write a quantized network to one file, whole or not at all."""
    # Weights take n bits each. There is a tensor "<layer>.codes" for each layer; "exponents", "zeros" and "biases" hold
    # those of all layers in the order of running ("real_biases" those of layers whose input has no grid). The gamma of
    # folded batch norms, which nothing needs after quantization, is left out. Of an operator that integers do not stand
    # for there are its label and its tensors ("float/<name>"), and no code. The metadata has one entry,
    # "modicum.quantize/2" with the version of the format behind the stroke; the same network gives the same bytes.
    tensors = _tensors(model)
    bits = {name: code.bits for name, code in model.codes.items()}
    grids = {name: grid for name, grid in model.grids.items() if isinstance(grid, ActivationGrid)}
    text = write_document(model.graph, bits, grids, config=model.config, shape=model.shape, quality=model.quality)
    arrays = {name: it.detach().cpu().numpy() for name, it in tensors.items()}
    write_tensors(Path(path), arrays, metadata={f"{_FORMAT.name}/{_FORMAT.version}": text})


def load(path: Path | str, network: nn.Module | None = None) -> tuple[Graph, dict[str, WeightCode], Document]:
    """Read a network that `save` wrote; nothing in the file is executed."""
    path = Path(path)
    arrays, metadata = read_tensors(path, hint="It is not there, truncated or damaged: copy it again.")
    key = next((it for it in metadata if it.startswith(f"{_FORMAT.name}/")), "")
    _FORMAT.check(path, *key.split("/", 1) if key else (None, None))
    try:
        document = read_document(metadata[key])
        tensors = Tensors("It", arrays, hint=_DAMAGED)
        graph, codes = _rebuilt(document, tensors, _opaque(document, path, network))
    except DataError as error:
        raise DataError(f"{path}: {error.what}", hint=error.hint) from error
    return graph, codes, document


def _tensors(model: QuantizedModel) -> dict[str, Tensor]:
    if model.network is not None:
        raise ModelError(
            "A network that was quantized layer by layer has no form that can be stored.",
            hint="Quantize it with tracing='export', or keep the network and its configuration.",
        )
    for node in model.graph:
        try:
            check_name(node.name)
        except DataError as error:
            raise ModelError(error.what, hint=error.hint) from error
    codes = {name: code for name, code in model.codes.items() if isinstance(code, WeightCode)}
    failures = [f"{name}: its scale is real" for name in model.graph.layers if name not in codes]
    failures += certify(model).failures
    if failures:
        raise ModelError(
            f"The network is not one of integer codes and exponents; {failures[0]}.",
            hint='Quantize it with scales="power_of_two".',
        )
    graph, grids = model.graph, model.grids
    tensors = {f"{name}.codes": pack_bits(codes[name].codes, codes[name].bits) for name in graph.layers}
    tensors["exponents"] = torch.cat([codes[name].exponent for name in graph.layers])
    tensors["zeros"] = torch.cat([codes[name].zero for name in graph.layers])
    whole = [name for name in graph.layers if bias_step(graph, codes, grids, name) is not None]
    real = [graph.layers[name].bias.float() for name in graph.layers if name not in whole]
    if whole:
        tensors["biases"] = torch.cat([bias_integers(graph, codes, grids, name) for name in whole]).to(torch.int32)
    if real:
        tensors["real_biases"] = torch.cat(real)
    for node in graph:
        if isinstance(node.operation, BatchNorm):
            it = node.operation
            tensors[f"{node.name}.constants"] = torch.stack([it.weight, it.bias, it.mean, it.variance]).float()
        elif isinstance(node.operation, Opaque):
            own = node.operation.tensors
            tensors |= {f"{_FLOAT}{name}": _single(value) for name, value in own.items()}
    return tensors


def _opaque(document: Document, path: Path, network: nn.Module | None) -> dict[str, Opaque]:
    labels = {it.name: it.settings["label"] for it in document.nodes if it.kind == "opaque"}
    if not labels:
        return {}
    if network is None:
        raise ConfigError(
            f"{path} has operators that integers do not stand for ({', '.join(dict.fromkeys(labels.values()))}), and "
            "no code for them.",
            hint="Pass the network that was quantized, with any weights: QuantizedModel.load(path, network=...).",
        )
    graph = folded(trace(copy.deepcopy(network).cpu().float(), torch.zeros(2, *document.shape)))
    if blanks(graph, {it.name: it.bits for it in document.nodes}) != document.nodes:
        raise ConfigError(f"{path} has other operators than {type(network).__name__}.", hint=_ANOTHER)
    return {name: cast("Opaque", graph[name].operation) for name in labels}


def _single(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value


def _rebuilt(document: Document, tensors: Tensors, opaque: Mapping[str, Opaque]) -> tuple[Graph, dict[str, WeightCode]]:
    layers = [it for it in document.nodes if it.kind in {"convolution", "linear"}]
    codes = _codes(layers, tensors)
    nodes = []
    for blank in document.nodes:
        if blank.name in codes:
            code = codes[blank.name]
            nodes.append(blank.filled(weight=code.dequantized(), bias=torch.zeros(len(code.zero))))
        elif blank.kind == "batch_norm":
            constants = _taken(tensors, f"{blank.name}.constants", np.float32, 4, blank.shape[0])
            names = ("weight", "bias", "mean", "variance")
            nodes.append(blank.filled(**dict(zip(names, constants, strict=True))))
        elif blank.kind == "opaque":
            operation = opaque[blank.name]
            own = {name: _like(tensors, f"{_FLOAT}{name}", _single(it)) for name, it in operation.tensors.items()}
            nodes.append(Node(name=blank.name, operation=replace(operation, tensors=own), inputs=blank.inputs))
        else:
            nodes.append(blank.filled())
    graph = _with_biases(Graph(nodes=tuple(nodes)), codes, document.grids, tensors)
    tensors.check_empty()
    return graph, codes


def _taken(tensors: Tensors, name: str, dtype: type[np.generic], *shape: int | None) -> Tensor:
    return torch.from_numpy(tensors.take(name, dtype, shape=shape))


def _like(tensors: Tensors, name: str, wanted: Tensor) -> Tensor:
    try:
        return torch.from_numpy(tensors.take(name, wanted.numpy().dtype.type, shape=tuple(wanted.shape)))
    except DataError as error:
        raise ConfigError(f"In the file {error.what.partition(': ')[2]}", hint=_ANOTHER) from error


def _codes(layers: Sequence[Blank], tensors: Tensors) -> dict[str, WeightCode]:
    for blank in layers:
        axes = 4 if blank.kind == "convolution" else 2
        if len(blank.shape) != axes or min(blank.shape) < 1 or not LEAST_BITS <= blank.bits <= MOST_BITS:
            raise DataError(
                f"{blank.name} has weights of shape {list(blank.shape)} and {blank.bits} bits.", hint=_DAMAGED
            )
    channels = [blank.shape[0] for blank in layers]
    zeros, exponents = (
        _taken(tensors, name, dtype, sum(channels)).split(channels)
        for name, dtype in (("zeros", np.uint8), ("exponents", np.int8))
    )
    return {
        blank.name: _code(blank, tensors, zero, exponent)
        for blank, zero, exponent in zip(layers, zeros, exponents, strict=True)
    }


def _code(blank: Blank, tensors: Tensors, zero: Tensor, exponent: Tensor) -> WeightCode:
    wrong = zero != 128 if blank.bits == 8 else zero >= 2**blank.bits
    if bool(wrong.any()):
        raise DataError(f"{blank.name} has zero points that {blank.bits} bits do not have.", hint=_DAMAGED)
    packed = _taken(tensors, f"{blank.name}.codes", np.uint8, None)
    return WeightCode(
        codes=unpack_bits(packed, blank.bits, math.prod(blank.shape)).view(blank.shape),
        zero=zero.clone(),
        exponent=exponent.clone(),
        bits=blank.bits,
    )


def _with_biases(
    graph: Graph, codes: dict[str, WeightCode], grids: dict[str, ActivationGrid], tensors: Tensors
) -> Graph:
    steps = {name: bias_step(graph, codes, grids, name) for name in graph.layers}
    biases: dict[str, Tensor] = {}
    for stored, dtype, names in (
        ("biases", np.int32, [name for name, step in steps.items() if step is not None]),
        ("real_biases", np.float32, [name for name, step in steps.items() if step is None]),
    ):
        lengths = [len(graph.layers[name].bias) for name in names]
        if names:
            biases |= zip(names, _taken(tensors, stored, dtype, sum(lengths)).split(lengths), strict=True)
    operations = {}
    for name, layer in graph.layers.items():
        step = steps[name]
        bias = biases[name].clone() if step is None else (biases[name].double() * step).float()
        operations[name] = replace(layer, bias=bias)
    return graph.with_operations(operations)
