"""One safetensors file for a quantized network: packed codes, integer exponents, integer biases, and a description."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from modicum.core.extras import require
from modicum.core.files import aside
from modicum.errors import ConfigError, DataError, ModelError
from modicum.quantize.certificate import certify
from modicum.quantize.codes import ActivationGrid, WeightCode
from modicum.quantize.configuration import LEAST_BITS, MOST_BITS
from modicum.quantize.document import Blank, Document, blanks, check_name, read_document, write_document
from modicum.quantize.graph.folding import folded
from modicum.quantize.graph.network import Graph, Node
from modicum.quantize.graph.operations import BatchNorm, Opaque
from modicum.quantize.graph.tracing import trace
from modicum.quantize.model import QuantizedModel, bias_integers, bias_step
from modicum.quantize.packing import pack_bits, unpack_bits

FORMAT = "modicum.quantize"
VERSION = "1"
_FLOAT = "float/"  # before the names of tensors that stay in floating point
_ANOTHER = "Pass the network that was quantized, in the class and sizes that it had, or quantize again."


def save(model: QuantizedModel, path: Path | str) -> None:
    """Write a quantized network to one file, whole or not at all."""
    # Weights take n bits each. There is a tensor "<layer>.codes" for each layer; "exponents", "zeros" and "biases" hold
    # those of all layers in the order of running ("real_biases" those of layers whose input has no grid). The gamma of
    # folded batch norms, which nothing needs after quantization, is left out. Of an operator that integers do not stand
    # for there are its label and its tensors ("float/<name>"), and no code. The metadata has one entry,
    # "modicum.quantize/1" with the version of the format behind the stroke; the same network gives the same bytes.
    tensors = _tensors(model)
    bits = {name: code.bits for name, code in model.codes.items()}
    grids = {name: grid for name, grid in model.grids.items() if isinstance(grid, ActivationGrid)}
    text = write_document(model.graph, bits, grids, config=model.config, shape=model.shape, quality=model.quality)
    library = require("safetensors.torch", extra="quantize", purpose="Storing a quantized network")
    # One entry of metadata: the library writes several in an order that changes from run to run.
    content = library.save(tensors, metadata={f"{FORMAT}/{VERSION}": text})
    with aside(Path(path)) as part:
        part.write_bytes(content)


def load(path: Path | str, network: nn.Module | None = None) -> QuantizedModel:
    """Read a network that `save` wrote; nothing in the file is executed."""
    path = Path(path)
    metadata, tensors = _read(path)
    versions = {key.removeprefix(f"{FORMAT}/"): text for key, text in metadata.items() if key.startswith(f"{FORMAT}/")}
    if not versions:
        raise DataError(f"{path} is no quantized network of modicum.", hint="Name a file that save() wrote.")
    if VERSION not in versions:
        raise DataError(
            f"{path} has version {', '.join(versions)} of the format, but this modicum reads version {VERSION}.",
            hint="Read it with the version of modicum that wrote it, or quantize the network again.",
        )
    try:
        document = read_document(versions[VERSION])
        return _rebuilt(document, _Store(tensors), _opaque(document, path, network))
    except DataError as error:
        raise DataError(f"{path}: {error.what}", hint=error.hint) from error


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    library = require("safetensors", extra="quantize", purpose="Reading a quantized network")
    try:
        with library.safe_open(path, framework="pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.", hint="Name a file that save() wrote.") from error
    except (library.SafetensorError, OSError) as error:
        raise DataError(
            f"{path} is no whole safetensors file ({error}).", hint="It is truncated or damaged: copy it again."
        ) from error


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
    return {name: it.detach().cpu().contiguous() for name, it in tensors.items()}


class _Store:
    """The tensors of a file, taken one after the other; what is missing or left over is an error."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self._tensors = tensors
        self._taken = dict.fromkeys(tensors, 0)

    def take(self, name: str, count: int | None, dtype: torch.dtype) -> Tensor:
        """Give the next numbers of a flat tensor; all of them if `count` is None."""
        if name not in self._tensors:
            raise DataError(f"the tensor {name} is missing.", hint="The file is damaged: write it again.")
        found, start = self._tensors[name], self._taken[name]
        end = found.numel() if count is None else start + count
        if found.dtype != dtype or end > found.numel():
            raise DataError(
                f"{name} must have {end} numbers of {dtype} or more, but it has {found.numel()} of {found.dtype}.",
                hint="The file is damaged: write it again.",
            )
        self._taken[name] = end
        return found.flatten()[start:end]

    def like(self, name: str, wanted: Tensor) -> Tensor:
        """Give a tensor of the shape and kind of another; the same one again if it is asked for again."""
        found = self._tensors.get(name)
        if found is None or (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
            kind = "is missing" if found is None else f"is {found.dtype} of shape {tuple(found.shape)}"
            raise ConfigError(
                f"{name} must be {wanted.dtype} of shape {tuple(wanted.shape)}, but in the file it {kind}.",
                hint=_ANOTHER,
            )
        self._taken[name] = found.numel()
        return found

    def check_empty(self) -> None:
        """Refuse what nothing asked for."""
        left = [name for name, taken in self._taken.items() if taken < self._tensors[name].numel()]
        if left:
            raise DataError(
                f"the network has no place for all of {', '.join(left)}.", hint="The file is damaged: write it again."
            )


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


def _rebuilt(document: Document, store: _Store, opaque: Mapping[str, Opaque]) -> QuantizedModel:
    codes: dict[str, WeightCode] = {}
    nodes = []
    for blank in document.nodes:
        if blank.kind in {"convolution", "linear"}:
            code = codes[blank.name] = _code(blank, store)
            nodes.append(blank.filled(weight=code.dequantized(), bias=torch.zeros(len(code.zero))))
        elif blank.kind == "batch_norm":
            constants = store.take(f"{blank.name}.constants", 4 * blank.shape[0], torch.float32).view(4, -1)
            names = ("weight", "bias", "mean", "variance")
            nodes.append(blank.filled(**dict(zip(names, constants, strict=True))))
        elif blank.kind == "opaque":
            it = opaque[blank.name]
            own = {name: store.like(f"{_FLOAT}{name}", _single(value)) for name, value in it.tensors.items()}
            nodes.append(Node(name=blank.name, operation=replace(it, tensors=own), inputs=blank.inputs))
        else:
            nodes.append(blank.filled())
    graph = _with_biases(Graph(nodes=tuple(nodes)), codes, document.grids, store)
    store.check_empty()
    return QuantizedModel(
        graph, codes, document.grids, config=document.config, shape=document.shape, quality=document.quality
    )


def _code(blank: Blank, store: _Store) -> WeightCode:
    axes = 4 if blank.kind == "convolution" else 2
    if len(blank.shape) != axes or min(blank.shape) < 1 or not LEAST_BITS <= blank.bits <= MOST_BITS:
        raise DataError(
            f"{blank.name} has weights of shape {list(blank.shape)} and {blank.bits} bits.",
            hint="The file is damaged: write it again.",
        )
    count = torch.Size(blank.shape).numel()
    packed = store.take(f"{blank.name}.codes", None, torch.uint8)
    zero = store.take("zeros", blank.shape[0], torch.uint8)
    wrong = zero != 128 if blank.bits == 8 else zero >= 2**blank.bits
    if bool(wrong.any()):
        raise DataError(
            f"{blank.name} has zero points that {blank.bits} bits do not have.",
            hint="The file is damaged: write it again.",
        )
    return WeightCode(
        codes=unpack_bits(packed, blank.bits, count).view(blank.shape),
        zero=zero.clone(),
        exponent=store.take("exponents", blank.shape[0], torch.int8).clone(),
        bits=blank.bits,
    )


def _with_biases(graph: Graph, codes: dict[str, WeightCode], grids: dict[str, ActivationGrid], store: _Store) -> Graph:
    operations = {}
    for name, layer in graph.layers.items():
        step = bias_step(graph, codes, grids, name)
        if step is None:
            bias = store.take("real_biases", len(layer.bias), torch.float32).clone()
        else:
            bias = (store.take("biases", len(layer.bias), torch.int32).double() * step).float()
        operations[name] = replace(layer, bias=bias)
    return graph.with_operations(operations)
