"""The options of the comparison, read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast, get_args

from modicum.core.method import Job
from modicum.core.options import number, one_of, whole
from modicum.sarcasm.decisions import Rule

TINY = "tiny"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How the arms are trained."""

    model: str  # an encoder by hub id or folder, "offline" for the packaged MiniLM, or "tiny" for one that is made anew
    pooling: str  # of its hidden states
    epochs: int  # of fine-tuning
    batch: int  # texts an update
    rate: float  # largest learning rate
    folds: int  # models of an ensemble; 1 holds a fifth out
    rule: Rule  # of the labels, the same for all arms

    @classmethod
    def of(cls, job: Job) -> Plan:
        """Read the options of a job."""
        options = job.options
        return cls(
            model=options["model"],
            pooling=one_of("pooling", options["pooling"], ("mean", "cls")),
            epochs=whole("epochs", options["epochs"], least=1),
            batch=whole("batch", options["batch"], least=1),
            rate=number("rate", options["rate"]),
            folds=whole("folds", options["folds"], least=1),
            rule=cast("Rule", one_of("rule", options["rule"], get_args(Rule))),
        )
