"""A quantized network as the nodes and constants of ONNX, in the form QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from modicum.errors import ModelError
from modicum.quantize.codes import ActivationGrid, FloatActivationGrid, FloatWeightCode, WeightCode
from modicum.quantize.graph.network import Node
from modicum.quantize.graph.operations import (
    Activation,
    Add,
    BatchNorm,
    Convolution,
    Flatten,
    Input,
    Linear,
    MaxPool,
    MeanPool,
    Opaque,
    Operation,
    Pad,
    Slice,
)
from modicum.quantize.model import QuantizedModel, bias_integers, bias_step

Array: TypeAlias = npt.NDArray[Any]

_TO_THE_END = 2**62
_MIDDLE = 128  # the zero point of all weights


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A node of ONNX."""

    kind: str  # its operator
    inputs: tuple[str, ...]  # names of values
    output: str  # name of the value
    attributes: dict[str, Any]  # of the operator


@dataclass(frozen=True, slots=True)
class Program:
    """What runs, in its order, and on which constants."""

    calls: list[Call] = field(default_factory=list[Call])  # the nodes
    constants: dict[str, Array] = field(default_factory=dict[str, Array])  # by name
    result: dict[str, str] = field(default_factory=dict[str, str])

    def call(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Add a node, and give the name of its output."""
        self.calls.append(Call(kind=kind, inputs=tuple(inputs), output=output, attributes=attributes))
        return output

    def constant(self, name: str, value: Any, dtype: Any) -> str:
        """Add a constant, and give its name."""
        self.constants[name] = np.asarray(value, dtype=dtype)
        return name


def program_of(model: QuantizedModel) -> Program:
    """Translate a network."""
    program = Program()
    for node in model.graph:
        inputs = [program.result[name] for name in node.inputs]
        write = _WRITERS.get(type(node.operation))
        if write is None:
            label = node.operation.label if isinstance(node.operation, Opaque) else type(node.operation).__name__
            raise ModelError(
                f"{node.name} is the operator {label}, which is not translated to ONNX.",
                hint="Take it out of the network, or export the float network with torch.onnx.",
            )
        value = write(model, program, node, inputs)
        grid = model.grids.get(node.name)
        program.result[node.name] = value if grid is None else _to_grid(program, node.name, value, grid)
    return program


def stored_integers(name: str, code: WeightCode | FloatWeightCode) -> Array:
    """Give q - z + 128 as uint8, to be stored with the zero point 128."""
    # Not int8: without VNNI onnxruntime multiplies int8 weights and uint8 activations in pairs summed in 16 bits, which
    # saturate. Two uint8 take another kernel, which does not.
    if isinstance(code, WeightCode):
        integers = code.integers.to(torch.int16)
    else:
        zero = code.zero.view(-1, *[1] * (code.codes.ndim - 1))
        integers = code.codes.to(torch.int16) - zero.round().to(torch.int16)
        if bool((zero != zero.round()).any()) or int(integers.min()) < -128 or int(integers.max()) > 127:
            raise ModelError(
                f"{name} has a zero point that is no integer, or weights beyond 8 bits, which ONNX cannot hold.",
                hint='Quantize it with scales="power_of_two", or with fewer bits.',
            )
    return (integers + _MIDDLE).to(torch.uint8).cpu().numpy()


def _to_grid(program: Program, name: str, value: str, grid: ActivationGrid | FloatActivationGrid) -> str:
    if isinstance(grid, ActivationGrid) and grid.rounding != "half_even":
        raise ModelError(
            f"{name} rounds ties up, but ONNX rounds them to even.", hint='Quantize with rounding="half_even".'
        )
    kind, least, most = (np.int8, -128, 127) if grid.signed else (np.uint8, 0, 255)
    scale = program.constant(f"{name}/scale", grid.scale, np.float32)
    zero = program.constant(f"{name}/zero", 0, kind)
    codes = program.call("QuantizeLinear", [value, scale, zero], f"{name}/codes")
    if (grid.low, grid.high) != (least, most):
        low = program.constant(f"{name}/low", grid.low, kind)
        high = program.constant(f"{name}/high", grid.high, kind)
        codes = program.call("Clip", [codes, low, high], f"{name}/clipped")
    return program.call("DequantizeLinear", [codes, scale, zero], f"{name}/on_grid")


def _weights(model: QuantizedModel, program: Program, name: str) -> tuple[str, str]:
    layer, code = model.graph.layers[name], model.codes.get(name)
    step = None if code is None else bias_step(model.graph, model.codes, model.grids, name)
    if code is None:
        weight = program.constant(f"{name}/weight", layer.weight.detach().cpu(), np.float32)
    else:
        # Names apart from those of the grid of the layer's output, which there is where another layer reads it.
        whole = program.constant(f"{name}/weight_codes", stored_integers(name, code), np.uint8)
        scale = program.constant(f"{name}/weight_scale", code.scale.cpu(), np.float32)
        zero = program.constant(f"{name}/weight_zero", np.full(len(code.scale), _MIDDLE), np.uint8)
        weight = program.call("DequantizeLinear", [whole, scale, zero], f"{name}/weight", axis=0)
    if step is None:
        return weight, program.constant(f"{name}/bias", layer.bias.detach().cpu(), np.float32)
    integers = bias_integers(model.graph, model.codes, model.grids, name)
    if int(integers.abs().max()) >= 2**31 or bool((step.float().double() != step).any()):
        raise ModelError(
            f"The bias of {name} does not fit 32 bits, or its unit does not fit float32.",
            hint="Choose a coarser grid for its input.",
        )
    whole = program.constant(f"{name}/bias_codes", integers.cpu(), np.int32)
    scale = program.constant(f"{name}/bias_scale", step.cpu(), np.float32)
    return weight, program.call("DequantizeLinear", [whole, scale], f"{name}/bias", axis=0)


def _input(_: QuantizedModel, __: Program, node: Node, ___: list[str]) -> str:
    return node.name


def _add(_: QuantizedModel, program: Program, node: Node, inputs: list[str]) -> str:
    return program.call("Add", inputs, node.name)


def _flatten(_: QuantizedModel, program: Program, node: Node, inputs: list[str]) -> str:
    return program.call("Flatten", inputs, node.name, axis=1)


def _convolution(model: QuantizedModel, program: Program, node: Node, inputs: list[str]) -> str:
    it = node.operation
    assert isinstance(it, Convolution)  # noqa: S101 - as all writers: chosen by this class
    weights = _weights(model, program, node.name)
    return program.call(
        "Conv",
        [*inputs, *weights],
        node.name,
        kernel_shape=list(it.weight.shape[2:]),
        strides=list(it.stride),
        pads=[*it.padding, *it.padding],
        dilations=list(it.dilation),
        group=it.groups,
    )


def _linear(model: QuantizedModel, program: Program, node: Node, inputs: list[str]) -> str:
    return program.call("Gemm", [*inputs, *_weights(model, program, node.name)], node.name, transB=1)


def _batch_norm(_: QuantizedModel, program: Program, node: Node, inputs: list[str]) -> str:
    it = node.operation
    assert isinstance(it, BatchNorm)  # noqa: S101
    parts = {"weight": it.weight, "bias": it.bias, "mean": it.mean, "variance": it.variance}
    names = [program.constant(f"{node.name}/{key}", value.cpu(), np.float32) for key, value in parts.items()]
    return program.call("BatchNormalization", [*inputs, *names], node.name, epsilon=it.epsilon)


def _activation(_: QuantizedModel, program: Program, node: Node, inputs: list[str]) -> str:
    it = node.operation
    assert isinstance(it, Activation)  # noqa: S101
    if it.ceiling is None:
        return program.call("Relu", inputs, node.name)
    ends = [
        program.constant(f"{node.name}/{key}", value, np.float32)
        for key, value in {"floor": 0.0, "ceiling": it.ceiling}.items()
    ]
    return program.call("Clip", [*inputs, *ends], node.name)


def _max_pool(_: QuantizedModel, program: Program, node: Node, inputs: list[str]) -> str:
    it = node.operation
    assert isinstance(it, MaxPool)  # noqa: S101
    pads = [*it.padding, *it.padding]
    return program.call("MaxPool", inputs, node.name, kernel_shape=list(it.kernel), strides=list(it.stride), pads=pads)


def _mean_pool(_: QuantizedModel, program: Program, node: Node, inputs: list[str]) -> str:
    it = node.operation
    assert isinstance(it, MeanPool)  # noqa: S101
    # Not GlobalAveragePool: a folded mean divides by another number than that of its pixels.
    axes = program.constant(f"{node.name}/axes", [2, 3], np.int64)
    total = program.call("ReduceSum", [*inputs, axes], f"{node.name}/sum", keepdims=int(it.keep))
    pixels = program.constant(f"{node.name}/pixels", it.pixels, np.float32)
    return program.call("Div", [total, pixels], node.name)


def _pad(_: QuantizedModel, program: Program, node: Node, inputs: list[str]) -> str:
    it = node.operation
    assert isinstance(it, Pad)  # noqa: S101
    sides = (it.channels, it.rows, it.columns)
    pads = [0, *(first for first, _ in sides), 0, *(last for _, last in sides)]
    return program.call("Pad", [*inputs, program.constant(f"{node.name}/pads", pads, np.int64)], node.name)


def _slice(_: QuantizedModel, program: Program, node: Node, inputs: list[str]) -> str:
    it = node.operation
    assert isinstance(it, Slice)  # noqa: S101
    parts = {"starts": [0, 0], "ends": [_TO_THE_END] * 2, "axes": [2, 3], "steps": list(it.stride)}
    names = [program.constant(f"{node.name}/{key}", value, np.int64) for key, value in parts.items()]
    return program.call("Slice", [*inputs, *names], node.name)


_Writer: TypeAlias = Callable[[QuantizedModel, Program, Node, list[str]], str]

_WRITERS: dict[type[Operation], _Writer] = {
    Input: _input,
    Convolution: _convolution,
    Linear: _linear,
    BatchNorm: _batch_norm,
    Add: _add,
    Activation: _activation,
    MaxPool: _max_pool,
    MeanPool: _mean_pool,
    Pad: _pad,
    Slice: _slice,
    Flatten: _flatten,
}
