"""Whether torch can use a device, what is a model and which is sharded, and what torch.compile must do for hooks."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from modicum.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn


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


def check_model(model: object, owner: str, why: str = "", *, hint: str) -> None:
    """Refuse what is no network of torch."""
    from torch import nn

    if not isinstance(model, nn.Module):
        came = "text" if isinstance(model, str) else f"an object of type {type(model).__name__}"
        raise ConfigError(f"{owner} takes the model itself{why}, but it got {came}.", hint=hint)


def is_sharded(model: nn.Module) -> bool:
    """Tell whether each rank holds a part of the weights: FSDP, FSDP2 and tensor parallelism."""
    fsdp, tensors = sys.modules.get("torch.distributed.fsdp"), sys.modules.get("torch.distributed.tensor")
    if fsdp and any(isinstance(it, fsdp.FSDPModule | fsdp.FullyShardedDataParallel) for it in model.modules()):
        return True
    return tensors is not None and any(isinstance(it, tensors.DTensor) for it in model.parameters())
