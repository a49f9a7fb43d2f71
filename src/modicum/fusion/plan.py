"""The options of the comparison, read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, cast, get_args

from modicum.core.method import Job
from modicum.core.options import number, one_of, whole
from modicum.errors import ConfigError
from modicum.fusion.configuration import StreamEncoder

TaskName: TypeAlias = Literal["motions", "mosi", "ces"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How the arms are trained, all alike."""

    task: TaskName  # "motions" (BasicMotions), "mosi" (utterances) or "ces" (the frames of AVEC2019)
    labels: int  # samples for training and as many for the choice of the epoch; 0 takes all that there are
    encoder: StreamEncoder  # of the streams
    channels: int  # of the cube
    epochs: int  # of training, of which one is kept
    batch: int  # samples an update
    rate: float  # learning rate
    shuffled: str  # the stream that is given to other samples in the control; empty for the first
    modality_dropout: float  # share of training samples that lose a stream

    @classmethod
    def of(cls, job: Job) -> Plan:
        """Read the options of a job."""
        options = job.options
        dropped = number("modality_dropout", options["modality_dropout"])
        if dropped >= 1:
            raise ConfigError(
                f"modality_dropout must be below 1, got {dropped}.", hint="Write --option modality_dropout=0.1."
            )
        return cls(
            task=cast("TaskName", one_of("task", options["task"], get_args(TaskName))),
            labels=whole("labels", options["labels"]),
            encoder=cast("StreamEncoder", one_of("encoder", options["encoder"], get_args(StreamEncoder))),
            channels=whole("channels", options["channels"], least=2),
            epochs=whole("epochs", options["epochs"], least=1),
            batch=whole("batch", options["batch"], least=2),
            rate=number("rate", options["rate"]),
            shuffled=options["shuffled"],
            modality_dropout=dropped,
        )
