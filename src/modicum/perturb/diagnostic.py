"""What a sigma means for the model at hand: how much the noise turns the gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from modicum.errors import ConfigError, ModelError
from modicum.perturb.configuration import HyPeConfig, checked
from modicum.perturb.hook import HyPe


@dataclass(frozen=True, kw_only=True, slots=True)
class GradientChange:
    """One row of the table.

    Args:
        sigma: size of the noise.
        change: ||g' - g|| / ||g|| over all trainable parameters, g without noise and g' with it.
    """

    sigma: float
    change: float


def gradient_change(
    model: nn.Module, batch: Mapping[str, Any], sigmas: Sequence[float], *, config: HyPeConfig | None = None
) -> tuple[GradientChange, ...]:
    """Measure the relative change of the gradient that HyPe makes, for each sigma, with dropout off.

    It is linear in sigma while the noise is small. Compare it with what other randomness does: dropout 0.1 changes
    the gradient of a small BERT by about a half.

    Args:
        model: whose output has a ``loss``. Its mode, gradients, dropout rates and buffers stay as they are.
        batch: keyword arguments of ``model``, labels included.
        sigmas: sizes to try, one forward and backward pass each.
        config: noise, layers and mode; its sigma is not used.

    Returns:
        One row a sigma, in their order.

    Raises:
        ConfigError: if there is no sigma, or ``config`` is something else.
        ModelError: if the output has no loss, or the gradient is 0.
        StateError: if a HyPe is attached to the model.
    """
    config = checked(config)
    if not sigmas:
        raise ConfigError("gradient_change needs at least one sigma, but sigmas is empty.", hint="Try [1e-5, 1e-3].")
    training = {module: module.training for module in model.modules()}
    buffers = {buffer: buffer.clone() for buffer in model.buffers()}
    try:
        model.train()
        clean = _gradient(model, batch, replace(config, sigma=0.0, disable_dropout=True))
        size = clean.norm().item()
        if size == 0:
            raise ModelError("The gradient of this batch is 0.", hint="Give it a batch that the model can learn from.")
        rows: list[GradientChange] = []
        for sigma in sigmas:
            noisy = _gradient(model, batch, replace(config, sigma=sigma, disable_dropout=True))
            rows.append(GradientChange(sigma=sigma, change=(noisy - clean).norm().item() / size))
        return tuple(rows)
    finally:
        for module, mode in training.items():
            module.training = mode
        with torch.no_grad():
            for buffer, value in buffers.items():
                buffer.copy_(value)


def _gradient(model: nn.Module, batch: Mapping[str, Any], config: HyPeConfig) -> Tensor:
    with HyPe(model, config):
        loss = getattr(model(**batch), "loss", None)
    if not isinstance(loss, Tensor):
        raise ModelError("The output of the model has no loss.", hint="Put labels into the batch.")
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    # In double precision: the norm of a small difference of large vectors.
    return torch.cat([gradient.flatten().double() for gradient in gradients if gradient is not None])
