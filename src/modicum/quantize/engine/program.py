"""A quantized model as a program of integer operations, with the largest number that each step can meet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from modicum.errors import ConfigError, ModelError
from modicum.quantize.bounds import Exact, Integers, Span, span_of
from modicum.quantize.codes import ActivationGrid, WeightCode
from modicum.quantize.functional import Rounding
from modicum.quantize.graph.graph import Node
from modicum.quantize.graph.ops import Activation, Add, AvgPool, Head, Input, Layer, Multiply, Slice, is_layer
from modicum.quantize.graph.placement import own_of, source

if TYPE_CHECKING:
    from modicum.quantize.model import QuantizedModel

LARGEST = 2**31 - 1
OFFSET = 128  # signed numbers of 8 bits are stored with it, so that all stored numbers are unsigned


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Value:
    """A tensor of integers k that stand for k 2^e, without the batch."""

    name: str  # of the node of the graph that it is the output of
    shape: tuple[int, ...]  # (channels, height, width), (channels, length) or (features,)
    exponents: Integers  # e, shape (channels,)
    low: int  # no number is smaller
    high: int  # no number is larger

    @property
    def image(self) -> tuple[int, int, int]:
        """The shape as (channels, height, width); a signal has one row, and features are channels of one pixel."""
        sides = (1, 1, *self.shape[1:])
        return self.shape[0], sides[-2], sides[-1]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Residual:
    """The addition of another value: (number << own) + (other number << other), exact."""

    name: str  # of the other value
    own: Integers  # left shift of what the head gives, shape (channels,)
    other: Integers  # left shift of the other value, shape (channels,)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Rescale:
    """The way to a grid: divide by 2^shift, round, and clip; a negative shift multiplies."""

    shift: Integers  # shape (channels,)
    rounding: Rounding  # what happens to a tie
    low: int  # smallest number of the grid
    high: int  # largest number of the grid


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Step:
    """One pass over the data: head, then addition, then ReLU, then grid."""

    head: Head  # what is computed first
    source: str  # name of the value that the head reads
    more: tuple[str, ...] = ()  # names of those that it reads beside it
    residual: Residual | None  # what is added to it; None for nothing
    rectify: bool  # whether negative numbers become 0
    rescale: Rescale | None  # to which grid; None leaves the accumulator
    result: Value  # the value that is made
    bound: int  # no number inside of the step, in any order of summation, is larger in magnitude

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the values that are read."""
        added = () if self.residual is None else (self.residual.name,)
        return (self.source, *self.more, *added)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Program:
    """A network of integers."""

    input: Value  # the value that the caller gives
    grid: ActivationGrid  # that the input is brought to
    steps: tuple[Step, ...]  # in the order of running
    output: str  # name of the value that leaves
    align: Integers  # left shift that brings its channels to one exponent, shape (channels,)
    exponent: int  # that one
    bound: int  # no number of the aligned output is larger in magnitude

    @property
    def values(self) -> dict[str, Value]:
        """All values by name, in the order in which they are made."""
        return {self.input.name: self.input, **{step.result.name: step.result for step in self.steps}}

    def certify(self) -> None:
        """See that no number can leave int32."""
        bounds = {step.result.name: step.bound for step in self.steps} | {"the output": self.bound}
        for name, bound in bounds.items():
            if bound > LARGEST:
                raise ConfigError(
                    f"The values of {name} may need {bound.bit_length() + 1} bits, but the engine has 32.",
                    hint="Use fewer bits there (per_layer), or exponents that lie closer together.",
                )


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
    spans = {model.graph.nodes[0].name: span_of(_input_grid(model))}
    steps: list[Step] = []
    for chain in _chains(model):
        step, span = _step(model, chain, values, spans)
        steps.append(step)
        values[step.result.name], spans[step.result.name] = step.result, span
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
    if len(shape) not in {1, 2, 3}:
        raise ModelError(
            f"A sample must have shape (features,), (channels, length) or (channels, rows, columns), not {shape}.",
            hint="Give the network images, signals or features.",
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
    return Node(name=node.name, operation=one.after(other), inputs=before.head.inputs)


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


def _step(model: QuantizedModel, chain: _Chain, values: dict[str, Value], spans: dict[str, Span]) -> tuple[Step, Span]:
    head: Head = Input()
    span, shape, at = spans[chain.source], values[chain.source].shape, chain.source
    bound = int(span.magnitude.max())
    if chain.head is not None:
        given = [spans[name] for name in chain.head.inputs]
        head, shape, found = _head(model, chain.head, [values[name].shape for name in chain.head.inputs], given)
        bound, span, at = _met(head, given, found), found, chain.head.name
    residual, rectify, ceiling = None, False, None
    for node in chain.tail:
        if isinstance(node.operation, Activation):
            span, rectify, ceiling = span.rectified(), True, node.operation.ceiling
        else:
            other = node.inputs[1] if node.inputs[0] == at else node.inputs[0]
            span, residual, met = added(span, other, spans[other], shape[0])
            bound = max(bound, met)
        at = node.name
    grid = _grid(model, at)
    _check_ceiling(at, ceiling, grid)
    rescale = None
    if grid is not None:
        rescale, met = rescaled(span, grid, shape[0])
        bound, span = max(bound, met), span_of(grid)
        if rectify and grid.low < 0:  # rounding is monotone and keeps 0: to rectify and to clip at 0 behind it are one
            span, rescale, rectify = span.rectified(), replace(rescale, low=0), False
    exponents = np.broadcast_to(span.exponents, shape[:1])
    result = Value(name=at, shape=shape, exponents=exponents, low=int(span.low.min()), high=int(span.high.max()))
    step = Step(
        head=head,
        source=chain.source,
        more=() if chain.head is None else chain.head.inputs[1:],
        residual=residual,
        rectify=rectify,
        rescale=rescale,
        result=result,
        bound=bound,
    )
    return step, span


def _head(
    model: QuantizedModel, node: Node, shapes: Sequence[tuple[int, ...]], given: Sequence[Span]
) -> tuple[Head, tuple[int, ...], Span]:
    shape, *others = shapes
    own = own_of(model.graph, node, model.codes, model.grids)
    own = replace(own, pixels=int(np.prod(shape[1:])), others=tuple(others), spans=tuple(given))
    if is_layer(node.operation) and not isinstance(own.code, WeightCode):
        raise ConfigError(
            f"The weights of {node.name} are not on a grid of powers of two.",
            hint="Quantize with scales='power_of_two'.",
        )
    if is_layer(node.operation) and own.bias is None:
        raise ConfigError(
            f"{node.name} reads {source(model.graph, node.inputs[0])}, which has no grid of integer exponents.",
            hint="Quantize activations, too.",
        )
    head, made = node.operation.lower(own, shape)
    found = node.operation.bounds(given, own)
    assert isinstance(found, Span)  # noqa: S101 - what can be lowered has bounds
    if isinstance(head, Layer):
        # A channel that is always 0 has any exponent; one far from the others would ask for long shifts.
        alive = (found.low != 0) | (found.high != 0)
        exponents = np.where(
            alive, found.exponents, found.exponents[alive].max() if alive.any() else given[0].exponents[0]
        )
        found = replace(found, exponents=exponents)
    return head, made, found


def _met(head: Head, given: Sequence[Span], found: Span) -> int:
    # Stored numbers are >= 0: signed ones have an offset, which is taken back in the bias.
    offset = OFFSET if given[0].low.min() < 0 else 0
    largest = max(int(it.magnitude.max()) for it in given)
    if isinstance(head, Layer):
        weights = np.abs(head.weight.reshape(len(head.bias), -1).astype(np.int64)).sum(1).astype(object)
        return int((found.reach + weights * 2 * offset).max())
    if isinstance(head, AvgPool):
        return (largest + offset) * math.prod(head.kernel)
    return max(largest, int(found.magnitude.max())) if isinstance(head, Multiply) else largest


def added(span: Span, name: str, other: Span, channels: int) -> tuple[Span, Residual, int]:
    """Add another value; the largest number met is the last of what is given."""
    if not other.magnitude.any():  # 0 has any exponent
        other = replace(other, exponents=span.exponents)
    total = span.plus(other)
    own, more = total.exponents - span.exponents, total.exponents - other.exponents
    met = (span.magnitude << (-own).astype(object)) + (other.magnitude << (-more).astype(object))
    shifts = (np.broadcast_to(-it, (channels,)) for it in (own, more))
    own, more = shifts
    return total, Residual(name=name, own=own, other=more), int(met.max())


def rescaled(span: Span, grid: ActivationGrid, channels: int) -> tuple[Rescale, int]:
    """Bring numbers to a grid; the largest number met is the last of what is given."""
    # A shift by more bits than a channel's numbers have gives 0 whatever the shift; it is cut to what int32 can do.
    cut = [int(it).bit_length() + 1 for it in span.magnitude]
    shift = np.minimum(grid.exponent - span.exponents, cut).astype(np.int64)
    half: Exact = np.array([1 << max(int(it) - 1, 0) if it > 0 else 0 for it in shift], dtype=object)
    met = (span.magnitude << np.maximum(-shift, 0).astype(object)) + half
    # The grid's own limits: what the numbers really reach is a matter of the data.
    wide = np.broadcast_to(shift, (channels,))
    return Rescale(shift=wide, rounding=grid.rounding, low=grid.low, high=grid.high), int(met.max())


def _check_ceiling(name: str, ceiling: float | None, grid: ActivationGrid | None) -> None:
    # With a ceiling that is no higher, the clip at the top of the grid is the clip of the ReLU.
    if ceiling is not None and (grid is None or grid.ceiling is None or grid.ceiling > ceiling):
        raise ConfigError(
            f"The ReLU {name} has the ceiling {ceiling:g}, but its grid does not know it.",
            hint="Give its grid that ceiling.",
        )
