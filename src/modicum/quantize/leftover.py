"""What quantization leaves in floating point: operators without an integer form, and the weights that they hold."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from modicum.quantize.graph.network import Graph
from modicum.quantize.graph.operations import BatchNorm, MeanPool, Opaque

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
            found.append(_part(it.module or node.name, it.label, own))
        elif isinstance(it, BatchNorm):
            found.append(_part(node.name, "batch_norm", [it.weight, it.bias]))
        elif isinstance(it, MeanPool) and it.pixels & (it.pixels - 1):
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
