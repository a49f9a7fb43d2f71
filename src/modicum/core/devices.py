"""Whether torch can use a device, and what torch.compile has to do when the hooks of a model change."""

from __future__ import annotations

import sys

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


def drop_compiled_code() -> None:
    """Make torch compile anew, since compiled code looks neither for hooks that came nor for those that went."""
    if "torch._dynamo" in sys.modules:
        import torch

        torch.compiler.reset()
