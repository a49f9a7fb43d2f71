"""Bodies of C functions without intrinsics: one pixel after the other, all of its channels side by side."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from modicum.quantize.engine.constants import Constants, moves_only
from modicum.quantize.engine.layout import Buffer
from modicum.quantize.engine.steps import (
    Copy,
    Enlarge,
    Head,
    Layer,
    Ravel,
    Step,
    Subsample,
    Total,
    WindowMaximum,
)

Bytes = np.ndarray[tuple[int, ...], np.dtype[np.int8]]


def scalar_weights(layer: Layer) -> Bytes:
    """Order weights as (row, column, incoming, outgoing of a group), so that the outgoing lie side by side."""
    each = len(layer.weight) // layer.groups
    grouped = layer.weight.reshape(layer.groups, each, *layer.weight.shape[1:])
    return np.ascontiguousarray(grouped.transpose(3, 4, 0, 2, 1)).reshape(-1)


def scalar_body(step: Step, given: Buffer, other: Buffer | None, result: Buffer, them: Constants) -> Iterator[str]:
    """Write the body of a step's function; x is read, r is added, y is written, w are the weights."""
    moves, count = moves_only(step, given, result), _together(step.head, result)
    yield f"for (int i = 0; i < {result.height}; ++i) {{"
    yield f"for (int j = 0; j < {result.width}; j += {count}) {{"
    yield f"{given.kind if moves else 'int32_t'} acc[{count * result.channels}];"
    yield from _head(step.head, given, result)
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
        case Total():
            yield f"for (int c = 0; c < {given.channels}; ++c) acc[c] = 0;"
            yield f"for (int k = 0; k < {given.height}; ++k) {{"
            yield f"for (int l = 0; l < {given.width}; ++l) {{"
            yield f"const {given.kind} *p = x + {given.first} + k * {given.row} + l * {given.pixel};"
            yield f"for (int c = 0; c < {given.channels}; ++c) acc[c] += p[c];"
            yield from ("}", "}")
        case WindowMaximum():
            yield from _window(head, given)
        case Enlarge():
            yield from _enlarged(head, given, result)
        case Subsample():
            yield f"const {given.kind} *p = x + {given.first} + i * {head.stride[0] * given.row}"
            yield f"+ j * {head.stride[1] * given.pixel};"
            yield f"for (int c = 0; c < {given.channels}; ++c) acc[c] = p[c];"
        case Copy():
            yield f"const {given.kind} *p = x + {given.first} + i * {given.row} + j * {given.pixel};"
            yield f"for (int c = 0; c < {given.channels}; ++c) acc[c] = p[c];"
        case Ravel():
            yield f"for (int c = 0; c < {given.channels}; ++c) {{"
            yield f"for (int k = 0; k < {given.height * given.width}; ++k) {{"
            at = f"{given.first} + k / {given.width} * {given.row} + k % {given.width} * {given.pixel} + c"
            yield f"acc[c * {given.height * given.width} + k] = x[{at}];"
            yield from ("}", "}")


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


def _window(head: WindowMaximum, given: Buffer) -> Iterator[str]:
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


def _enlarged(head: Enlarge, given: Buffer, result: Buffer) -> Iterator[str]:
    top, left = head.rows[0], head.columns[0]
    yield f"for (int c = 0; c < {result.channels}; ++c) acc[c] = {given.zero};"
    yield f"if (i >= {top} && i < {top + given.height} && j >= {left} && j < {left + given.width}) {{"
    yield f"const {given.kind} *p = x + {given.first} + (i - {top}) * {given.row} + (j - {left}) * {given.pixel};"
    yield f"for (int c = 0; c < {given.channels}; ++c) acc[c + {head.channels[0]}] = p[c];"
    yield "}"
