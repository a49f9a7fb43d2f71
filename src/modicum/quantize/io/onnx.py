"""Quantized networks for onnxruntime, and how far its results are from ours."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from modicum.core.export import largest_difference, open_onnx
from modicum.core.extras import require
from modicum.core.files import aside
from modicum.core.storage import Format
from modicum.errors import ConfigError, DataError, ModelError
from modicum.quantize.codes import ActivationGrid, FloatActivationGrid, FloatWeightCode, WeightCode
from modicum.quantize.graph.placement import bias_integers, bias_step, source
from modicum.quantize.io.storage import config_to

if TYPE_CHECKING:
    from modicum.quantize.model import QuantizedModel


_FORMAT = Format(name="modicum.quantize.onnx", version=1, what="ONNX file", hint="Name a file of export_onnx.")
_OLDEST_OPSET = 13  # the first with scales by channel


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """How near onnxruntime's outputs are to those of the simulation."""

    equal: float  # share of outputs that are equal to the last bit
    largest: float  # the largest difference, in units of the output
    same_class: float  # share of samples with the same largest output

    def __str__(self) -> str:
        return (
            f"{self.equal:.2%} of outputs equal, largest difference {self.largest:.3g}, "
            f"{self.same_class:.2%} of samples of the same class"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class OnnxAgreement:
    """The same without and with the rewriting of the graph by onnxruntime."""

    plain: Agreement  # at ORT_DISABLE_ALL, where quantized tensors are converted to float32 and computed with
    optimised: Agreement  # at ORT_ENABLE_ALL, where they are merged into operators on integers

    def __str__(self) -> str:
        return f"without optimisation: {self.plain}\nwith optimisation: {self.optimised}"


def export_onnx(model: QuantizedModel, path: Path | str, *, opset: int = 21) -> None:
    """Write a quantized network as an ONNX file, checked, and whole or not at all."""
    # Weights are q - z + 128 in uint8, with the zero point 128 and one scale a channel, whatever their bits:
    # convolutions of onnxruntime take no fewer, and int8 weights saturate on processors without VNNI. Activations are
    # uint8 or int8; a grid of fewer bits is clipped to its ends. The batch is of any size.
    onnx = require("onnx", extra="quantize", purpose="Exporting to ONNX")
    newest = onnx.defs.onnx_opset_version()
    if not _OLDEST_OPSET <= opset <= newest:
        raise ConfigError(f"opset must be {_OLDEST_OPSET} to {newest}, but it is {opset}.", hint="Use 21.")
    document = _document(onnx, model, opset)
    onnx.checker.check_model(document, full_check=True)
    with aside(Path(path)) as part:
        part.write_bytes(document.SerializeToString())


def compare_onnx(model: QuantizedModel, path: Path | str, x: Tensor) -> OnnxAgreement:
    """Run a file in onnxruntime, on one thread of the CPU, and compare it with the simulation.

    Args:
        model: that was exported.
        path: of the file.
        x: inputs, shape (batch, ...).

    Returns:
        The agreement, without and with optimisation.

    Raises:
        DataError: if the file is not one of `export_onnx`, or has another version of its form.
    """
    path = Path(path)
    _check_file(path)
    with torch.no_grad():
        expected = model(x).cpu()
    found = [open_onnx(path, threads=1, optimised=optimised)(x.float())[0] for optimised in (False, True)]
    plain, optimised = (_agreement(outputs, expected) for outputs in found)
    return OnnxAgreement(plain=plain, optimised=optimised)


def _document(onnx: Any, model: QuantizedModel, opset: int) -> Any:
    from onnx import numpy_helper

    helper, program = onnx.helper, program_of(model)
    source, output = model.graph.nodes[0].name, program.result[model.graph.output]
    nodes = [
        helper.make_node(it.kind, list(it.inputs), [it.output], name=f"{it.kind}:{it.output}", **it.attributes)
        for it in program.calls
    ]
    values = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", *sizes])
        for name, sizes in ((source, model.shape), (output, program.shapes[model.graph.output]))
    ]
    constants = [numpy_helper.from_array(value, name) for name, value in program.constants.items()]
    graph = helper.make_graph(nodes, "quantized", values[:1], values[1:], initializer=constants)
    versions, version = [helper.make_opsetid("", opset)], str(_FORMAT.version)
    ir_version = helper.find_min_ir_version_for(versions)
    document = helper.make_model(
        graph, opset_imports=versions, ir_version=ir_version, producer_name="modicum", producer_version=version
    )
    helper.set_model_props(
        document, {"format": _FORMAT.name, "version": version, "config": json.dumps(config_to(model.config))}
    )
    return document


def _check_file(path: Path) -> None:
    onnx = require("onnx", extra="quantize", purpose="Reading an ONNX file")
    from google.protobuf.message import DecodeError

    try:
        document = onnx.load(path, load_external_data=False)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).", hint=_FORMAT.hint) from error
    except DecodeError as error:
        raise DataError(
            f"{path} is no complete ONNX file.", hint="It is truncated or damaged: export it again."
        ) from error
    found = {it.key: it.value for it in document.metadata_props}
    _FORMAT.check(path, found.get("format"), found.get("version"))


def _agreement(found: Tensor, expected: Tensor) -> Agreement:
    classes = (it.flatten(1).argmax(dim=1) for it in (found, expected))
    first, second = classes
    return Agreement(
        equal=float((found == expected).double().mean()),
        largest=largest_difference(found, expected),
        same_class=float((first == second).double().mean()),
    )


Array: TypeAlias = npt.NDArray[Any]

_MIDDLE = 128  # the zero point of all weights


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A node of ONNX."""

    kind: str  # its operator
    inputs: tuple[str, ...]  # names of values
    output: str  # name of the value
    attributes: dict[str, Any]  # of the operator


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """What runs, in its order, and on which constants."""

    model: QuantizedModel
    calls: list[Call] = field(default_factory=list[Call])  # the nodes
    constants: dict[str, Array] = field(default_factory=dict[str, Array])  # by name
    result: dict[str, str] = field(default_factory=dict[str, str])
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])  # of a sample, by node

    def call(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Add a node, and give the name of its output."""
        self.calls.append(Call(kind=kind, inputs=tuple(inputs), output=output, attributes=attributes))
        return output

    def constant(self, name: str, value: Any, dtype: Any) -> str:
        """Add a constant, and give its name."""
        self.constants[name] = np.asarray(value, dtype=dtype)
        return name

    def axes(self, name: str) -> slice:
        """Give those of a pair of rows and columns that a node's input has."""
        return slice(3 - len(self.shapes[self.model.graph[name].inputs[0]]), 2)

    def grid(self, name: str) -> ActivationGrid | FloatActivationGrid | None:
        """Give the grid that a node's input is on."""
        graph = self.model.graph
        return self.model.grids.get(source(graph, graph[name].inputs[0]))

    def weights(self, name: str) -> tuple[str, str]:
        """Add the weights and biases of a layer, and give their names."""
        return _weights(self.model, self, name)


def program_of(model: QuantizedModel) -> Program:
    """Translate a network."""
    program = Program(model=model)

    def watch(name: str, value: Tensor) -> Tensor:
        program.shapes[name] = tuple(value.shape[1:])
        return value

    with torch.no_grad():
        model.graph.run({}, x=torch.zeros(1, *model.shape), through=watch)
    for node in model.graph:
        inputs = [program.result[name] for name in node.inputs]
        value = node.operation.to_onnx(program, node.name, inputs)
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
    shape = layer.weight.shape[: len(program.shapes[name]) + 1]
    if len(shape) == 3:  # a signal has no rows
        shape = (*shape[:2], layer.weight.shape[3])
    if code is None:
        weight = program.constant(f"{name}/weight", layer.weight.detach().cpu().reshape(shape), np.float32)
    else:
        # Names apart from those of the grid of the layer's output, which there is where another layer reads it.
        whole = program.constant(f"{name}/weight_codes", stored_integers(name, code).reshape(shape), np.uint8)
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
