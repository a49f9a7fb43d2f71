"""Quantized networks for onnxruntime, and how far its results are from ours."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modicum.core.export import largest_difference, open_onnx
from modicum.core.extras import require
from modicum.core.files import aside
from modicum.core.storage import Format
from modicum.errors import ConfigError, DataError
from modicum.quantize.document import config_to
from modicum.quantize.model import QuantizedModel
from modicum.quantize.onnx_graph import program_of

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
    with torch.no_grad():
        shape = model(torch.zeros(1, *model.shape)).shape[1:]
    values = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", *sizes])
        for name, sizes in ((source, model.shape), (output, shape))
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
