"""A quantized network without its numbers, as JSON: operations, shapes, grids and configuration."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, TypeAlias

from torch import Tensor

from modicum.core.safeload import parse_json
from modicum.core.storage import parsed
from modicum.errors import ConfigError, DataError
from modicum.quantize.codes import ActivationGrid
from modicum.quantize.configuration import LayerBits, RAPQConfig
from modicum.quantize.functional import Rounding
from modicum.quantize.graph.graph import Graph, Node
from modicum.quantize.graph.ops import OPERATORS, BatchNorm, Convolution, Linear, Operation
from modicum.quantize.inspect.report import LayerQuality

_KINDS: dict[str, type[Any]] = {it.kind: it for it in OPERATORS}
# Far beyond any picture; a damaged file must not ask for all memory.
_MOST_INPUTS = 2**27
_LONGEST = 2**15
_SOURCE = "The description of the network"
_DAMAGED = "The file is damaged: write it again."
Entry: TypeAlias = tuple[str, str, list[int], dict[str, Any]]
_TENSORS = {"weight", "bias", "gamma", "mean", "variance"}
_LEFT_OUT = _TENSORS | {"call", "tensors", "parameters", "module"}  # the file holds no code


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
    if kind not in _KINDS or (kind != "opaque" and len(inputs) != _KINDS[kind].inputs):
        raise DataError(f"{name} in the file is no node, but a {kind} of {len(inputs)} inputs.", hint=_DAMAGED)
    if any(not 0 <= place < len(before) for place in inputs):
        raise DataError(f"{name} reads a node that does not come before it.", hint=_DAMAGED)
    allowed = {it.name for it in fields(_KINDS[kind])} - _LEFT_OUT
    shape, bits = settings.pop("shape", []), settings.pop("bits", 0)
    if set(settings) - allowed or (kind == "opaque" and "label" not in settings):
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
    kinds: dict[str, Any] = {"ceiling": float, "epsilon": float, "keep": bool, "label": str}
    kind = kinds.get(key, tuple[int, int] if isinstance(value, list) else int)
    found = parsed(value, kind, source=key, hint=_DAMAGED)
    if key == "label":
        check_name(found)
    if isinstance(found, tuple) and max(map(abs, found)) > _LONGEST:
        raise DataError(f"{key} is {value}.", hint=_DAMAGED)
    return found


def _grid(bits: int, signed: bool, exponent: int, ceiling: float | None, rounding: Rounding) -> ActivationGrid:  # noqa: FBT001
    if not 2 <= bits <= 8 or not -128 <= exponent <= 127:
        raise DataError(f"There is a grid of {bits} bits and exponent {exponent}.", hint=_DAMAGED)
    return ActivationGrid(bits=bits, signed=signed, exponent=exponent, ceiling=ceiling, rounding=rounding)
