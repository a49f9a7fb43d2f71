"""A trained model as an ONNX file, which gives what torch gives."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from modicum.core.extras import require
from modicum.core.files import aside
from modicum.core.seeding import torch_generator
from modicum.errors import ConfigError, RunError
from modicum.fusion.configuration import CubeMLPConfig
from modicum.fusion.modeling import CubeMLPForPrediction
from modicum.fusion.placing import frames_within

__all__ = ["export_onnx", "onnx_inputs"]

_TOLERANCE = 1e-5  # what two float32 libraries differ by, with room; a wrong graph differs by far more
_ROUNDINGS = 4  # times torch's own distance to float64, which a norm over two modalities can make large
_TEXT = ("input_ids", "attention_mask", "word_ids")
_LENGTHS = "_lengths"


def onnx_inputs(config: CubeMLPConfig) -> list[str]:
    """Name the inputs of the ONNX file of a model.

    Args:
        config: of the model.

    Returns:
        For a stream of features its name, float32 (batch, frames, size) of one frame or more, and "NAME_lengths",
        int64 (batch,), 0 for a sample that lacks it; for text "input_ids" and "attention_mask", int64 (batch, tokens),
        and "word_ids" of the same shape if a stream is placed by words.
    """
    features = [stream.name for stream in config.modalities if not stream.text]
    names = [name for feature in features for name in (feature, feature + _LENGTHS)]
    if config.text_encoder is not None:
        placed = config.placement != "centre" and any(stream.per_word for stream in config.modalities)
        names += _TEXT if placed else _TEXT[:2]
    return names


def export_onnx(model: CubeMLPForPrediction, path: Path) -> float:
    """Write a model for onnxruntime; the batch and the time of each stream are free.

    The inputs are those of `onnx_inputs`, the output is "logits". The file is compared with torch on random batches, of
    one sample of one frame and of seven as long as the cube, before it is put in its place.

    Args:
        model: trained, in float32; it is not changed.
        path: of the file, replaced if it is there.

    Returns:
        The largest difference between onnxruntime's logits and torch's, as a share of the largest logit if that is
        above 1.

    Raises:
        ConfigError: if the model depends on its batch (``compat="official"``) or is not in float32, or the file cannot
            be written.
        MissingExtraError: if onnx, onnxruntime or onnxscript is not installed.
        RunError: if onnxruntime computes something else.
    """
    for module in ("onnx", "onnxscript", "onnxruntime"):
        require(module, extra="quantize", purpose="Exporting to ONNX")
    if model.config.compat is not None:
        raise ConfigError("A model with compat='official' cannot be exported.", hint="Unset compat.")
    if model.dtype != torch.float32:
        raise ConfigError(f"A model in {model.dtype} cannot be exported.", hint="Call its float() before.")
    training = model.training
    model.eval()
    try:
        with aside(path) as part:
            _write(model, part)
            compared = [_difference(model, part, batch, time) for batch, time in ((1, 1), (7, _longest(model)))]
            for difference, rounding in compared:
                if difference > max(_TOLERANCE, _ROUNDINGS * rounding):
                    raise RunError(
                        f"onnxruntime differs from torch by {difference:.2g}, where float32 itself is {rounding:.2g} "
                        "from float64.",
                        hint="Report it with the model's configuration; nothing was written.",
                    )
    finally:
        model.train(training)
    return max(difference for difference, _ in compared)


class _Traced(nn.Module):
    # The exporter wants arguments by place.
    def __init__(self, model: CubeMLPForPrediction) -> None:
        super().__init__()
        self.model = model
        self.names = tuple(onnx_inputs(model.config))

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.model(**_arguments(dict(zip(self.names, inputs, strict=True)))).logits


def _arguments(inputs: Mapping[str, Tensor]) -> dict[str, Any]:
    """Give the arguments of the model's forward."""
    streams = [name for name in inputs if name + _LENGTHS in inputs]
    return {
        "features": {name: inputs[name] for name in streams},
        "lengths": {name: inputs[name + _LENGTHS] for name in streams},
        **{name: inputs[name] for name in _TEXT if name in inputs},
    }


def _longest(model: CubeMLPForPrediction) -> int:
    room = getattr(model.config.text_encoder, "max_position_embeddings", model.config.d_ins[0])
    return min(model.config.d_ins[0], room - 4)  # RoBERTa counts positions from 2 on


def _sample(config: CubeMLPConfig, batch: int, time: int, device: torch.device) -> dict[str, Tensor]:
    """Draw a batch that has samples shorter than the longest, and some that lack a stream."""
    generator = torch_generator(0, f"export/{batch}/{time}")
    sizes = {stream.name: stream.size for stream in config.modalities}
    vocabulary = getattr(config.text_encoder, "vocab_size", 0)
    lengths = lambda least: torch.randint(least, time + 1, (batch,), generator=generator)
    inputs: dict[str, Tensor] = {}
    for name in onnx_inputs(config):
        if name in sizes:
            inputs[name] = torch.randn(batch, time, sizes[name], generator=generator)
        elif name.endswith(_LENGTHS):
            inputs[name] = lengths(0)
        elif name == "input_ids":
            inputs[name] = torch.randint(0, vocabulary, (batch, time), generator=generator)
        elif name == "attention_mask":
            inputs[name] = frames_within(lengths(1), time).long()
        else:
            inputs[name] = (torch.arange(time) // 2).expand(batch, -1).contiguous()
    first = next(name for name in inputs if name in sizes or name in _TEXT)
    if first in sizes:  # no sample lacks all of its streams
        inputs[first + _LENGTHS] = lengths(1)
    return {name: values.to(device) for name, values in inputs.items()}


def _write(model: CubeMLPForPrediction, path: Path) -> None:
    sample = _sample(model.config, 2, min(5, _longest(model)), model.device)
    free = [dict.fromkeys(range(1 if name.endswith(_LENGTHS) else 2), torch.export.Dim.DYNAMIC) for name in sample]
    with _quiet_exporter():
        torch.onnx.export(
            _Traced(model).eval(),
            tuple(sample.values()),
            str(path),
            input_names=list(sample),
            output_names=["logits"],
            dynamic_shapes=(tuple(free),),
            external_data=False,
            dynamo=True,
            verbose=False,
        )


@contextmanager
def _quiet_exporter() -> Generator[None]:
    # It warns of its own deprecations, and its optimizer tells of each operator that it leaves as it is.
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


@torch.inference_mode()
def _difference(model: CubeMLPForPrediction, path: Path, batch: int, time: int) -> tuple[float, float]:
    """Give how far onnxruntime is from torch, and how far torch is from itself in float64."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    sample = _sample(model.config, batch, time, model.device)
    found: Any = session.run(None, {name: values.cpu().numpy() for name, values in sample.items()})
    wanted = model(**_arguments(sample)).logits.cpu()
    exact = copy.deepcopy(model).double()(**_arguments(_in_double(sample))).logits.cpu()
    largest = wanted.abs().max().clamp(min=1.0)
    apart = lambda other: float((wanted - other).abs().max() / largest)
    return apart(torch.from_numpy(found[0])), apart(exact)


def _in_double(sample: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: values.double() if values.is_floating_point() else values for name, values in sample.items()}
