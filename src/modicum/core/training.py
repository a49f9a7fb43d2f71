"""transformers.Trainer as every method here wants it: silent, without a trace on disk, on one device."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from modicum.core.extras import require
from modicum.core.seeding import legacy_seed
from modicum.errors import ConfigError

if TYPE_CHECKING:
    from transformers import Trainer, TrainerCallback, TrainerState, TrainingArguments


def training_arguments(folder: str, *, seed: int, device: str, extra: str, **settings: Any) -> TrainingArguments:
    """Give the arguments of a training that saves, logs and reports nothing of its own."""
    transformers = require("transformers", extra=extra, purpose="Training by transformers.Trainer")
    quiet: dict[str, Any] = {
        "seed": legacy_seed(seed, "noise"),
        "data_seed": legacy_seed(seed, "order"),
        "use_cpu": device == "cpu",
        "dataloader_pin_memory": device != "cpu",
        "save_strategy": "no",
        "logging_strategy": "no",
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
    }
    arguments = transformers.TrainingArguments(output_dir=folder, **{**quiet, **settings})
    if arguments.n_gpu > 1:
        raise ConfigError(
            f"One GPU was expected, but {arguments.n_gpu} are visible, and each batch would grow with them.",
            hint="Show one to the command: CUDA_VISIBLE_DEVICES=0 modicum ...",
        )
    return arguments


def silenced(trainer: Trainer) -> Trainer:
    """Take away what prints to stdout, which belongs to the command."""
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    return trainer


def telling(tell: Callable[[str], None], *, extra: str, every: float = 30.0) -> TrainerCallback:
    """Make a callback for Trainer that says how far a training is and how long it will take."""
    transformers = require("transformers", extra=extra, purpose="Training by transformers.Trainer")
    began = last = time.monotonic()

    class Telling(transformers.TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            nonlocal began, last
            began = last = time.monotonic()

        def on_step_end(self, _: Any, state: TrainerState, *__: Any, **___: Any) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last < every or state.global_step == state.max_steps:
                return
            last = now
            left = (now - began) / state.global_step * (state.max_steps - state.global_step)
            tell(f"update {state.global_step:,} of {state.max_steps:,}, about {max(1, round(left / 60)):,} min left")

    return Telling()
