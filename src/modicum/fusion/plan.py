"""The options of the comparison, read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, cast, get_args

from modicum.core.method import Job
from modicum.core.options import number, one_of, whole
from modicum.errors import ConfigError
from modicum.fusion.configuration import StreamEncoder

__all__ = ["Plan", "TaskName"]

TaskName: TypeAlias = Literal["motions", "mosi", "ces"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How the arms are trained, all alike.

    Args:
        task: "motions" (BasicMotions), "mosi" (utterances) or "ces" (the frames of AVEC2019).
        labels: samples for training and as many for the choice of the epoch; 0 takes all that there are.
        encoder: of the streams.
        channels: of the cube.
        epochs: of training, of which one is kept.
        batch: samples an update.
        rate: learning rate.
        shuffled: the stream that is given to other samples in the control; empty for the first.
        modality_dropout: share of training samples that lose a stream.
    """

    task: TaskName
    labels: int
    encoder: StreamEncoder
    channels: int
    epochs: int
    batch: int
    rate: float
    shuffled: str
    modality_dropout: float

    @classmethod
    def of(cls, job: Job) -> Plan:
        """Read the options of a job.

        Raises:
            ConfigError: if one is not usable; it is named.
        """
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
