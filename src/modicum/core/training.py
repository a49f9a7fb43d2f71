"""transformers.Trainer as every method here wants it: silent, without a trace on disk, on one device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modicum.core.extras import require
from modicum.core.seeding import legacy_seed
from modicum.errors import ConfigError

if TYPE_CHECKING:
    from transformers import Trainer, TrainingArguments

__all__ = ["silenced", "training_arguments"]


def training_arguments(folder: str, *, seed: int, device: str, extra: str, **settings: Any) -> TrainingArguments:
    """Give the arguments of a training that saves, logs and reports nothing of its own.

    Args:
        folder: that Trainer may use; it writes nothing there.
        seed: of the job; the noise of layers and the order of the data have a stream each.
        device: a torch device; Trainer takes the GPU if it is not "cpu".
        extra: with which transformers is installed.
        **settings: of TrainingArguments, in place of what is set here.

    Returns:
        The arguments.

    Raises:
        ConfigError: if several GPUs are visible, over which a batch would be multiplied.
        MissingExtraError: if transformers is not installed.
    """
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
            mend="Show one to the command: CUDA_VISIBLE_DEVICES=0 modicum ...",
        )
    return arguments


def silenced(trainer: Trainer) -> Trainer:
    """Take away what prints to stdout, which belongs to the command.

    Args:
        trainer: that is changed.

    Returns:
        The same.
    """
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    return trainer
