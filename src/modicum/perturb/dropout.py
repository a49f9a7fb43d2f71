"""Every dropout rate of a model set to 0, and put back exactly."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

__all__ = ["DropoutSwitch"]


class DropoutSwitch:
    """Turns off the dropout of a model until `restore`.

    Counted are the modules of `torch.nn.Dropout`'s family, and each float attribute of a module with "drop" in its
    name: rates that are handed to functions in ``forward`` (attention, activations), LayerDrop and stochastic depth.
    The model's ``config`` stays as it is, so a checkpoint that is saved meanwhile has the model's own rates.

    Args:
        model: whose dropout is turned off now.
    """

    def __init__(self, model: nn.Module) -> None:
        self._rates: list[tuple[nn.Module, str, float]] = []
        for module in model.modules():
            for name, value in vars(module).items():
                is_rate = "drop" in name or (name == "p" and isinstance(module, _DropoutNd))
                if is_rate and isinstance(value, float) and value > 0:
                    self._rates.append((module, name, value))
        for module, name, _ in self._rates:
            setattr(module, name, 0.0)

    def restore(self) -> None:
        """Put back the rates."""
        while self._rates:
            setattr(*self._rates.pop())
