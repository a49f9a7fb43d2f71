"""From a float network to a quantized one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from modicum.core.devices import check_model
from modicum.core.progress import Progress, counted, silent
from modicum.errors import ConfigError, DataError, ModelError
from modicum.quantize.codes import ActivationGrid, WeightCode
from modicum.quantize.configuration import RAPQConfig
from modicum.quantize.graph.graph import Graph, folded
from modicum.quantize.graph.ops import Opaque, Table
from modicum.quantize.graph.placement import bits_of_weights, check_layers, simulated, sites
from modicum.quantize.graph.trace import trace
from modicum.quantize.hessian.layers import Layered, Recipe, float_scales, powers_of_two, quantize_layers
from modicum.quantize.inspect.report import described, float_parts, float_share, measure_quality, warn_of_floats
from modicum.quantize.model import QuantizedModel
from modicum.quantize.paper.reconstruct import UnitReport, reconstruct
from modicum.quantize.polish import polish

_LOOKED_AT = 256  # ours: samples on which the quality of layers is measured


def quantize(
    model: nn.Module,
    calibration: Calibration,
    config: RAPQConfig | None = None,
    *,
    tracing: Literal["export", "eager"] = "export",
    integers_only: bool = False,
    progress: Progress = silent,
) -> QuantizedModel:
    """Quantize a trained network to powers of two, from some hundred samples and without labels.

    Operators that integers do not stand for (see docs/rapq.md) stay in floating point, with their weights: a
    `UserWarning` names them, and the result can be simulated and saved, but has no integer engine.

    Args:
        model: takes one tensor and gives one; it is not changed.
        calibration: samples of its input, as a tensor or as batches, of which the first tensor or
            `pixel_values` counts.
        config: what is wanted; W4A4 by second moments if left out.
        tracing: "export" writes the network down by torch.export; "eager" quantizes layer by layer inside a network
            that cannot be traced. The latter has no integer engine, file or ONNX export.
        integers_only: refuse a network of which an operator would stay in floating point.
        progress: called with (steps done, 0, what was done): nobody knows before how many there are.

    Returns:
        The quantized network, in evaluation mode, on the device of the model's weights.

    Raises:
        ConfigError: if the model is no module, the calibration is empty or no tensor, `tracing` is neither of the two
            or "eager" with `integers_only`, or `RAPQConfig.per_layer` names a layer that is not there.
        DataError: if the calibration has values that are not finite, samples of different shapes, or one value alone.
        ModelError: if the network cannot be traced, has no layer to quantize, cannot take the samples, has weights or
            gives values that are not finite, or has an operator that integers do not stand for where `integers_only`
            is set.
    """
    check_model(model, "quantize", hint="Give a torch.nn.Module; modicum quantize run reads folders.")
    config = RAPQConfig() if config is None else config
    if tracing not in ("export", "eager"):
        raise ConfigError(f"tracing must be export or eager, but it is {tracing!r}.", hint="Use 'export'.")
    if tracing == "eager" and integers_only:
        raise ConfigError("A network that is not traced has no integer form.", hint="Leave integers_only out.")
    images = gather(calibration)
    weight = next(model.parameters(), None)
    if weight is not None:
        images = images.to(weight.device, weight.dtype)
    check_samples(images, model)
    _check_input(model, images)
    if tracing == "eager":
        from modicum.quantize.eager import quantize_eagerly

        return quantize_eagerly(model, images, config, progress=counted(progress))
    graph = folded(trace(model, images[:2].clone()))  # a network may overwrite its input
    ends = isinstance(graph[graph.output].operation, Table)  # without a grid, there is nothing to look up
    if integers_only and (ends or any(isinstance(node.operation, Opaque) for node in graph)):
        parts = float_parts(graph)
        raise ModelError(
            f"{type(model).__name__} cannot be stored as integers: none stand for its operators "
            f"{described(parts)}, with {float_share(graph, parts):.1%} of the weights.",
            hint="Quantize a convolutional network with ReLU, such as ResNet, MobileNetV2 or RegNet; in Python, "
            "quantize() leaves such operators in floating point.",
        )
    return quantize_graph(graph, images, config, progress=progress)


@torch.no_grad()
def quantize_graph(graph: Graph, images: Tensor, config: RAPQConfig, *, progress: Progress = silent) -> QuantizedModel:
    """Quantize a folded graph; see `quantize`."""
    step = counted(progress)
    check_layers(graph, config)
    warn_of_floats(graph)
    if config.method == "paper" and config.scales == "float":
        raise ConfigError("The paper's method gives powers of two.", hint="Use method='hessian' with scales='float'.")
    layered = _by_second_moments(graph, images, config, step)
    if config.method == "paper":
        layered = _reconstructed(layered, images, config, step)
    if config.scales == "power_of_two" and config.polish and layered.grids:
        tried = lambda name: step(f"{name}: neighbouring exponents tried")
        layered = polish(layered, images, progress=tried).layered
    model = QuantizedModel(
        simulated(layered.corrected, layered.codes, layered.grids),
        layered.codes,
        layered.grids,
        config=config,
        shape=tuple(images.shape[1:]),
    ).eval()
    model.quality = measure_quality(layered.graph, model, images[:_LOOKED_AT])
    return model


def _by_second_moments(graph: Graph, images: Tensor, config: RAPQConfig, progress: Callable[[str], None]) -> Layered:
    power = config.scales == "power_of_two"
    return quantize_layers(
        graph,
        images,
        Recipe(
            bits=bits_of_weights(graph, config),
            sites=sites(graph, config),
            choice=powers_of_two if power else float_scales,
            power=power,
            shared=config.granularity == "tensor",
            absorbing=config.absorb_mantissa and power and config.granularity == "channel",
            rounding=config.rounding,
        ),
        progress=progress,
    )


def _reconstructed(layered: Layered, images: Tensor, config: RAPQConfig, progress: Callable[[str], None]) -> Layered:
    def tell(report: UnitReport) -> None:
        norm = "" if report.batch_norm else " (no batch norm: p = 2)"
        progress(f"{report.unit}, {report.stage}: loss {report.before:.4g} to {report.after:.4g}, p {report.p}{norm}")

    started = config.initial == "hessian"
    with torch.enable_grad():
        codes, grids = reconstruct(
            layered.graph,
            cast("Mapping[str, WeightCode]", layered.codes),
            cast("Mapping[str, ActivationGrid]", layered.grids),
            images,
            config,
            biases=layered.biases if started else None,
            progress=tell,
        )
    biases = layered.biases if started else {name: it.bias for name, it in layered.graph.layers.items()}
    return Layered(graph=layered.graph, biases=biases, codes=codes, grids=grids)


def _check_input(model: nn.Module, images: Tensor) -> None:
    was_training = {module: module.training for module in model.modules()}
    try:
        with torch.no_grad():
            model.eval()(images[:2].clone())
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ModelError(
            f"The network cannot take samples of shape {tuple(images.shape[1:])}: {error}",
            hint="Give calibration samples of the shape that the network was made for.",
        ) from error
    finally:
        for module, training in was_training.items():
            module.training = training


Calibration = Tensor | Mapping[str, Any] | Iterable[Any]

_FEWEST = 2


def gather(calibration: Calibration) -> Tensor:
    """Bring calibration data into one tensor."""
    if isinstance(calibration, Tensor | Mapping):
        calibration = [calibration]
    if not isinstance(calibration, Iterable):
        raise ConfigError(
            f"Calibration must be a tensor or batches, but it is {type(calibration).__name__}.",
            hint="Give a tensor of samples, or a DataLoader over them.",
        )
    batches = [_tensor(it) for it in calibration]
    count = sum(map(len, batches))
    if count < _FEWEST:
        raise ConfigError(
            f"Calibration needs {_FEWEST} samples or more, but got {count} in {len(batches)} batches.",
            hint="Give some hundred samples of training data, without labels.",
        )
    for number, batch in enumerate(batches):
        if batch.shape[1:] != batches[0].shape[1:]:
            raise DataError(
                f"Calibration batch {number} has samples of shape {tuple(batch.shape[1:])}, the first batch of shape "
                f"{tuple(batches[0].shape[1:])}.",
                hint="Bring all samples to one shape.",
            )
        if not torch.isfinite(batch).all():
            raise DataError(
                f"Calibration batch {number} has values that are not finite.", hint="Drop or correct those samples."
            )
    return torch.cat(batches).detach()


def check_samples(samples: Tensor, model: nn.Module | None = None) -> None:
    """Refuse samples without any contrast, and warn of those that have another size than the network was made for."""
    channels = samples.transpose(0, 1).flatten(1) if samples.ndim > 1 else samples[None]
    if bool((channels == channels[:, :1]).all()):
        raise DataError(
            f"All {len(samples)} calibration samples are one value a channel, so nothing can be learnt from them.",
            hint="Give some hundred samples of training data.",
        )
    size = _declared(model)
    if size and samples.ndim == 4 and tuple(samples.shape[2:]) != size:
        rows, columns = samples.shape[2:]
        warnings.warn(
            f"The calibration images have {rows} x {columns} pixels, but the network was made for "
            f"{size[0]} x {size[1]}. Quantized so, it takes images of {rows} x {columns} alone.",
            UserWarning,
            stacklevel=3,
        )


def _declared(model: nn.Module | None) -> tuple[int, ...] | None:
    settings: Any = getattr(model, "pretrained_cfg", None)  # of timm, and of `Opened.sized`
    found: Any = settings.get("input_size") if isinstance(settings, dict) else None
    if found is None:
        found = getattr(getattr(model, "config", None), "image_size", None)
    if found is None:
        found = getattr(getattr(model, "example_input_array", None), "shape", None)
    sides = (found, found) if isinstance(found, int) else tuple(found or ())[-2:]
    return sides if len(sides) == 2 and all(isinstance(it, int) for it in sides) else None


def _tensor(batch: object) -> Tensor:
    if isinstance(batch, Mapping):
        batch = cast("Mapping[str, object]", batch).get("pixel_values")
    elif isinstance(batch, Sequence) and batch:
        batch = cast("Sequence[object]", batch)[0]
    if not isinstance(batch, Tensor) or not batch.ndim:
        raise ConfigError(
            f"A calibration batch must be a tensor, or have one first, but it is {type(batch).__name__}.",
            hint="Give a tensor of samples, or a DataLoader over them.",
        )
    return batch if batch.is_floating_point() else batch.float()
