"""A trained model as an ONNX file, which gives what torch gives."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from sklearn.base import is_regressor
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from modicum.core.export import largest_difference, open_onnx, require_onnx, write_onnx
from modicum.core.files import aside, check_target
from modicum.core.seeding import torch_generator
from modicum.errors import ConfigError, RunError
from modicum.fusion.batches import Scaling
from modicum.fusion.configuration import CubeMLPConfig
from modicum.fusion.inputs import frames_within
from modicum.fusion.modeling import CubeMLPForPrediction
from modicum.fusion.system import FusionSystem

if TYPE_CHECKING:
    from modicum.fusion.estimators import CubeMLPClassifier, CubeMLPRegressor


_TOLERANCE = 1e-5  # what two float32 libraries differ by, with room; a wrong graph differs by far more
_ROUNDINGS = 4  # times torch's own distance to float64, which a norm over two modalities can make large
_TEXT = ("input_ids", "attention_mask", "word_ids")
_LENGTHS = "_lengths"


def onnx_inputs(config: CubeMLPConfig) -> list[str]:
    """Name the inputs of the ONNX file of a model."""
    features = [stream.name for stream in config.modalities if not stream.text]
    names = [name for feature in features for name in (feature, feature + _LENGTHS)]
    if config.text_encoder is not None:
        names += _TEXT if any(stream.per_word for stream in config.modalities) else _TEXT[:2]
    return names


def export_onnx(model: CubeMLPForPrediction | FusionSystem | CubeMLPRegressor | CubeMLPClassifier, path: Path) -> float:
    """Write a model for onnxruntime; the batch and the time of each stream are free.

    The inputs are those of `onnx_inputs`. Of a system or a fitted estimator they are features as they were read, since
    the scaling is in the file, and the output is "predicted": what its ``predict`` gives, of shape (batch, targets), or
    the probabilities of the classes, (batch, classes). Of a bare model (also ``system.model``) they are features that
    are **scaled already**, and the output is "logits": of a regressor's model, targets of mean 0 and std 1. The file is
    compared with torch on random batches, of one sample of one frame and of seven as long as the cube, before it is put
    in its place.

    Args:
        model: a model, a system or a fitted estimator, in float32; it is not changed.
        path: of the file, replaced if it is there.

    Returns:
        The largest difference between onnxruntime's output and torch's, as a share of the largest output if that is
        above 1.

    Raises:
        ConfigError: if the model is not in float32, or the file cannot be written.
        MissingExtraError: if onnx, onnxruntime or onnxscript is not installed.
        RunError: if onnxruntime computes something else.
    """
    require_onnx()
    traced = _traced(model)
    network = traced.model
    if network.dtype != torch.float32:
        raise ConfigError(f"A model in {network.dtype} cannot be exported.", hint="Call its float() before.")
    check_target(path)
    training = network.training
    traced.eval()
    try:
        with aside(path) as part:
            write_onnx(traced, _sample(traced, 2, min(5, _longest(network))), part, outputs=[traced.output])
            compared = [_difference(traced, part, batch, time) for batch, time in ((1, 1), (7, _longest(network)))]
            for difference, rounding in compared:
                if difference > max(_TOLERANCE, _ROUNDINGS * rounding):
                    raise RunError(
                        f"onnxruntime differs from torch by {difference:.2g}, where float32 itself is {rounding:.2g} "
                        "from float64.",
                        hint="Report it with the model's configuration; nothing was written.",
                    )
    finally:
        network.train(training)
    return max(difference for difference, _ in compared)


class _Traced(nn.Module):
    # The exporter wants arguments by place. A bare model has no scaling.
    def __init__(self, model: CubeMLPForPrediction, scaling: Scaling | None = None) -> None:
        super().__init__()
        self.model = model
        self.names = tuple(onnx_inputs(model.config))
        self.output = "logits" if scaling is None else "predicted"
        self.streams = () if scaling is None else tuple(scaling.means)
        if scaling is not None:
            for name in self.streams:
                self.register_buffer(f"mean_{name}", torch.from_numpy(scaling.mean(name)).to(model.device))
                self.register_buffer(f"factors_{name}", torch.from_numpy(scaling.factors(name)).to(model.device))
        self.register_buffer("target_mean", None)
        self.register_buffer("target_std", None)

    def forward(self, *inputs: Tensor) -> Tensor:
        named = dict(zip(self.names, inputs, strict=True))
        for name in self.streams:
            named[name] = (named[name] - getattr(self, f"mean_{name}")) * getattr(self, f"factors_{name}")
        features = [name for name in named if name + _LENGTHS in named]
        logits = self.model(
            features={name: named[name] for name in features},
            lengths={name: named[name + _LENGTHS] for name in features},
            **{name: named[name] for name in _TEXT if name in named},
        ).logits
        if self.output == "predicted" and self.model.config.loss == "cross_entropy":
            return logits.softmax(1)
        return logits if self.target_std is None else logits * self.target_std + self.target_mean


def _traced(model: CubeMLPForPrediction | FusionSystem | CubeMLPRegressor | CubeMLPClassifier) -> _Traced:
    if isinstance(model, CubeMLPForPrediction):
        return _Traced(model)
    if isinstance(model, FusionSystem):
        return _Traced(model.model, model.scaling)
    check_is_fitted(model)
    traced = _Traced(model.system_.model, model.system_.scaling)
    if is_regressor(model):
        device, regressor = model.system_.model.device, cast("CubeMLPRegressor", model)
        traced.target_mean, traced.target_std = (
            torch.from_numpy(np.atleast_1d(np.asarray(it, np.float32))).to(device)
            for it in (regressor.mean_, regressor.std_)
        )
    return traced


def _longest(model: CubeMLPForPrediction) -> int:
    room = getattr(model.config.text_encoder, "max_position_embeddings", model.config.d_ins[0])
    return min(model.config.d_ins[0], room - 4)  # RoBERTa counts positions from 2 on


def _sample(traced: _Traced, batch: int, time: int) -> dict[str, Tensor]:
    """Draw a batch that has samples shorter than the longest, and some that lack a stream."""
    config = traced.model.config
    generator = torch_generator(0, f"export/{batch}/{time}")
    sizes = {stream.name: stream.size for stream in config.modalities}
    vocabulary = getattr(config.text_encoder, "vocab_size", 0)
    lengths = lambda least: torch.randint(least, time + 1, (batch,), generator=generator)
    inputs: dict[str, Tensor] = {}
    for name in onnx_inputs(config):
        if name in sizes:
            inputs[name] = torch.randn(batch, time, sizes[name], generator=generator)
            if name in traced.streams:  # as features are before they are scaled
                factors = getattr(traced, f"factors_{name}").cpu()
                std = torch.where(factors > 0, 1 / factors, 0.0)
                inputs[name] = inputs[name] * std + getattr(traced, f"mean_{name}").cpu()
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
    return {name: values.to(traced.model.device) for name, values in inputs.items()}


@torch.inference_mode()
def _difference(traced: _Traced, path: Path, batch: int, time: int) -> tuple[float, float]:
    """Give how far onnxruntime is from torch, and how far torch is from itself in float64."""
    sample = _sample(traced, batch, time)
    (found,) = open_onnx(path)(*sample.values())
    wanted = traced(*sample.values())
    doubles = [values.double() if values.is_floating_point() else values for values in sample.values()]
    exact = copy.deepcopy(traced).double()(*doubles)
    largest = float(wanted.abs().max().clamp(min=1.0))
    return largest_difference(found, wanted) / largest, largest_difference(exact, wanted) / largest
