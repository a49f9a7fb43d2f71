"""From a quantized model to a program of integer operations, with the largest number that each step can meet."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from modicum.errors import ConfigError, ModelError
from modicum.quantize.codes import ActivationGrid
from modicum.quantize.engine.accumulators import Accumulator, known
from modicum.quantize.engine.program import Copy, Head, Program, Rescale, Step, Value
from modicum.quantize.graph.graph import Node
from modicum.quantize.graph.heads import head_of
from modicum.quantize.graph.ops import Activation, Add, Input, Slice, is_layer

if TYPE_CHECKING:
    from modicum.quantize.model import QuantizedModel


def lower(model: QuantizedModel) -> Program:
    """Write a quantized model down as integer operations.

    A layer takes the addition, the ReLU and the grid behind it along, so that only 8 bits a number are stored.

    Args:
        model: weights and activations on grids of powers of two.

    Returns:
        The program of one sample.

    Raises:
        ConfigError: if an exponent is not whole or a grid is missing, naming the node.
        ModelError: if an operation has no integer form, naming the node.
    """
    values = {model.graph.nodes[0].name: _given(model)}
    steps: list[Step] = []
    for chain in _chains(model):
        steps.append(_step(model, chain, values))
        values[steps[-1].result.name] = steps[-1].result
    result = values[model.graph.output]
    exponent = int(result.exponents.min())
    align = result.exponents - exponent
    return Program(
        input=next(iter(values.values())),
        grid=_input_grid(model),
        steps=tuple(steps),
        output=result.name,
        align=align,
        exponent=exponent,
        bound=max(abs(result.low), abs(result.high)) << int(align.max()),
    )


@dataclass(kw_only=True, slots=True)
class _Chain:
    """The nodes that become one step: a head, unless the step begins with a copy, then what goes along."""

    source: str
    head: Node | None = None
    tail: list[Node] = field(default_factory=list[Node])

    @property
    def last(self) -> Node | None:
        return self.tail[-1] if self.tail else self.head

    def takes(self, kind: type) -> bool:
        """Tell whether another node fits: one addition, then one ReLU."""
        return not any(isinstance(node.operation, Activation | kind) for node in self.tail)


def _input_grid(model: QuantizedModel) -> ActivationGrid:
    name = model.graph.nodes[0].name
    grid = _grid(model, name)
    if grid is None:
        raise ConfigError(
            f"The input {name} has no grid of integer exponents.",
            hint="Quantize activations, too, with scales='power_of_two'.",
        )
    return grid


def _given(model: QuantizedModel) -> Value:
    shape, grid = model.shape, _input_grid(model)
    if len(shape) not in {1, 3}:
        raise ModelError(
            f"A sample must have shape (features,) or (channels, height, width), but it has shape {shape}.",
            hint="Give the network images or features.",
        )
    exponents = np.full(shape[0], grid.exponent, np.int64)
    return Value(name=model.graph.nodes[0].name, shape=shape, exponents=exponents, low=grid.low, high=grid.high)


def _grid(model: QuantizedModel, name: str) -> ActivationGrid | None:
    grid = model.grids.get(name)
    if grid is not None and not isinstance(grid, ActivationGrid):
        raise ConfigError(f"The grid of {name} has a real scale.", hint="Quantize with scales='power_of_two'.")
    return grid


def _chains(model: QuantizedModel) -> list[_Chain]:
    """Join nodes into steps, in the order of their last nodes: all that a step reads comes before."""
    chains: dict[str, _Chain] = {}  # by the name of the last node
    for node in model.graph:
        if isinstance(node.operation, Input):
            continue
        if isinstance(node.operation, Add | Activation):
            chain = _joined(model, node, chains)
            chain.tail.append(node)
        else:
            head = _merged(model, node, chains)
            chain = _Chain(source=head.inputs[0] if head.inputs else "", head=head)
        chains[node.name] = chain
    return list(chains.values())


def _merged(model: QuantizedModel, node: Node, chains: dict[str, _Chain]) -> Node:
    """Make one of two slices in a row, as which x[:, :, ::2, ::2] is traced."""
    before = chains.get(node.inputs[0]) if node.inputs else None
    if before is None or before.head is None or before.tail or not _is_open(model, before.head.name):
        return node
    one, other = before.head.operation, node.operation
    if not isinstance(one, Slice) or not isinstance(other, Slice):
        return node
    del chains[before.head.name]
    stride = (one.stride[0] * other.stride[0], one.stride[1] * other.stride[1])
    return Node(name=node.name, operation=Slice(stride=stride), inputs=before.head.inputs)


def _is_open(model: QuantizedModel, name: str) -> bool:
    return len(model.graph.consumers(name)) == 1 and _grid(model, name) is None


def _joined(model: QuantizedModel, node: Node, chains: dict[str, _Chain]) -> _Chain:
    """Find the chain that a node can end, and take it out of the finished ones."""
    # A layer rather than what carries a shortcut, so that the accumulator need not be stored.
    for name in sorted(node.inputs, key=lambda name: not is_layer(model.graph[name].operation)):
        distinct = len(set(node.inputs)) == len(node.inputs)
        if distinct and name in chains and _is_open(model, name) and chains[name].takes(type(node.operation)):
            return chains.pop(name)
    return _Chain(source=node.inputs[0])


def _step(model: QuantizedModel, chain: _Chain, values: dict[str, Value]) -> Step:
    head: Head = Copy()
    numbers = known(values[chain.source])
    if chain.head is not None:
        head, numbers = head_of(model, chain.head, values)
    residual, rectify, ceiling = None, False, None
    at = chain.source if chain.head is None else chain.head.name
    for node in chain.tail:
        if isinstance(node.operation, Activation):
            numbers, rectify, ceiling = numbers.rectified(), True, node.operation.ceiling
        else:
            other = node.inputs[1] if node.inputs[0] == at else node.inputs[0]
            numbers, residual = numbers.plus(values[other])
        at = node.name
    grid = _grid(model, at)
    _check_ceiling(at, ceiling, grid)
    rescale = None
    if grid is not None:
        numbers, rescale, rectify = _on_grid(numbers, grid, rectify)
    return Step(
        head=head,
        source=chain.source,
        residual=residual,
        rectify=rectify,
        rescale=rescale,
        result=numbers.value(at),
        bound=numbers.bound,
    )


def _on_grid(numbers: Accumulator, grid: ActivationGrid, rectify: bool) -> tuple[Accumulator, Rescale, bool]:  # noqa: FBT001
    # Rounding is monotone and keeps 0: to rectify and to clip at 0 behind the rounding are one.
    result, rescale = numbers.on(grid)
    if rectify and rescale.low < 0:
        return replace(result, low=np.maximum(result.low, 0)), replace(rescale, low=0), False
    return result, rescale, False


def _check_ceiling(name: str, ceiling: float | None, grid: ActivationGrid | None) -> None:
    # With a ceiling that is no higher, the clip at the top of the grid is the clip of the ReLU.
    if ceiling is not None and (grid is None or grid.ceiling is None or grid.ceiling > ceiling):
        raise ConfigError(
            f"The ReLU {name} has the ceiling {ceiling:g}, but its grid does not know it.",
            hint="Give its grid that ceiling.",
        )
