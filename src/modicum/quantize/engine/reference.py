"""The program in int64, one plain loop after the other: what the fast engines are compared with."""

from __future__ import annotations

import numpy as np
import torch

from modicum.quantize.bounds import Integers
from modicum.quantize.engine.program import Program, Rescale, Step
from modicum.quantize.functional import shift_right
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
    Slice,
    Upsample,
)


def run_program(program: Program, numbers: Integers) -> Integers:
    """Run all steps."""
    values = {program.input.name: _as_image(numbers)}
    for step in program.steps:
        given = (values[name] for name in (step.source, *step.more))
        values[step.result.name] = _finish(step, run_head(step.head, *given), values)
    result = _as_image(values[program.output]) << program.align[:, None, None]
    return result.reshape(len(numbers), *program.values[program.output].shape)


def _as_image(x: Integers) -> Integers:
    return x.reshape(*x.shape[:2], *(1, 1, *x.shape[2:])[-2:])


def _finish(step: Step, numbers: Integers, values: dict[str, Integers]) -> Integers:
    if step.residual is not None:
        own, other = (it[:, None, None] for it in (step.residual.own, step.residual.other))
        numbers = (numbers << own) + (values[step.residual.name] << other)
    if step.rectify:
        numbers = np.maximum(numbers, 0)
    return numbers if step.rescale is None else _rescaled(numbers, step.rescale)


def _rescaled(numbers: Integers, rescale: Rescale) -> Integers:
    shift = torch.tensor(rescale.shift)[:, None, None]
    rounded = shift_right(torch.from_numpy(numbers), shift, rescale.rounding)
    return rounded.clamp(rescale.low, rescale.high).numpy()


def run_head(head: Head, x: Integers, *more: Integers) -> Integers:
    """Compute the first operation of a step."""
    if isinstance(head, Lookup):
        return head.values[x - head.low]
    if isinstance(head, Multiply):
        return x * more[0]
    if isinstance(head, Concat):
        return np.concatenate([x, *more], axis=1)
    if isinstance(head, Layer):
        return _layer(head, x)
    if isinstance(head, MaxPool | AvgPool):
        return _window(head, x)
    return _moved(head, x)


def _moved(head: Pad | Slice | Upsample | Flatten | Input, x: Integers) -> Integers:
    match head:
        case Pad():
            made = np.zeros((*x.shape[:2], *head.spread(x.shape[2:])), np.int64)
            made[:, :, :: head.between[0], :: head.between[1]] = x
            return np.pad(made, ((0, 0), head.channels, head.rows, head.columns))
        case Slice():
            return x[:, :, :: head.stride[0], :: head.stride[1]]
        case Upsample():
            return x.repeat(head.factor[0], axis=2).repeat(head.factor[1], axis=3)
        case Flatten():
            return x.reshape(len(x), -1, 1, 1)
        case Input():
            return x


def _layer(head: Layer, x: Integers) -> Integers:
    (top, left), (down, right), (gap_y, gap_x) = head.padding, head.stride, head.dilation
    x = np.pad(x, ((0, 0), (0, 0), (top, top), (left, left)))
    outgoing, incoming, rows, columns = head.weight.shape
    height = (x.shape[2] - gap_y * (rows - 1) - 1) // down + 1
    width = (x.shape[3] - gap_x * (columns - 1) - 1) // right + 1
    weight = head.weight.astype(np.int64)
    result = np.zeros((len(x), outgoing, height, width), np.int64) + head.bias[:, None, None]
    each = outgoing // head.groups
    for group in range(head.groups):
        out, into = slice(group * each, (group + 1) * each), slice(group * incoming, (group + 1) * incoming)
        for i in range(rows):
            for j in range(columns):
                y0, x0 = i * gap_y, j * gap_x
                seen = x[:, into, y0 : y0 + down * height : down, x0 : x0 + right * width : right][
                    :, :, :height, :width
                ]
                result[:, out] += np.einsum("oc,nchw->nohw", weight[out, :, i, j], seen)
    return result


def _window(head: MaxPool | AvgPool, x: Integers) -> Integers:
    (top, left), (down, right), (rows, columns) = head.padding, head.stride, head.kernel
    outside = np.iinfo(np.int64).min if isinstance(head, MaxPool) else 0
    x = np.pad(x, ((0, 0), (0, 0), (top, top), (left, left)), constant_values=outside)
    windows = np.lib.stride_tricks.sliding_window_view(x, (rows, columns), axis=(2, 3))[:, :, ::down, ::right]
    return windows.max(axis=(4, 5)) if isinstance(head, MaxPool) else windows.sum(axis=(4, 5))
