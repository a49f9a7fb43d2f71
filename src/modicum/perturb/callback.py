"""HyPe for ``transformers.Trainer``."""

# ruff: noqa: ARG002 - the signatures are those of TrainerCallback

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from modicum.core.extras import require
from modicum.perturb.configuration import HyPeConfig
from modicum.perturb.hook import HyPe

if TYPE_CHECKING:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
else:
    TrainerCallback = require("transformers", extra="text", purpose="HyPeCallback").TrainerCallback

__all__ = ["HyPeCallback"]


class HyPeCallback(TrainerCallback):
    """Attach HyPe for as long as a Trainer trains.

    The place of the noise is ``state.global_step``, so a run that resumes from a checkpoint gets the noise of one that
    was never interrupted. Several GPUs need torch.distributed (as with torchrun): the replicas of nn.DataParallel,
    which Trainer makes otherwise, would share one place.

    Trainer does not tell its callbacks of an error: after one, call `remove`, or use ``with callback:
    trainer.train()``. The next training takes off what is left in any case.

    Args:
        config: which noise, and where.
    """

    def __init__(self, config: HyPeConfig | None = None) -> None:
        self.config = config or HyPeConfig()
        self._hype: HyPe | None = None

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        model: nn.Module,
        **kwargs: Any,
    ) -> None:
        """Attach."""
        self.remove()
        self._hype = HyPe(model, self.config).attach()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Tell the number of the step; the passes of an accumulated batch count themselves."""
        if self._hype is not None:
            self._hype.step(state.global_step)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
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
