"""The settings of a job, parsed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from modicum.core.method import Job
from modicum.core.options import number, whole
from modicum.errors import ConfigError

DIGITS = "digits"
TINY_VIT = "tiny-vit"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How to fine-tune, the same for all arms."""

    task: str  # "digits" in the demo, else the name of a GLUE task
    model: str  # "tiny-vit" in the demo, else a hub id, a local folder, or "offline"
    train_size: int  # training examples that are used, drawn by the seed; 0 for all
    epochs: int  # passes over them
    batch: int  # examples an update
    rate: float  # largest learning rate
    max_length: int  # tokens that an example keeps; 0 in the demo, which has none
    sigma: float  # std (normal) or bound (uniform) of HyPe's noise; std of R3F's

    @classmethod
    def of(cls, job: Job) -> Self:
        """Read the options of a job."""
        options = job.options
        plan = cls(
            task=options["task"],
            model=options["model"],
            train_size=whole("train_size", options["train_size"], least=0),
            epochs=whole("epochs", options["epochs"], least=1),
            batch=whole("batch", options["batch"], least=1),
            rate=number("rate", options["rate"]),
            max_length=whole("max_length", options["max_length"], least=0),
            sigma=number("sigma", options["sigma"]),
        )
        if job.budget == "demo" and ((plan.task, plan.model, plan.max_length) != (DIGITS, TINY_VIT, 0) or job.data):
            raise ConfigError(
                f"The demo has one task ({DIGITS}), one model ({TINY_VIT}) and no text.",
                hint="Add --budget full for another task or model, for max_length or for data of your own.",
            )
        if job.budget == "full" and plan.max_length < 8:
            raise ConfigError(
                f"max_length must be at least 8 tokens, got {plan.max_length}.", hint="Try --option max_length=128."
            )
        return plan
