"""The program on loops that numba compiles: the engine where there is no C compiler."""

from __future__ import annotations

from typing import Any

import numpy as np

from modicum.core.extras import require
from modicum.quantize.engine.reference import run_head
from modicum.quantize.engine.steps import Layer, Program, Step, WindowMaximum


class JitProgram:
    """A program on int32 arrays (batch, height, width, channels)."""

    def __init__(self, program: Program) -> None:
        program.certify()
        require("numba", extra="quantize", purpose="The engine without a C compiler")
        self._program = program
        self._steps = [_Arrays(step) for step in program.steps]

    def run(self, numbers: np.ndarray) -> np.ndarray:
        """Run a batch."""
        program, count = self._program, len(numbers)
        image = numbers.astype(np.int32).reshape(count, *program.input.image)
        values = {program.input.name: _channels_last(image)}
        for arrays in self._steps:
            values[arrays.step.result.name] = arrays.run(values)
        result = values[program.output] << program.align.astype(np.int32)
        return result.transpose(0, 3, 1, 2).reshape(count, *program.values[program.output].shape)


class _Arrays:
    """A step with its constants as int32."""

    def __init__(self, step: Step) -> None:
        self.step = step
        nothing = np.zeros(len(step.result.exponents), np.int32)
        residual, rescale = step.residual, step.rescale
        self.own = nothing if residual is None else residual.own.astype(np.int32)
        self.other = nothing if residual is None else residual.other.astype(np.int32)
        self.shift = nothing if rescale is None else rescale.shift.astype(np.int32)
        limits = np.iinfo(np.int32)
        self.low = (0 if step.rectify else int(limits.min)) if rescale is None else rescale.low
        self.high = int(limits.max) if rescale is None else rescale.high
        self.even = rescale is not None and rescale.rounding == "half_even"
        if isinstance(step.head, Layer):
            self.weight = _weight(step.head)
            self.bias = step.head.bias.astype(np.int32)

    def run(self, values: dict[str, np.ndarray]) -> np.ndarray:
        """Compute the result from the values so far."""
        numbers = self._head(values[self.step.source])
        adds = self.step.residual is not None
        added = values[self.step.residual.name] if self.step.residual is not None else numbers
        _loops().finish(numbers, added, adds, self.own, self.other, self.shift, self.low, self.high, self.even)
        return numbers

    def _head(self, x: np.ndarray) -> np.ndarray:
        head, (channels, height, width) = self.step.head, self.step.result.image
        out = np.empty((len(x), height, width, channels), np.int32)
        if isinstance(head, Layer):
            window = (head.stride, head.padding, head.dilation, head.groups)
            _loops().convolve(x, self.weight, self.bias, window, out)
            return out
        if isinstance(head, WindowMaximum):
            _loops().maximum(x, head.kernel, head.stride, head.padding, out)
            return out
        # Sums, and movements of data.
        return _channels_last(run_head(head, x.transpose(0, 3, 1, 2)).astype(np.int32))


def _loops() -> Any:
    from modicum.quantize.engine import loops

    return loops


def _channels_last(x: np.ndarray) -> np.ndarray:
    return np.array(x.transpose(0, 2, 3, 1), order="C")  # always a copy: it is finished in place


def _weight(head: Layer) -> np.ndarray:
    outgoing, incoming, rows, columns = head.weight.shape
    split = head.weight.astype(np.int32).reshape(head.groups, outgoing // head.groups, incoming, rows, columns)
    ordered = split.transpose(3, 4, 0, 2, 1).reshape(rows, columns, head.groups * incoming, -1)
    return np.ascontiguousarray(ordered)
