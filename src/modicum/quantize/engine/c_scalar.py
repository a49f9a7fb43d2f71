"""Memory and constants of a program in C, and bodies of functions without intrinsics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from modicum.quantize.bounds import Integers
from modicum.quantize.engine.program import OFFSET, Program, Step, Value
from modicum.quantize.graph.ops import (
    AvgPool,
    Concat,
    Flatten,
    Head,
    Input,
    Layer,
    Lookup,
    MaxPool,
    Multiply,
    Pad,
    Pair,
    Slice,
    Upsample,
)

_LINE = 64  # bytes; what is read together begins at a multiple of it


@dataclass(frozen=True, kw_only=True, slots=True)
class Buffer:
    """A value in memory: pixels in rows, the channels of a pixel side by side, zeros around the image."""

    place: int  # byte in the scratch memory
    channels: int  # of the value
    height: int  # of the image
    width: int  # of the image
    border: Pair  # rows and columns of zeros on each side
    narrow: bool  # whether a number takes 8 bits rather than 32
    zero: int  # the stored number that stands for 0; 128 for signed numbers of 8 bits, so that all are unsigned
    largest: int  # no stored number is larger

    @property
    def kind(self) -> str:
        """The type of a number in C."""
        return "uint8_t" if self.narrow else "int32_t"

    @property
    def pixel(self) -> int:
        """Numbers from a pixel to the next; channels come in fours."""
        return -(-self.channels // 4) * 4

    @property
    def row(self) -> int:
        """Numbers from a row to the next."""
        return (self.width + 2 * self.border[1]) * self.pixel

    @property
    def first(self) -> int:
        """Index of the first number inside of the border."""
        return self.border[0] * self.row + self.border[1] * self.pixel

    @property
    def size(self) -> int:
        """Bytes, in whole lines."""
        numbers = (self.height + 2 * self.border[0]) * self.row
        return -(-numbers * (1 if self.narrow else 4) // _LINE) * _LINE


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The buffers of all values, by name, and the bytes that they take together."""

    buffers: dict[str, Buffer]
    size: int


def lay_out(program: Program) -> Layout:
    """Give each value a place; values that are never needed together share memory."""
    last = {name: place for place, step in enumerate(program.steps) for name in step.reads}
    last[program.output] = len(program.steps)
    born = {name: place - 1 for place, name in enumerate(program.values)}
    buffers: dict[str, Buffer] = {}
    for name, value in program.values.items():
        alive = [it for other, it in buffers.items() if last.get(other, born[other]) >= born[name]]
        buffers[name] = _buffer(program, value, alive)
    return Layout(buffers=buffers, size=max(it.place + it.size for it in buffers.values()))


def _buffer(program: Program, value: Value, alive: Iterable[Buffer]) -> Buffer:
    channels, height, width = value.image
    signed = value.low < 0
    narrow = value.low >= -OFFSET and value.high < (OFFSET if signed else 2 * OFFSET)
    paddings = [
        it.head.padding for it in program.steps if isinstance(it.head, Layer | AvgPool) and it.source == value.name
    ]
    wanted = Buffer(
        place=0,
        channels=channels,
        height=height,
        width=width,
        border=(max((it[0] for it in paddings), default=0), max((it[1] for it in paddings), default=0)),
        narrow=narrow,
        zero=OFFSET if narrow and signed else 0,
        largest=value.high + (OFFSET if narrow and signed else 0),
    )
    return replace(wanted, place=_first_gap(wanted.size, alive))


def _first_gap(size: int, alive: Iterable[Buffer]) -> int:
    place = 0
    for other in sorted(alive, key=lambda it: it.place):
        if place + size <= other.place:
            break
        place = max(place, other.place + other.size)
    return place


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Constants:
    """A step gives clip(((head + bias) << own) + (other value << other) + plus) >> shift), all arrays (channels,)."""

    # Where ``mask`` & the sum in front of the last shift is 0, there was a tie, and the last bit is cleared.

    bias: Integers  # added to what the head gives
    own: Integers | None  # None if all are 0
    other: Integers | None  # None if all are 0, or nothing is added
    plus: Integers | None  # None if it is in the bias
    shift: Integers | None  # None if all are 0
    mask: Integers | None  # None if ties go up
    table: Integers | None  # by the stored number, of a step that looks up
    low: int | None  # None if nothing is clipped below
    high: int | None  # None if nothing is clipped above
    zero: int  # added at last, the stored number for 0

    @property
    def arrays(self) -> dict[str, Integers]:
        """Those that there are, by name."""
        names = ("bias", "own", "other", "plus", "shift", "mask", "table")
        return {name: it for name in names if (it := getattr(self, name)) is not None}


def moves_only(step: Step, given: Sequence[Buffer], result: Buffer) -> bool:
    """Tell whether a step only picks and places stored numbers."""
    computes = isinstance(step.head, Layer | Lookup | Multiply | AvgPool) or step.residual is not None or step.rectify
    alike = all((it.kind, it.zero) == (result.kind, result.zero) for it in given)
    return not computes and step.rescale is None and alike


def constants(step: Step, given: Sequence[Buffer], other: Buffer | None, result: Buffer) -> Constants:
    """Work the constants of a step out."""
    channels = result.channels
    nothing = np.zeros(channels, np.int64)
    bias = _bias(step, given, channels)
    own, more = nothing, None
    if step.residual is not None:
        own, more = step.residual.own, step.residual.other
    right, half = nothing, nothing
    if step.rescale is not None:
        left, right = np.maximum(-step.rescale.shift, 0), np.maximum(step.rescale.shift, 0)
        half = np.where(right > 0, np.int64(1) << np.maximum(right - 1, 0), 0)
        own, more = own + left, None if more is None else more + left
    plus = half
    if other is not None and more is not None:
        plus = plus - (np.int64(other.zero) << more)
    if not own.any():
        bias, plus = bias + plus, None
    even = step.rescale is not None and step.rescale.rounding == "half_even" and bool(right.any())
    low, high = (0 if step.rectify else None), None
    if step.rescale is not None:
        low, high = step.rescale.low, step.rescale.high
    return Constants(
        bias=bias,
        own=own if own.any() else None,
        other=more if more is not None and more.any() else None,
        plus=plus,
        shift=right if right.any() else None,
        # Without a shift there is no tie; a mask of ones meets 0 alone, whose last bit is clear anyway.
        mask=np.where(right > 0, (np.int64(1) << right) - 1, -1) if even else None,
        table=_table(step.head, given[0]) if isinstance(step.head, Lookup) else None,
        low=low,
        high=high,
        zero=result.zero,
    )


def _bias(step: Step, parts: Sequence[Buffer], channels: int) -> Integers:
    given = parts[0]
    if isinstance(step.head, Concat):
        return np.repeat([-it.zero for it in parts], [it.channels for it in parts])
    if isinstance(step.head, Layer):
        total = step.head.weight.reshape(channels, -1).sum(axis=1, dtype=np.int64)
        return step.head.bias - given.zero * total
    count = (
        math.prod(step.head.kernel)
        if isinstance(step.head, AvgPool)
        else int(not isinstance(step.head, Lookup | Multiply))
    )
    return np.full(channels, -given.zero * count, np.int64)


def _table(head: Lookup, given: Buffer) -> Integers:
    places = np.arange(2 * OFFSET) - given.zero - head.low  # bytes that no number is stored as give anything
    return head.values[np.clip(places, 0, len(head.values) - 1)]


Bytes = np.ndarray[tuple[int, ...], np.dtype[np.int8]]


def scalar_weights(layer: Layer) -> Bytes:
    """Order weights as (row, column, incoming, outgoing of a group), so that the outgoing lie side by side."""
    each = len(layer.weight) // layer.groups
    grouped = layer.weight.reshape(layer.groups, each, *layer.weight.shape[1:])
    return np.ascontiguousarray(grouped.transpose(3, 4, 0, 2, 1)).reshape(-1)


def scalar_body(
    step: Step, parts: Sequence[Buffer], other: Buffer | None, result: Buffer, them: Constants
) -> Iterator[str]:
    """Write the body of a step's function; x (x1, ...) is read, r is added, y is written, w are the weights."""
    given, moves, count = parts[0], moves_only(step, parts, result), _together(step.head, result)
    yield f"for (int i = 0; i < {result.height}; ++i) {{"
    yield f"for (int j = 0; j < {result.width}; j += {count}) {{"
    yield f"{given.kind if moves else 'int32_t'} acc[{count * result.channels}];"
    if isinstance(step.head, Multiply):
        yield from _product(parts)
    else:
        yield from _joined(parts) if isinstance(step.head, Concat) else _head(step.head, given, result)
    yield f"for (int n = 0; n < {count}; ++n) {{"
    yield f"{result.kind} *o = y + {result.first} + i * {result.row} + (j + n) * {result.pixel};"
    if other is not None:
        yield f"const {other.kind} *s = r + {other.first} + i * {other.row} + (j + n) * {other.pixel};"
    yield f"for (int c = 0; c < {result.channels}; ++c) {{"
    at = f"n * {result.channels} + c"
    yield from [f"o[c] = acc[{at}];"] if moves else _finish(f"acc[{at}]", result, them, adds=other is not None)
    yield from ("}", "}", "}", "}")
    yield from border(result)


def _together(head: Head, result: Buffer) -> int:
    """Pixels whose sums run side by side, so that none waits for the one before it."""
    dense = isinstance(head, Layer) and head.groups == 1
    return next(count for count in (4, 3, 2, 1) if count == 1 or (dense and result.width % count == 0))


def border(buffer: Buffer) -> Iterator[str]:
    """Put zeros around y."""
    rows, columns = buffer.border
    if not rows and not columns:
        return
    size = 1 if buffer.narrow else 4
    edge, row = rows * buffer.row, buffer.row
    if rows:
        yield f"memset(y, {buffer.zero}, {edge * size});"
        yield f"memset(y + {edge + buffer.height * row}, {buffer.zero}, {edge * size});"
    if columns:
        side = columns * buffer.pixel
        yield f"for (int i = 0; i < {buffer.height}; ++i) {{"
        yield f"memset(y + {edge} + i * {row}, {buffer.zero}, {side * size});"
        yield f"memset(y + {edge + row - side} + i * {row}, {buffer.zero}, {side * size});"
        yield "}"


def _finish(number: str, result: Buffer, them: Constants, *, adds: bool) -> Iterator[str]:
    # Unsigned numbers wrap around, and the result is the same; that of signed ones would be undefined.
    yield f"uint32_t u = (uint32_t){number} + (uint32_t)bias[c];"
    if them.own is not None:
        yield "u <<= own[c];"
    if adds:
        yield "u += (uint32_t)s[c];" if them.other is None else "u += (uint32_t)s[c] << other[c];"
    if them.plus is not None:
        yield "u += (uint32_t)plus[c];"
    yield "int32_t v = (int32_t)u;"
    if them.shift is not None:
        yield "v >>= shift[c];"
    if them.mask is not None:
        yield "v -= v & ((u & (uint32_t)mask[c]) == 0); /* a tie: even */"
    if them.low is not None:
        yield f"v = v < {them.low} ? {them.low} : v;"
    if them.high is not None:
        yield f"v = v > {them.high} ? {them.high} : v;"
    yield f"o[c] = ({result.kind})(v + {them.zero});" if them.zero else f"o[c] = ({result.kind})v;"


def _head(head: Head, given: Buffer, result: Buffer) -> Iterator[str]:
    match head:
        case Layer():
            yield from _layer(head, given, _together(head, result))
        case AvgPool():
            start = given.first - head.padding[0] * given.row - head.padding[1] * given.pixel
            down, right = head.stride[0] * given.row, head.stride[1] * given.pixel
            yield f"for (int c = 0; c < {given.channels}; ++c) acc[c] = 0;"
            yield f"for (int k = 0; k < {head.kernel[0]}; ++k) {{"
            yield f"for (int l = 0; l < {head.kernel[1]}; ++l) {{"
            yield f"const {given.kind} *p = x + {start} + i * {down} + k * {given.row}"
            yield f"+ j * {right} + l * {given.pixel};"
            yield f"for (int c = 0; c < {given.channels}; ++c) acc[c] += p[c];"
            yield from ("}", "}")
        case MaxPool():
            yield from _window(head, given)
        case Pad():
            yield from _enlarged(head, given, result)
        case Slice():
            yield f"const {given.kind} *p = x + {given.first} + i * {head.stride[0] * given.row}"
            yield f"+ j * {head.stride[1] * given.pixel};"
            yield f"for (int c = 0; c < {given.channels}; ++c) acc[c] = p[c];"
        case Upsample():
            yield f"const {given.kind} *p = x + {given.first} + i / {head.factor[0]} * {given.row}"
            yield f"+ j / {head.factor[1]} * {given.pixel};"
            yield f"for (int c = 0; c < {given.channels}; ++c) acc[c] = p[c];"
        case Input() | Lookup():
            yield f"const {given.kind} *p = x + {given.first} + i * {given.row} + j * {given.pixel};"
            found = "table[p[c]]" if isinstance(head, Lookup) else "p[c]"
            yield f"for (int c = 0; c < {given.channels}; ++c) acc[c] = {found};"
        case Flatten():
            yield f"for (int c = 0; c < {given.channels}; ++c) {{"
            yield f"for (int k = 0; k < {given.height * given.width}; ++k) {{"
            at = f"{given.first} + k / {given.width} * {given.row} + k % {given.width} * {given.pixel} + c"
            yield f"acc[c * {given.height * given.width} + k] = x[{at}];"
            yield from ("}", "}")


def _joined(parts: Sequence[Buffer]) -> Iterator[str]:
    first = 0
    for place, it in enumerate(parts):
        yield f"const {it.kind} *p{place} = {'x' + str(place or '')} + {it.first} + i * {it.row} + j * {it.pixel};"
        yield f"for (int c = 0; c < {it.channels}; ++c) acc[{first} + c] = p{place}[c];"
        first += it.channels


def _product(parts: Sequence[Buffer]) -> Iterator[str]:
    for place, it in enumerate(parts):
        at = f"{it.first} + {'i' if it.height > 1 else 0} * {it.row} + {'j' if it.width > 1 else 0} * {it.pixel}"
        yield f"const {it.kind} *p{place} = {'x' + str(place or '')} + {at};"
    factors = " * ".join(f"((int32_t)p{place}[c] - {it.zero})" for place, it in enumerate(parts))
    yield f"for (int c = 0; c < {parts[0].channels}; ++c) acc[c] = {factors};"


def _layer(head: Layer, given: Buffer, count: int) -> Iterator[str]:
    outgoing, incoming, rows, columns = head.weight.shape
    each, start = outgoing // head.groups, given.first - head.padding[0] * given.row - head.padding[1] * given.pixel
    down, right = head.stride[0] * given.row, head.stride[1] * given.pixel
    kind = "int16_t" if _fits_16_bits(head, given) else "int32_t"
    yield f"{kind} " + ", ".join(f"sum{n}[{outgoing}]" for n in range(count)) + ";"
    yield f"const {given.kind} *p = x + {start} + i * {down} + j * {right};"
    yield f"for (int c = 0; c < {outgoing}; ++c) " + " = ".join(f"sum{n}[c]" for n in range(count)) + " = 0;"
    yield f"for (int k = 0; k < {rows}; ++k) {{"
    yield f"for (int l = 0; l < {columns}; ++l) {{"
    yield f"const {given.kind} *t = p + k * {head.dilation[0] * given.row} + l * {head.dilation[1] * given.pixel};"
    yield f"const int8_t *q = w + (k * {columns} + l) * {incoming * outgoing};"
    if incoming == 1 and each == 1:  # depthwise
        yield f"for (int c = 0; c < {outgoing}; ++c) sum0[c] = ({kind})(sum0[c] + t[c] * q[c]);"
    else:
        group = f" + c / {incoming} * {each}" if head.groups > 1 else ""
        yield f"for (int c = 0; c < {incoming * head.groups}; ++c) {{"
        yield f"for (int d = 0; d < {each}; ++d) {{"
        for n in range(count):
            at = f"sum{n}[d{group}]"
            yield f"{at} = ({kind})({at} + t[c + {n * right}] * q[c * {each} + d]);"
        yield from ("}", "}")
    yield from ("}", "}")
    for n in range(count):
        yield f"for (int c = 0; c < {outgoing}; ++c) acc[{n * outgoing} + c] = sum{n}[c];"


def _fits_16_bits(head: Layer, given: Buffer) -> bool:
    """Tell whether no sum of a layer can leave 16 bits: half the width is about twice the speed."""
    weight = np.abs(head.weight.astype(np.int64)).reshape(len(head.bias), -1).sum(axis=1)
    return given.narrow and int(weight.max()) * given.largest < 2**15


def _window(head: MaxPool, given: Buffer) -> Iterator[str]:
    yield f"for (int c = 0; c < {given.channels}; ++c) acc[c] = {'0' if given.narrow else 'INT32_MIN'};"
    for name, outer, kernel, stride, padding, side in (
        ("k", "i", head.kernel[0], head.stride[0], head.padding[0], given.height),
        ("l", "j", head.kernel[1], head.stride[1], head.padding[1], given.width),
    ):
        yield f"for (int {name} = {outer} * {stride} - {padding}; "
        yield f"{name} < {outer} * {stride} - {padding} + {kernel}; ++{name}) {{"
        yield f"if ({name} < 0 || {name} >= {side}) continue;"
    yield f"const {given.kind} *p = x + {given.first} + k * {given.row} + l * {given.pixel};"
    yield f"for (int c = 0; c < {given.channels}; ++c) acc[c] = p[c] > acc[c] ? p[c] : acc[c];"
    yield from ("}", "}")


def _enlarged(head: Pad, given: Buffer, result: Buffer) -> Iterator[str]:
    (top, left), (down, right) = (head.rows[0], head.columns[0]), head.between
    height, width = head.spread((given.height, given.width))
    yield f"for (int c = 0; c < {result.channels}; ++c) acc[c] = {given.zero};"
    between = f" && (i - {top}) % {down} == 0 && (j - {left}) % {right} == 0" if head.between != (1, 1) else ""
    yield f"if (i >= {top} && i < {top + height} && j >= {left} && j < {left + width}{between}) {{"
    yield f"const {given.kind} *p = x + {given.first} + (i - {top}) / {down} * {given.row}"
    yield f"+ (j - {left}) / {right} * {given.pixel};"
    yield f"for (int c = 0; c < {given.channels}; ++c) acc[c + {head.channels[0]}] = p[c];"
    yield "}"
