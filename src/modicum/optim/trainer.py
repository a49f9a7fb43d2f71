"""What NSGD says inside of ``transformers.Trainer``."""

from __future__ import annotations

import sys
import warnings
from types import FrameType
from typing import Any


def warn_of_clipping_trainer() -> None:
    """Warn if a Trainer that clips gradients is among the callers."""
    # Trainer clips before it calls the optimizer and tells it nothing; there is no other way to see its settings.
    library: Any = sys.modules.get("transformers.trainer")
    if library is None:
        return
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        caller: Any = frame.f_locals.get("self")
        if isinstance(caller, library.Trainer):
            bound = caller.args.max_grad_norm
            if bound is not None and bound > 0:
                warnings.warn(
                    f"Trainer clips the gradients at max_grad_norm={bound:g} before NSGD divides them: the step then "
                    "depends on the scale of the inputs again. Set max_grad_norm=0 in TrainingArguments; "
                    f"NSGD(..., max_norm={bound:g}) clips the divided gradients.",
                    UserWarning,
                    stacklevel=2,
                )
            return
        frame = frame.f_back
