"""One safetensors file for a quantized network: packed codes, exponents, integer biases, and a description in JSON."""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor, nn

from modicum.core.safeload import parse_json
from modicum.core.storage import Format, Tensors, parsed, read_tensors, write_tensors
from modicum.errors import ConfigError, DataError, ModelError
from modicum.quantize.codes import ActivationGrid, WeightCode, pack_bits, unpack_bits
from modicum.quantize.configuration import LEAST_BITS, MOST_BITS, LayerBits, RAPQConfig
from modicum.quantize.functional import Rounding
from modicum.quantize.graph.graph import Graph, Node, folded
from modicum.quantize.graph.ops import OPERATORS, BatchNorm, Convolution, Linear, Opaque, Operation, Table
from modicum.quantize.graph.placement import bias_integers, bias_step
from modicum.quantize.graph.trace import trace
from modicum.quantize.inspect.certificate import certify
from modicum.quantize.inspect.report import LayerQuality

if TYPE_CHECKING:
    from modicum.quantize.model import QuantizedModel


_KINDS: dict[str, type[Any]] = {it.kind: it for it in OPERATORS}
# Far beyond any picture; a damaged file must not ask for all memory.
_MOST_INPUTS = 2**27
_LONGEST = 2**15
_SOURCE = "The description of the network"
Entry: TypeAlias = tuple[str, str, list[int], dict[str, Any]]
_TENSORS = {"weight", "bias", "gamma", "mean", "variance"}
_LEFT_OUT = _TENSORS | {"call", "tensors", "parameters", "module", "form"}  # the file holds no code


@dataclass(frozen=True, kw_only=True, slots=True)
class Blank:
    """A node whose tensors are kept elsewhere."""

    name: str  # of the node
    kind: str  # of operation
    inputs: tuple[str, ...]  # names of earlier nodes
    settings: dict[str, Any]  # of the operation, tensors apart
    shape: tuple[int, ...]  # of the weight of a layer, or of a batch norm's constants; empty for others
    bits: int  # of the weights of a layer; 0 for others

    def filled(self, **tensors: Tensor) -> Node:
        """Make the node, with its tensors by the names of the operation's fields; not an opaque one, which has code."""
        try:
            operation: Operation = _KINDS[self.kind](**self.settings, **tensors)
        except TypeError as error:
            raise DataError(f"{self.name} lacks a setting that a {self.kind} has ({error}).", hint=_DAMAGED) from error
        return Node(name=self.name, operation=operation, inputs=self.inputs)


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """What is written."""

    nodes: tuple[Blank, ...]  # in the order of running
    grids: dict[str, ActivationGrid]  # by node
    config: RAPQConfig  # how the network was quantized
    shape: tuple[int, ...]  # of a sample
    quality: dict[str, LayerQuality]  # by layer


def write_document(
    graph: Graph,
    bits: Mapping[str, int],
    grids: Mapping[str, ActivationGrid],
    *,
    config: RAPQConfig,
    shape: tuple[int, ...],
    quality: Mapping[str, LayerQuality],
) -> str:
    """Write it down in few characters; nodes are named by their place where they are read."""
    places = {node.name: place for place, node in enumerate(graph)}
    document = {
        "shape": list(shape),
        "nodes": described(graph, bits),
        "grids": [
            [places[name], it.bits, it.signed, it.exponent, it.ceiling, it.rounding] for name, it in grids.items()
        ],
        "config": config_to(config),
        "quality": [[places[name], it.clipped, it.snr_db] for name, it in quality.items()],
    }
    return json.dumps(document, separators=(",", ":"))


def described(graph: Graph, bits: Mapping[str, int]) -> list[list[Any]]:
    """Give the nodes as what JSON can hold: name, kind, places of the inputs, settings."""
    places = {node.name: place for place, node in enumerate(graph)}
    return [
        [node.name, node.operation.kind, [places[it] for it in node.inputs], _settings(node, bits)] for node in graph
    ]


def blanks(graph: Graph, bits: Mapping[str, int]) -> tuple[Blank, ...]:
    """Give the nodes of a graph as they would be read from a file."""
    return _blanks(json.loads(json.dumps(described(graph, bits))))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Written:
    nodes: list[Entry]
    grids: list[tuple[int, int, bool, int, float | None, Rounding]]
    config: dict[str, Any]
    shape: tuple[int, ...]
    quality: list[tuple[int, float, float]]


def read_document(text: str) -> Document:
    """Read what `write_document` wrote."""
    content = parse_json(text, source=_SOURCE, hint=_DAMAGED)
    read = parsed(content, _Written, source=_SOURCE, hint=_DAMAGED)
    nodes = _blanks(read.nodes)
    _check_names(nodes)
    if not read.shape or min(read.shape) < 1 or math.prod(read.shape) > _MOST_INPUTS:
        raise DataError(f"A sample of shape {list(read.shape)} is empty or too large.", hint=_DAMAGED)
    try:
        return Document(
            nodes=nodes,
            grids={nodes[entry[0]].name: _grid(*entry[1:]) for entry in read.grids},
            config=config_from(read.config),
            shape=read.shape,
            quality={nodes[place].name: LayerQuality(clipped=it, snr_db=snr) for place, it, snr in read.quality},
        )
    except IndexError as error:
        raise DataError(f"{_SOURCE} names a node that it does not have.", hint=_DAMAGED) from error


def config_to(config: RAPQConfig) -> dict[str, Any]:
    """Give a configuration as what JSON can hold."""
    values = {it.name: getattr(config, it.name) for it in fields(config)}
    return values | {"per_layer": {name: asdict(it) for name, it in config.per_layer.items()}}


def config_from(values: dict[str, Any]) -> RAPQConfig:
    """Make the configuration that `config_to` wrote."""
    known = {it.name for it in fields(RAPQConfig)}
    if set(values) != known:
        odd = sorted(set(values) ^ known)
        raise DataError(
            f"The configuration in the file differs in {', '.join(odd)} from that of this version.",
            hint="Read it with the version of modicum that wrote it.",
        )
    try:
        per_layer = {name: LayerBits(**it) for name, it in values["per_layer"].items()}
        return RAPQConfig(**{**values, "per_layer": per_layer})
    except (ConfigError, TypeError, AttributeError) as error:
        raise DataError(f"The configuration in the file is not usable: {error}", hint=_DAMAGED) from error


def _blanks(entries: list[Entry]) -> tuple[Blank, ...]:
    nodes: list[Blank] = []
    for entry in entries:
        nodes.append(_blank(entry, nodes))
    return tuple(nodes)


def _check_names(nodes: tuple[Blank, ...]) -> None:
    inputs = [place for place, node in enumerate(nodes) if node.kind == "input"]
    if len({node.name for node in nodes}) < len(nodes) or inputs != [0]:
        raise DataError("Two nodes share a name, or the first is not the only input.", hint=_DAMAGED)


def check_name(name: str) -> None:
    """Refuse a name that could mean something to a compiler, a shell or a path; those of Python and of tracing pass."""
    if not re.fullmatch(r"[A-Za-z0-9_.#:-]{1,256}", name):
        raise DataError(
            f"The layer name {name[:80]!r} has characters other than letters, digits and _.#:-, or more than 256.",
            hint="Rename the module and quantize again; do not trust a file from elsewhere that has such a name.",
        )


def _settings(node: Node, bits: Mapping[str, int]) -> dict[str, Any]:
    operation = node.operation
    kept: dict[str, Any] = {}
    for it in fields(operation):
        value = getattr(operation, it.name)
        if it.name not in _LEFT_OUT and (it.default is MISSING or value != it.default):
            kept[it.name] = value
    if isinstance(operation, Convolution | Linear | BatchNorm):
        kept["shape"] = list(operation.weight.shape)
    if node.name in bits:
        kept["bits"] = bits[node.name]
    return kept


def _blank(entry: Entry, before: list[Blank]) -> Blank:
    name, kind, inputs, settings = entry
    check_name(name)
    wanted = _KINDS[kind].inputs if kind in _KINDS else None
    if kind not in _KINDS or (wanted is not None and len(inputs) != wanted):
        raise DataError(f"{name} in the file is no node, but a {kind} of {len(inputs)} inputs.", hint=_DAMAGED)
    if any(not 0 <= place < len(before) for place in inputs):
        raise DataError(f"{name} reads a node that does not come before it.", hint=_DAMAGED)
    allowed = {it.name for it in fields(_KINDS[kind])} - _LEFT_OUT
    shape, bits = settings.pop("shape", []), settings.pop("bits", 0)
    widths = parsed(settings.get("widths", []), tuple[int, ...], source=f"The widths of {name}", hint=_DAMAGED)
    wrong = kind == "concat" and (len(widths) != len(inputs) or min(widths, default=0) < 1)
    if wrong or set(settings) - allowed or (kind == "opaque" and "label" not in settings):
        raise DataError(f"{name} has settings that no {kind} has, or lacks one.", hint=_DAMAGED)
    return Blank(
        name=name,
        kind=kind,
        inputs=tuple(before[place].name for place in inputs),
        settings={key: _setting(key, value) for key, value in settings.items()},
        shape=parsed(shape, tuple[int, ...], source=f"The shape of {name}", hint=_DAMAGED),
        bits=parsed(bits, int, source=f"The bits of {name}", hint=_DAMAGED),
    )


def _setting(key: str, value: Any) -> Any:
    kinds: dict[str, Any] = {
        **{"ceiling": float, "epsilon": float, "keep": bool, "label": str, "function": str},
        "widths": tuple[int, ...],
    }
    kind = kinds.get(key, tuple[int, int] if isinstance(value, list) else int)
    found = parsed(value, kind, source=key, hint=_DAMAGED)
    if key == "label":
        check_name(found)
    if key == "function" and found not in Table.torch_names:
        raise DataError(f"There is no function {found[:80]!r}.", hint=_DAMAGED)
    if isinstance(found, tuple) and (
        max(map(abs, found)) > _LONGEST or (key in {"factor", "kernel", "between"} and min(found) < 1)
    ):
        raise DataError(f"{key} is {value}.", hint=_DAMAGED)
    return found


def _grid(bits: int, signed: bool, exponent: int, ceiling: float | None, rounding: Rounding) -> ActivationGrid:  # noqa: FBT001
    if not 2 <= bits <= 8 or not -128 <= exponent <= 127:
        raise DataError(f"There is a grid of {bits} bits and exponent {exponent}.", hint=_DAMAGED)
    return ActivationGrid(bits=bits, signed=signed, exponent=exponent, ceiling=ceiling, rounding=rounding)


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
    # What is opaque in the file stays so, though another version of modicum may know an integer form of it.
    example = torch.zeros(2, *document.shape)
    graph = folded(trace(copy.deepcopy(network).cpu().float(), example, opaque=labels.keys()))
    found = blanks(graph, {it.name: it.bits for it in document.nodes})
    if _undivided(found) != _undivided(document.nodes):
        raise ConfigError(f"{path} has other operators than {type(network).__name__}.", hint=_ANOTHER)
    return {name: cast("Opaque", graph[name].operation) for name in labels}


def _undivided(nodes: tuple[Blank, ...]) -> list[Blank]:
    """Leave out what means divide by: it depends on what is folded into their readers."""
    return [replace(it, settings={**it.settings, "pixels": 0}) for it in nodes]


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
