"""ONNX files: a quiet export by torch, onnxruntime on the file, and how far its outputs are from the network's."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from modicum.core.extras import require

Outputs = tuple[Tensor, ...]


def write_onnx(
    network: nn.Module,
    inputs: Mapping[str, Tensor],
    path: Path,
    *,
    outputs: Sequence[str],
    one_file: bool = True,
    free_axes: int = 2,
) -> None:
    """Export a network whose forward takes ``*inputs``; their first axes are free: batch and length, or batch alone."""
    # The batch of the inputs must be 2 or more: one would be taken for a constant. Above 2 GB a file needs another one
    # next to it for its weights.
    require_onnx()
    free = [dict.fromkeys(range(min(free_axes, tensor.ndim)), torch.export.Dim.DYNAMIC) for tensor in inputs.values()]
    with _quiet_exporter():
        torch.onnx.export(  # pyright: ignore[reportUnknownMemberType]
            network,
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=(tuple(free),),
            external_data=not one_file,
            dynamo=True,
            verbose=False,
        )


def require_onnx() -> None:
    """See whether the libraries are there, before the work and not after it."""
    for module in ("onnx", "onnxscript", "onnxruntime"):
        require(module, extra="quantize", purpose="Exporting to ONNX")


def open_onnx(path: Path, *, threads: int | None = None, optimised: bool = True) -> Callable[..., Outputs]:
    """Open a file in onnxruntime on the CPU; call the result with the inputs in their order."""
    runtime = require("onnxruntime", extra="quantize", purpose="Running an ONNX file")
    settings = runtime.SessionOptions()
    settings.intra_op_num_threads = threads or torch.get_num_threads()
    settings.log_severity_level = 3  # errors alone
    if not optimised:
        settings.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = runtime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]

    def run(*inputs: Tensor) -> Outputs:
        named = {name: tensor.detach().cpu().numpy() for name, tensor in zip(names, inputs, strict=True)}
        return tuple(torch.as_tensor(output) for output in session.run(None, named))

    return run


def largest_difference(found: Tensor, wanted: Tensor) -> float:
    """Give the largest absolute difference, computed in float64."""
    return float((found.detach().cpu().double() - wanted.detach().cpu().double()).abs().max())


@contextmanager
def _quiet_exporter() -> Generator[None]:
    # It warns of its own deprecations and of torchvision, and its optimizer reports each operator that it leaves.
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
