"""Bodies of C functions for vector units: a block of pixels times a block of channels in registers.

An instruction multiplies four incoming channels of a pixel with those of sixteen outgoing ones (AVX512-VNNI) or eight
(AVX2). Both read the same weights, and one text serves both: what differs stands in `VECTORS`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from modicum.quantize.engine.c_scalar import Buffer, Bytes, Constants, border
from modicum.quantize.graph.ops import Layer

LANES = 16  # outgoing channels side by side in the table of weights

VECTORS = """\
#if defined(MODICUM_SCALAR)
#define MODICUM_VECTOR 0
#elif defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__) && !defined(MODICUM_AVX2)
#define MODICUM_VECTOR 512
#elif defined(__AVX2__) && defined(__GNUC__)
#define MODICUM_VECTOR 256
#else
#define MODICUM_VECTOR 0
#endif

/* get and put move up to n numbers; pixels begin at multiples of four, so that four are always there. */
#if MODICUM_VECTOR
#include <immintrin.h>

static inline int32_t quad(const uint8_t *p) {
int32_t bytes;
memcpy(&bytes, p, 4);
return bytes;
}
#endif
#if MODICUM_VECTOR == 512
typedef __m512i vec;
#define V(name) _mm512_##name
static inline vec load(const void *p) { return _mm512_loadu_si512(p); }
typedef vec sums;
static inline vec weights(const int8_t *p) { return load(p); }
static inline vec taps(const int8_t *p) { return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)); }
static inline sums each(sums a, vec x, vec w) { return _mm512_add_epi32(a, _mm512_madd_epi16(x, w)); }
static inline sums dot(sums a, vec x, vec w) { return _mm512_dpbusd_epi32(a, x, w); }
static inline __mmask16 first(int n) { return (__mmask16)(n < 16 ? (1 << n) - 1 : 0xffff); }
static inline vec get8(const uint8_t *p, int n) {
return _mm512_cvtepu8_epi32(n < 16 ? _mm_maskz_loadu_epi8(first(n), p) : _mm_loadu_si128((const __m128i *)p));
}
static inline vec get32(const int32_t *p, int n) { return n < 16 ? _mm512_maskz_loadu_epi32(first(n), p) : load(p); }
static inline void put8(uint8_t *p, vec v, int n) {
if (n < 16) _mm_mask_storeu_epi8(p, first(n), _mm512_cvtepi32_epi8(v));
else _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(v));
}
static inline void put32(int32_t *p, vec v, int n) {
if (n < 16) _mm512_mask_storeu_epi32(p, first(n), v);
else _mm512_storeu_si512(p, v);
}
static inline vec to_even(vec v, vec shift, vec mask) {
const __mmask16 tie = _mm512_testn_epi32_mask(v, mask);
v = _mm512_srav_epi32(v, shift);
return _mm512_mask_and_epi32(v, tie, v, _mm512_set1_epi32(-2));
}
#elif MODICUM_VECTOR == 256
typedef __m256i vec;
#define V(name) _mm256_##name
static inline vec load(const void *p) { return _mm256_loadu_si256((const vec *)p); }
static inline vec weights(const int8_t *p) { /* in a register: as operands in memory they are loaded again and again */
vec w = load(p);
__asm__("" : "+x"(w));
return w;
}
/* Sums have types of their own, since gcc spills where those of a loop change between __m256i and another. */
typedef uint16_t halves __attribute__((vector_size(32)));
typedef uint32_t sums __attribute__((vector_size(32)));
static inline halves pairs(vec x, vec w) { return (halves)_mm256_maddubs_epi16(x, w); }
static inline sums widened(halves h) { return (sums)_mm256_madd_epi16((vec)h, _mm256_set1_epi16(1)); }
static inline vec taps(const int8_t *p) { return _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)); }
static inline sums each(sums a, vec x, vec w) { return a + (sums)_mm256_madd_epi16(x, w); }
static inline sums dot(sums a, vec x, vec w) { return a + widened(pairs(x, w)); }
static inline sums wide_dot(sums a, vec x, vec w) { /* where the sum of two products may leave 16 bits */
const vec even = _mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8), odd = _mm256_srai_epi16(w, 8);
a += (sums)_mm256_madd_epi16(_mm256_and_si256(x, _mm256_set1_epi16(255)), even);
return a + (sums)_mm256_madd_epi16(_mm256_srli_epi16(x, 8), odd);
}
static inline vec get8(const uint8_t *p, int n) {
return _mm256_cvtepu8_epi32(n > 4 ? _mm_loadl_epi64((const __m128i *)p) : _mm_cvtsi32_si128(quad(p)));
}
static inline vec get32(const int32_t *p, int n) {
return n > 4 ? load(p) : _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)p));
}
static inline void put8(uint8_t *p, vec v, int n) {
const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
const __m128i bytes = _mm_packus_epi16(words, words);
const int32_t low = _mm_cvtsi128_si32(bytes);
if (n > 4) _mm_storel_epi64((__m128i *)p, bytes);
else memcpy(p, &low, 4);
}
static inline void put32(int32_t *p, vec v, int n) {
if (n > 4) _mm256_storeu_si256((vec *)p, v);
else _mm_storeu_si128((__m128i *)p, _mm256_castsi256_si128(v));
}
static inline vec to_even(vec v, vec shift, vec mask) {
const vec tie = _mm256_cmpeq_epi32(_mm256_and_si256(v, mask), _mm256_setzero_si256());
return _mm256_andnot_si256(_mm256_srli_epi32(tie, 31), _mm256_srav_epi32(v, shift));
}
#endif
#if MODICUM_VECTOR
static inline vec four(const uint8_t *p) { return V(set1_epi32)(quad(p)); }
#endif
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A vector unit."""

    lanes: int  # of 32 bits
    sums: int  # registers for accumulators
    weights: int  # registers for weights


VNNI = Target(lanes=16, sums=16, weights=12)
AVX2 = Target(lanes=8, sums=12, weights=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tiling:
    """How a layer is cut."""

    target: Target
    pixels: int  # of a row, in registers at a time
    vectors: int  # of outgoing channels, likewise
    blocks: int  # of so many vectors
    pieces: tuple[range, ...]  # columns of the kernel whose weights are in registers at a time
    quads: int  # fours of incoming channels that a loop meets
    run: int = 0  # products of fours that are summed in 16 bits; 0 if not even one can be
    whole: bool = False  # whether all of them are


def is_vectorised(layer: Layer, given: Buffer) -> bool:
    """Tell whether a layer has such a body: all channels in one group, or each by itself, and numbers of 8 bits."""
    return (layer.groups == 1 or _is_depthwise(layer)) and given.narrow


def _is_depthwise(layer: Layer) -> bool:
    return layer.groups == len(layer.weight) > 1 and layer.weight.shape[1] == 1


def tiling(layer: Layer, given: Buffer, width: int, target: Target) -> Tiling:
    """Cut a layer so that most sums are under way at once, and then so that least is read."""
    outgoing, incoming, _, columns = layer.weight.shape
    vectors, quads = -(-outgoing // target.lanes), -(-incoming // 4)
    joined, run, total, sums = False, 0, -1, target.sums
    counts, most_columns = (1, 2, 3, 4, 8), target.weights
    if _is_depthwise(layer):
        counts, sums, most_columns = (1,), 8, 4
    elif target is AVX2:
        counts = (1, 2)  # two vectors of AVX2 are one of the table
        joined = layer.dilation[1] == 1  # the channels of neighbours lie side by side: one loop for all columns
        run, total = exact_run(layer, given.largest, joined=joined)
        if run != total:  # sums of 16 and of 32 bits at a time, or products that take more registers
            sums = 6 if run > 1 else 8

    def cost(count: int) -> tuple[int, int]:
        pixels = min(width, sums // count)
        return -min(pixels * count, 8), -(-1000 * (pixels + columns - 1 + count * columns) // (pixels * count))

    most = min((count for count in counts if vectors % count == 0), key=cost)
    # The last block of a row overlaps the one before it: few pixels too many, then few blocks.
    pixels = min(range(1, min(width, sums // most) + 1), key=lambda count: -(-width // count) * (2 * count + 1))
    parts = -(-columns // max(1, min(4, most_columns // most)))
    cut = [columns * at // parts for at in range(parts + 1)]
    return Tiling(
        target=target,
        pixels=pixels,
        vectors=most,
        blocks=vectors // most,
        pieces=(range(1),) if joined else tuple(map(range, cut[:-1], cut[1:])),
        quads=quads * columns if joined else quads,
        run=run,
        whole=run == total,
    )


def exact_run(layer: Layer, largest: int, *, joined: bool) -> tuple[int, int]:
    """Count the products of fours that 16 bits hold in `_mm256_maddubs_epi16`, with these weights; and all of a layer.

    Either all of a layer, or a loop's half, quarter and so on, or 0 if not even one. A loop reads a row of the kernel
    (joined) or a pixel.
    """
    outgoing, incoming, rows, columns = layer.weight.shape
    padded = np.zeros((outgoing, rows, columns, -(-incoming // 4) * 4), np.int64)
    padded[..., :incoming] = layer.weight.transpose(0, 2, 3, 1)
    pairs = padded.reshape(outgoing, rows if joined else rows * columns, -1, 2, 2)
    # Inputs are >= 0: a sum lies between that of the negative weights and that of the positive ones.
    ends = largest * np.stack([np.maximum(pairs, 0).sum(4), np.maximum(-pairs, 0).sum(4)])
    loops, size = ends.shape[2:4]
    if ends.sum(axis=(2, 3)).max() < 2**15:
        return loops * size, loops * size
    run = size
    while np.add.reduceat(ends, range(0, size, run), axis=3).max() >= 2**15:
        if run == 1:
            return 0, loops * size
        run = -(-run // 2)
    return run, loops * size


def vector_weights(layer: Layer, tiles: Tiling) -> Bytes:
    """Order weights as VNNI cuts them: block, row, column, quad, vector, channel, four incoming (or one)."""
    outgoing, incoming, rows, columns = layer.weight.shape
    each = 1 if _is_depthwise(layer) else 4
    padded = np.zeros((tiles.blocks * tiles.vectors * LANES, tiles.quads * each, rows, columns), np.int8)
    padded[:outgoing, :incoming] = layer.weight
    split = padded.reshape(tiles.blocks, tiles.vectors, LANES, tiles.quads, each, rows, columns)
    return split.transpose(0, 5, 6, 3, 1, 2, 4).reshape(-1)


def vector_body(
    layer: Layer, tiles: Tiling, of: int, given: Buffer, other: Buffer | None, result: Buffer, them: Constants
) -> Iterator[str]:
    """Write the body of a layer's function, on weights in blocks `of` so many vectors; names are the scalar one's."""
    lanes, rows = tiles.target.lanes, layer.weight.shape[2]
    each = 1 if _is_depthwise(layer) else 4  # bytes of a channel's weights
    quad = of * LANES * each
    size = -(-layer.weight.shape[1] // 4) * layer.weight.shape[3] * quad  # bytes of a row of kernels
    start = given.first - layer.padding[0] * given.row - layer.padding[1] * given.pixel
    count = -(-result.width // tiles.pixels)
    yield f"for (int b = 0; b < {tiles.blocks}; ++b) {{"
    for vector in range(tiles.vectors):
        yield f"const int d{vector} = (b * {tiles.vectors} + {vector}) * {lanes};"
        yield f"const vec b{vector} = load(bias + d{vector});"
    yield f"for (int i = 0; i < {result.height}; ++i) {{"
    yield f"for (int n = 0; n < {count}; ++n) {{"
    # The last block of a row may overlap the one before it, and computes the same there.
    last = result.width - tiles.pixels
    yield f"const int j = n == {count - 1} ? {last} : n * {tiles.pixels};"
    yield f"const uint8_t *p = x + {start} + i * {layer.stride[0] * given.row} + j * {layer.stride[1] * given.pixel};"
    at = f"d0 / {LANES * of} * {rows * size} + d0 / {LANES} % {of} * {LANES * each} + d0 % {LANES} * {each}"
    yield f"const int8_t *q = w + {at};"
    yield from _sums(layer, tiles, size, quad, given)
    yield f"{result.kind} *o = y + {result.first} + i * {result.row} + j * {result.pixel};"
    if other is not None:
        yield f"const {other.kind} *s = r + {other.first} + i * {other.row} + j * {other.pixel};"
    for pixel, vector in _tiles(tiles):
        yield from _finish(pixel, vector, lanes, other, result, them)
    yield from ("}", "}", "}")
    yield from border(result)


def _tiles(tiles: Tiling) -> Iterator[tuple[int, int]]:
    return ((pixel, vector) for pixel in range(tiles.pixels) for vector in range(tiles.vectors))


def _sums(layer: Layer, tiles: Tiling, row: int, quad: int, given: Buffer) -> Iterator[str]:
    """Write the sums a of 32 bits; where more than one product fits, they are filled from sums h of 16 bits."""
    names = [f"{pixel}_{vector}" for pixel, vector in _tiles(tiles)]
    zeros = [f"halves h{name} = {{0}};" for name in names]
    widen = [f"a{name} += widened(h{name});" for name in names]
    depthwise = _is_depthwise(layer)
    in_parts = tiles.run > 1 and not tiles.whole
    step = tiles.run if in_parts else tiles.quads
    yield from (f"sums a{pixel}_{vector} = (sums)b{vector};" for pixel, vector in _tiles(tiles))
    yield from zeros if tiles.whole else ()
    yield f"for (int k = 0; k < {layer.weight.shape[2]}; ++k) {{"
    for columns in tiles.pieces:
        yield f"for (int h = 0; h < {tiles.quads}; h += {step}) {{"
        yield from zeros if in_parts else ()
        end = f"(h + {step} < {tiles.quads} ? h + {step} : {tiles.quads})" if step < tiles.quads else f"{tiles.quads}"
        yield f"for (int g = h; g < {end}; ++g) {{"
        for column in columns:
            for vector in range(tiles.vectors):
                at = column * tiles.quads * quad + vector * tiles.target.lanes * 4
                yield f"const vec w{column}_{vector} = {'taps' if depthwise else 'weights'}(q + {at} + g * {quad});"
        seen: dict[int, list[tuple[int, int]]] = {}
        for pixel in range(tiles.pixels):
            for column in columns:
                offset = pixel * layer.stride[1] + column * layer.dilation[1]
                seen.setdefault(offset, []).append((pixel, column))
        for offset, pairs in sorted(seen.items()):
            at = f"p + {offset * given.pixel} + "
            x = f"get8({at}d0, {_live(0, tiles.target.lanes, given)})" if depthwise else f"four({at}4 * g)"
            yield f"const vec x{offset} = {x};"
            for pixel, column in pairs:
                for vector in range(tiles.vectors):
                    yield _product(f"{pixel}_{vector}", f"x{offset}, w{column}_{vector}", tiles, layer)
        yield "}"
        yield from widen if in_parts else ()
        yield "}"
    yield f"p += {layer.dilation[0] * given.row};"
    yield f"q += {row};"
    yield "}"
    yield from widen if tiles.whole else ()


def _product(name: str, factors: str, tiles: Tiling, layer: Layer) -> str:
    if tiles.run > 1 or tiles.whole:
        return f"h{name} += pairs({factors});"
    dot = "dot" if tiles.run or tiles.target is VNNI else "wide_dot"
    return f"a{name} = {'each' if _is_depthwise(layer) else dot}(a{name}, {factors});"


def _finish(
    pixel: int, vector: int, lanes: int, other: Buffer | None, result: Buffer, them: Constants
) -> Iterator[str]:
    yield f"{{ vec v = (vec)a{pixel}_{vector};"
    if them.own is not None:
        yield f"v = V(sllv_epi32)(v, load(own + d{vector}));"
    if other is not None:
        added = f"get{8 if other.narrow else 32}(s + {pixel * other.pixel} + d{vector}, {_live(vector, lanes, other)})"
        if them.other is not None:
            added = f"V(sllv_epi32)({added}, load(other + d{vector}))"
        yield f"v = V(add_epi32)(v, {added});"
    if them.plus is not None:
        yield f"v = V(add_epi32)(v, load(plus + d{vector}));"
    if them.mask is not None:
        yield f"v = to_even(v, load(shift + d{vector}), load(mask + d{vector}));"
    elif them.shift is not None:
        yield f"v = V(srav_epi32)(v, load(shift + d{vector}));"
    if them.low is not None:
        yield f"v = V(max_epi32)(v, V(set1_epi32)({them.low}));"
    if them.high is not None:
        yield f"v = V(min_epi32)(v, V(set1_epi32)({them.high}));"
    if them.zero:
        yield f"v = V(add_epi32)(v, V(set1_epi32)({them.zero}));"
    at = f"o + {pixel * result.pixel} + d{vector}"
    yield f"put{8 if result.narrow else 32}({at}, v, {_live(vector, lanes, result)}); }}"


def _live(vector: int, lanes: int, buffer: Buffer) -> str:
    """Write how many channels a vector has at most."""
    return f"{buffer.channels} - d{vector}" if buffer.channels % lanes else str(lanes)
