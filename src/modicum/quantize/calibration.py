"""Calibration data: whatever a user has, as one checked tensor."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from modicum.errors import ConfigError, DataError

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


def check_samples(samples: Tensor, model: nn.Module | None = None, size: tuple[int, ...] | None = None) -> None:
    """Refuse samples without any contrast, and warn of those that have another size than the network was made for."""
    channels = samples.transpose(0, 1).flatten(1) if samples.ndim > 1 else samples[None]
    if bool((channels == channels[:, :1]).all()):
        raise DataError(
            f"All {len(samples)} calibration samples are one value a channel, so nothing can be learnt from them.",
            hint="Give some hundred samples of training data.",
        )
    size = size or _declared(model)
    if size and samples.ndim == 4 and tuple(samples.shape[2:]) != size:
        rows, columns = samples.shape[2:]
        warnings.warn(
            f"The calibration images have {rows} x {columns} pixels, but the network was made for "
            f"{size[0]} x {size[1]}. Quantized so, it takes images of {rows} x {columns} alone.",
            UserWarning,
            stacklevel=3,
        )


def _declared(model: nn.Module | None) -> tuple[int, ...] | None:
    found: Any = getattr(getattr(model, "config", None), "image_size", None)
    if found is None:
        settings = getattr(model, "pretrained_cfg", None)
        found = settings.get("input_size") if isinstance(settings, dict) else None
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
