"""One check of a torch device, for all commands and estimators."""

from __future__ import annotations

from modicum.errors import ConfigError


def check_device(device: str) -> None:
    """See whether torch can compute on a device, before the work and not after it; "cpu" does not import torch."""
    if device == "cpu":
        return
    import torch

    try:
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError, TypeError) as error:  # AssertionError: torch built without CUDA
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise ConfigError(
            f"torch cannot use the device {device!r} ({reason}).",
            hint="Use the device cpu, or cuda where there is a GPU.",
        ) from error
