"""HyPe for ``transformers.Trainer``."""

# ruff: noqa: ARG002 - the signatures are those of TrainerCallback

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from modicum.core.extras import require
from modicum.perturb.configuration import HyPeConfig, checked
from modicum.perturb.hook import HyPe, attached_to

if TYPE_CHECKING:
    from transformers import TrainerCallback, TrainerState
else:
    TrainerCallback = require("transformers", extra="text", purpose="HyPeCallback").TrainerCallback


class HyPeCallback(TrainerCallback):
    """Attach HyPe for as long as a Trainer trains.

    The position of the noise is ``state.global_step``, so a run that resumes from a checkpoint gets the noise of one
    that was never interrupted. Several GPUs need torch.distributed (as with torchrun): the replicas of
    nn.DataParallel, which Trainer makes otherwise, would share one position.

    Trainer does not inform its callbacks that a training was interrupted (Ctrl-C) or failed. Only ``with callback:
    trainer.train()`` takes the hooks off then; without it noise and dropout 0 stay until `remove`, or until the next
    training of the model with a HyPeCallback, this one or another.

    Args:
        config: which noise, and where.

    Raises:
        ConfigError: if ``config`` is something else.
    """

    def __init__(self, config: HyPeConfig | None = None) -> None:
        self.config = checked(config)
        self._hype: HyPe | None = None

    def on_train_begin(self, args: Any, state: TrainerState, control: Any, *, model: nn.Module, **kwargs: Any) -> None:
        """Attach."""
        self.remove()
        left = attached_to(model)
        if left is not None and left.training is not None and left.training is not state:
            left.remove()  # of an interrupted training, whose callback may be out of reach
        self._hype = HyPe(model, self.config).attach()
        self._hype.training = state

    def on_step_begin(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Set the number of the step; the passes of an accumulated batch count themselves."""
        if self._hype is not None:
            self._hype.step(state.global_step)

    def on_train_end(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Remove."""
        self.remove()

    def remove(self) -> None:
        """Leave the model as it was; nothing happens if no training is under way."""
        if self._hype is not None:
            self._hype.remove()
            self._hype = None

    def __enter__(self) -> HyPeCallback:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()
