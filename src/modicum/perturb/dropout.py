"""Every dropout rate of a model set to 0, and put back exactly."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn
from torch.nn.modules.dropout import _DropoutNd


class DropoutSwitch:
    """Turns off the dropout of a model until `restore`."""

    # Counted are the modules of `torch.nn.Dropout`'s family, and each float attribute of a module with "drop" in its
    # name: rates that are handed to functions in ``forward`` (attention, activations), LayerDrop and stochastic depth.
    # Falcon and Persimmon read such a rate from ``module.config`` inside ``forward``: their modules that are no model
    # get a copy of the config meanwhile. The model's own ``config`` stays as it is, so a checkpoint that is saved
    # meanwhile has the model's own rates.

    def __init__(self, model: nn.Module) -> None:
        self._rates: list[tuple[nn.Module, str, Any]] = []
        quiet: dict[int, Any] = {}  # one copy of each config, by its id; _rates keeps the first one alive
        for module in model.modules():
            config = vars(module).get("config")
            # What saves a checkpoint has save_pretrained, and must keep the config that it saves.
            if config is not None and not hasattr(module, "save_pretrained") and _rates_of(config):
                if id(config) not in quiet:
                    quiet[id(config)] = _without_dropout(config)
                self._rates.append((module, "config", config))
                module.config = quiet[id(config)]
            for name, value in vars(module).items():
                is_rate = "drop" in name or (name == "p" and isinstance(module, _DropoutNd))
                if is_rate and isinstance(value, float) and value > 0:
                    self._rates.append((module, name, value))
        for module, name, _ in self._rates:
            if name != "config":
                setattr(module, name, 0.0)

    def restore_copy(self, memo: dict[int, Any]) -> None:
        """Put the rates back in a copy that `copy.deepcopy` made with that memo."""
        for module, name, value in self._rates:
            setattr(memo[id(module)], name, copy.deepcopy(value, memo))

    def restore(self) -> None:
        """Put back the rates."""
        while self._rates:
            setattr(*self._rates.pop())


def _rates_of(config: Any) -> list[str]:
    values = getattr(config, "__dict__", {})
    return [name for name, value in values.items() if "drop" in name and isinstance(value, float) and value > 0]


def _without_dropout(config: Any) -> Any:
    changed = copy.copy(config)
    for name in _rates_of(config):
        setattr(changed, name, 0.0)
    return changed
