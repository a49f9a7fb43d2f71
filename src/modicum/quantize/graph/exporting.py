"""The call of torch.export: for any batch size, without its debugging text, and with its failure in one sentence."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import re
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx.experimental.symbolic_shapes import is_concrete_int

from modicum.errors import ModelError

_TALKATIVE = ("torch.fx.experimental.symbolic_shapes", "torch.export._trace")


def exported(model: nn.Module, example: Tensor) -> ExportedProgram:
    """Export a network in evaluation mode, and leave it as it was."""
    was_training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad(), _quiet():
            program = torch.export.export(model, (example,), dynamic_shapes=_any_batch(model))
    except Exception as error:
        raise ModelError(
            f"torch.export cannot trace {type(model).__name__}{_place(error)}: {_first_line(error)}",
            hint="Take the operator that is named out of forward, or quantize layer by layer: tracing='eager'.",
        ) from error
    finally:
        for module, training in was_training.items():
            module.training = training
    if any(is_concrete_int(size) for size in _batch_sizes(program)):
        raise ModelError(
            f"{type(model).__name__} can be traced for a batch of {len(example)} only: its forward fixes that number.",
            hint="Write x.shape[0] or -1 in its place, or quantize layer by layer: tracing='eager'.",
        )
    return program


def _any_batch(model: nn.Module) -> Any:
    first = next(iter(inspect.signature(model.forward).parameters.values()), None)
    dynamic = {0: Dim.AUTO}
    if first is not None and first.kind is inspect.Parameter.VAR_POSITIONAL:
        return ((dynamic,),)
    return (dynamic,)


def _batch_sizes(program: ExportedProgram) -> list[Any]:
    inputs = set(program.graph_signature.user_inputs)
    found = (node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder" and node.name in inputs)
    return [value.shape[0] for value in found if isinstance(value, Tensor)]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # A failed export prints its graph to stderr and logs advice on torch's internals; a good one keeps its warnings.
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    levels = [it.level for it in loggers]
    text = io.StringIO()
    for it in loggers:
        it.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stderr(text):
            yield
        sys.stderr.write(text.getvalue())
    finally:
        for it, level in zip(loggers, levels, strict=True):
            it.setLevel(level)


def _place(error: Exception) -> str:
    partial = str(getattr(error, "partial_fx_graph", ""))
    operators = re.findall(r"torch\.ops\.(\w+\.\w+)", partial)
    code = re.findall(r"code: (.*)", partial)
    return (f" behind {operators[-1]}" if operators else "") + (f" in '{code[-1].strip()}'" if code else "")


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
