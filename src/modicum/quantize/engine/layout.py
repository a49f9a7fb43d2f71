"""Where the values of a program lie in one piece of memory, and how."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from modicum.quantize.engine.heads import OFFSET
from modicum.quantize.engine.steps import Layer, Program, Value
from modicum.quantize.graph.operations import Pair

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
    paddings = [it.head.padding for it in program.steps if isinstance(it.head, Layer) and it.source == value.name]
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
