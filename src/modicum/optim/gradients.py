"""Gradients that NSGD refuses, and gradients that came without the power of an input."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import nn

from modicum.errors import ModelError, StateError


def refuse_unusable(gradients: Mapping[str, nn.Parameter]) -> None:
    """Refuse gradients that cannot be divided by a power."""
    for name, parameter in gradients.items():
        gradient = parameter.grad
        if gradient is not None and (gradient.is_sparse or gradient.is_complex()):
            kind = "sparse" if gradient.is_sparse else "complex"
            raise ModelError(
                f"NSGD needs dense real gradients, but that of {name} is {kind}.",
                hint="Build an embedding with sparse=False, or give this parameter another optimizer.",
            )


def find_unseen(
    gradients: Mapping[str, nn.Parameter], powers: Collection[nn.Parameter], state: Mapping[Any, Mapping[str, Any]]
) -> list[str]:
    """Find the weights whose input has never been seen."""
    unseen: list[str] = []
    for name, parameter in gradients.items():
        if parameter in powers or parameter.ndim < 2:
            continue
        if "power" not in state.get(parameter, {}):
            unseen.append(name)
        # Zeros are no gradient: they stay after zero_grad(set_to_none=False) when a layer is left out of a step.
        elif parameter.grad is not None and parameter.grad.any():
            raise StateError(
                f"The gradient of {name} came without the power of its layer's input, which earlier gradients had.",
                hint="Run the forward pass in training mode, call backward(), and use a gradient for one step only.",
            )
    return unseen
