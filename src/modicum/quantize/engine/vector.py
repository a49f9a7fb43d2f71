"""Bodies of C functions for processors with AVX512-VNNI: a block of pixels times a block of channels in registers.

An instruction multiplies four incoming channels of a pixel with those of sixteen outgoing ones. What is read of the
image is read once for all the columns of the kernel that see it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from modicum.quantize.engine.constants import Constants
from modicum.quantize.engine.layout import Buffer
from modicum.quantize.engine.scalar import Bytes, border
from modicum.quantize.engine.steps import Layer

LANES = 16
_SUMS = 16  # accumulators in registers
_WEIGHTS = 12  # registers of weights


@dataclass(frozen=True, kw_only=True, slots=True)
class Tiling:
    """How a layer is cut."""

    pixels: int  # of a row, in registers at a time
    vectors: int  # of sixteen outgoing channels, likewise
    blocks: int  # of so many vectors
    columns: tuple[int, ...]  # of the kernel, cut into pieces
    quads: int  # fours of incoming channels


def is_vectorised(layer: Layer, given: Buffer) -> bool:
    """Tell whether a layer has such a body: all channels in one group, and numbers of 8 bits."""
    return layer.groups == 1 and given.narrow


def tiling(layer: Layer, width: int) -> Tiling:
    """Cut a layer so that most sums are under way at once, and then so that least is read."""
    outgoing, incoming, _, columns = layer.weight.shape
    vectors = -(-outgoing // LANES)

    def cost(count: int) -> tuple[int, int]:
        pixels = min(width, _SUMS // count)
        return -min(pixels * count, 8), -(-1000 * (pixels + columns - 1 + count * columns) // (pixels * count))

    most = min((it for it in (1, 2, 3, 4, 8) if vectors % it == 0), key=cost)
    pixels = min(width, _SUMS // most)
    pixels = -(-width // -(-width // pixels))  # as even as can be
    pieces = -(-columns // max(1, min(4, _WEIGHTS // most)))
    cut = tuple(columns * (it + 1) // pieces - columns * it // pieces for it in range(pieces))
    return Tiling(pixels=pixels, vectors=most, blocks=vectors // most, columns=cut, quads=-(-incoming // 4))


def vector_weights(layer: Layer, tiles: Tiling) -> Bytes:
    """Order weights as they are read: block, row, piece of columns, quad, column, vector, channel, four incoming."""
    outgoing, incoming, rows, columns = layer.weight.shape
    channels = tiles.blocks * tiles.vectors * LANES
    padded = np.zeros((channels, tiles.quads * 4, rows, columns), np.int8)
    padded[:outgoing, :incoming] = layer.weight
    split = padded.reshape(tiles.blocks, tiles.vectors, LANES, tiles.quads, 4, rows, columns)
    pieces = np.split(split, np.cumsum(tiles.columns)[:-1], axis=6)
    return np.concatenate(
        [it.transpose(0, 5, 3, 6, 1, 2, 4).reshape(tiles.blocks, rows, -1) for it in pieces], axis=2
    ).reshape(-1)


def vector_body(
    layer: Layer, tiles: Tiling, given: Buffer, other: Buffer | None, result: Buffer, them: Constants
) -> Iterator[str]:
    """Write the body of a layer's function; the names are those of the scalar one."""
    start = given.first - layer.padding[0] * given.row - layer.padding[1] * given.pixel
    count = -(-result.width // tiles.pixels)
    size = layer.weight.shape[2] * layer.weight.shape[3] * tiles.quads * tiles.vectors * 64
    yield f"for (int b = 0; b < {tiles.blocks}; ++b) {{"
    yield f"for (int i = 0; i < {result.height}; ++i) {{"
    yield f"for (int n = 0; n < {count}; ++n) {{"
    # The last block of a row may overlap the one before it, and computes the same there.
    last = result.width - tiles.pixels
    yield f"const int j = n == {count - 1} ? {last} : n * {tiles.pixels};"
    yield f"const uint8_t *p = x + {start} + i * {layer.stride[0] * given.row} + j * {layer.stride[1] * given.pixel};"
    yield f"const int8_t *q = w + b * {size};"
    for vector in range(tiles.vectors):
        yield f"const int d{vector} = (b * {tiles.vectors} + {vector}) * {LANES};"
        yield f"const __m512i b{vector} = _mm512_loadu_si512(bias + d{vector});"
    for pixel, vector in _tiles(tiles):
        yield f"__m512i a{pixel}_{vector} = b{vector};"
    yield from _sums(layer, tiles, given)
    if result.channels % LANES:
        for vector in range(tiles.vectors):
            tail = (1 << result.channels % LANES) - 1
            yield f"const __mmask16 m{vector} = d{vector} + {LANES} <= {result.channels} ? 0xffff : {tail:#x};"
    yield f"{result.kind} *o = y + {result.first} + i * {result.row} + j * {result.pixel};"
    if other is not None:
        yield f"const {other.kind} *s = r + {other.first} + i * {other.row} + j * {other.pixel};"
    for pixel, vector in _tiles(tiles):
        yield from _finish(pixel, vector, other, result, them)
    yield from ("}", "}", "}")
    yield from border(result)


def _tiles(tiles: Tiling) -> Iterator[tuple[int, int]]:
    return ((pixel, vector) for pixel in range(tiles.pixels) for vector in range(tiles.vectors))


def _sums(layer: Layer, tiles: Tiling, given: Buffer) -> Iterator[str]:
    yield f"for (int k = 0; k < {layer.weight.shape[2]}; ++k) {{"
    first = 0
    for columns in tiles.columns:
        yield f"for (int g = 0; g < {tiles.quads}; ++g) {{"
        for column in range(columns):
            for vector in range(tiles.vectors):
                at = (column * tiles.vectors + vector) * 64
                yield f"const __m512i w{column}_{vector} = _mm512_loadu_si512(q + {at});"
        seen: dict[int, list[tuple[int, int]]] = {}
        for pixel in range(tiles.pixels):
            for column in range(columns):
                place = pixel * layer.stride[1] + (first + column) * layer.dilation[1]
                seen.setdefault(place, []).append((pixel, column))
        for place, pairs in sorted(seen.items()):
            yield f"const __m512i x{place} = four(p + {place * given.pixel} + 4 * g);"
            for pixel, column in pairs:
                for vector in range(tiles.vectors):
                    name = f"a{pixel}_{vector}"
                    yield f"{name} = _mm512_dpbusd_epi32({name}, x{place}, w{column}_{vector});"
        yield f"q += {columns * tiles.vectors * 64};"
        yield "}"
        first += columns
    yield f"p += {layer.dilation[0] * given.row};"
    yield "}"


def _finish(pixel: int, vector: int, other: Buffer | None, result: Buffer, them: Constants) -> Iterator[str]:
    yield f"{{ __m512i v = a{pixel}_{vector};"
    if them.own is not None:
        yield f"v = _mm512_sllv_epi32(v, {_constant('own', vector)});"
    if other is not None:
        yield f"v = _mm512_add_epi32(v, {_added(pixel, vector, other, them)});"
    if them.plus is not None:
        yield f"v = _mm512_add_epi32(v, {_constant('plus', vector)});"
    yield from _rescaled(vector, them)
    if them.zero:
        yield f"v = _mm512_add_epi32(v, _mm512_set1_epi32({them.zero}));"
    at, whole = f"o + {pixel * result.pixel} + d{vector}", result.channels % LANES == 0
    if result.narrow:
        store = f"_mm_storeu_si128((__m128i *)({at}), " if whole else f"_mm_mask_storeu_epi8({at}, m{vector}, "
        yield f"{store}_mm512_cvtepi32_epi8(v));"
    else:
        yield f"_mm512_storeu_si512({at}, v);" if whole else f"_mm512_mask_storeu_epi32({at}, m{vector}, v);"
    yield "}"


def _rescaled(vector: int, them: Constants) -> Iterator[str]:
    if them.mask is not None:
        yield f"const __mmask16 tie = _mm512_testn_epi32_mask(v, {_constant('mask', vector)});"
    if them.shift is not None:
        yield f"v = _mm512_srav_epi32(v, {_constant('shift', vector)});"
    if them.mask is not None:
        yield "v = _mm512_mask_and_epi32(v, tie, v, _mm512_set1_epi32(-2));"
    if them.low is not None:
        yield f"v = _mm512_max_epi32(v, _mm512_set1_epi32({them.low}));"
    if them.high is not None:
        yield f"v = _mm512_min_epi32(v, _mm512_set1_epi32({them.high}));"


def _added(pixel: int, vector: int, other: Buffer, them: Constants) -> str:
    at, whole = f"s + {pixel * other.pixel} + d{vector}", other.channels % LANES == 0
    if other.narrow:
        stored = f"_mm_loadu_si128((const __m128i *)({at}))" if whole else f"_mm_maskz_loadu_epi8(m{vector}, {at})"
        value = f"_mm512_cvtepu8_epi32({stored})"
    else:
        value = f"_mm512_loadu_si512({at})" if whole else f"_mm512_maskz_loadu_epi32(m{vector}, {at})"
    return value if them.other is None else f"_mm512_sllv_epi32({value}, {_constant('other', vector)})"


def _constant(name: str, vector: int) -> str:
    return f"_mm512_loadu_si512({name} + d{vector})"
