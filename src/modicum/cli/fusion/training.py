"""``modicum fusion train``: from labelled recordings to a folder that predicts."""

from __future__ import annotations

import json as json_format
import math
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modicum.cli.console import Json, say, stoppable
from modicum.cli.fusion.sources import ClipLabels, FormatOption, Gigabytes, Source, opened
from modicum.core.devices import check_device
from modicum.core.files import check_target
from modicum.errors import ConfigError

if TYPE_CHECKING:
    from modicum.fusion.recordings import Recordings
    from modicum.fusion.system import FusionSystem


class EncoderName(StrEnum):
    """The encoders of streams, as typer wants them."""

    gru = "gru"
    lstm = "lstm"
    conv = "conv"
    linear = "linear"


class LossName(StrEnum):
    """The losses, as typer wants them."""

    mae = "mae"
    mse = "mse"
    ccc = "ccc"


class ScoreName(StrEnum):
    """What targets are scored by, as typer wants it."""

    sentiment = "sentiment"
    depression = "depression"


def train(  # noqa: PLR0913 - one argument an option
    source: Source,
    *,
    folder: Annotated[Path, typer.Option("--out", help="New folder of the systems.")],
    seeds: Annotated[int, typer.Option(help="Trainings; their mean predicts, and their spread is told.")] = 3,
    text: Annotated[
        str | None, typer.Option(help="Encoder of the words: hub id, folder, or offline (MiniLM, English).")
    ] = None,
    frozen: Annotated[int, typer.Option(help="Layers of it that are not trained; -1 for all.")] = -1,
    stream: Annotated[list[str] | None, typer.Option(help="A stream to use; may be repeated. All, if not given.")] = (
        None
    ),
    per_word: Annotated[list[str] | None, typer.Option(help="A stream with a frame for each word.")] = None,
    encoder: Annotated[EncoderName, typer.Option(help="Of the streams.")] = EncoderName.gru,
    channels: Annotated[int, typer.Option(help="Of the cube.")] = 128,
    loss: Annotated[LossName, typer.Option(help="Of targets; classes have cross-entropy.")] = LossName.mae,
    task: Annotated[
        ScoreName | None,
        typer.Option(help="How targets are scored: sentiment from -3 to 3, or depression; by the loss, if not given."),
    ] = None,
    modality_dropout: Annotated[float, typer.Option(help="Share of training samples that lose a stream.")] = 0.1,
    epochs: Annotated[int, typer.Option(help="Of which the best on validation is kept.")] = 70,
    batch: Annotated[int, typer.Option(help="Samples an update.")] = 128,
    rate: Annotated[float, typer.Option(help="Learning rate; the text encoder has a hundredth.")] = 4e-3,
    format: FormatOption = "auto",  # noqa: A002 - the name of the option
    gigabytes: Gigabytes = 1.0,
    clip_labels: ClipLabels = False,
    seed: Annotated[int, typer.Option(help="The first of the seeds.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    json: Json = False,
) -> None:
    """Train on the train split; choose one epoch by valid, or by a part of train; score test once, at the end."""
    import numpy as np

    from modicum.fusion.roles import by_role

    _check(seeds=(seed, seeds), channels=channels, modality_dropout=modality_dropout, counts=(epochs, batch), rate=rate)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is there already and not an empty folder.", hint="Name a new one.")
    check_target(folder, option="--out", folder=True, inputs=(source, text))
    check_device(device)
    found = opened(source, format, gigabytes, clip=clip_labels)
    splits = {name: _chosen(part, stream) for name, part in found.splits.items()}
    training, validation, test = by_role(splits)
    if len(training.streams) == 1 and text is None:
        raise ConfigError(
            f"There is nothing to mix: the only stream is {', '.join(training.streams)}.",
            hint="Name two or more by --stream, or add the words by --text.",
        )
    # Torch takes seconds to import: what is wrong in the arguments and the source is said before.
    from modicum.fusion.ensemble import fit_seeds
    from modicum.fusion.fitting import configure
    from modicum.fusion.training import Recipe

    settings: dict[str, Any] = {} if np.asarray(training.labels).dtype.kind in "iu" else {"loss": loss.value}
    if text is not None:
        settings["frozen_layers"] = frozen
    with stoppable("Nothing was written: the same command begins again."):
        ensemble = fit_seeds(
            training,
            validation,
            config=configure(
                training,
                text=text,
                encoder=encoder.value,
                channels=channels,
                per_word=per_word or (),
                modality_dropout=modality_dropout,
                **settings,
            ),
            seeds=range(seed, seed + seeds),
            recipe=Recipe(epochs=epochs, batch=batch, rate=rate),
            task=None if task is None or "loss" not in settings else task.value,
            text=text,
            device=device,
            progress=_tell,
        )
        scores = ensemble.score(test) if test is not None and test.labels is not None else {}
        ensemble.save(folder)
    summary = {
        "folder": str(folder),
        "seeds": list(ensemble.systems),
        "test": {name: asdict(spread) for name, spread in scores.items()},
    }
    typer.echo(json_format.dumps(summary, indent=2) if json else _words(summary))


def _check(
    *, seeds: tuple[int, int], channels: int, modality_dropout: float, counts: tuple[int, int], rate: float
) -> None:
    if min(seeds) < 0 or not seeds[1]:
        raise ConfigError(f"--seeds is {seeds[1]} and --seed {seeds[0]}.", hint="Give 1 seed or more, from 0 on.")
    if channels < 2:
        raise ConfigError(f"--channels is {channels}.", hint="Give 2 or more.")
    if not 0 <= modality_dropout < 1:
        raise ConfigError(f"--modality-dropout is {modality_dropout}.", hint="Give a share from 0 on and below 1.")
    for name, count in zip(("--epochs", "--batch"), counts, strict=True):
        if count < 1:
            raise ConfigError(f"{name} is {count}.", hint="Give 1 or more.")
    if not 0 < rate < math.inf:
        raise ConfigError(f"--rate is {rate}.", hint="Give a number above 0.")


def _chosen(part: Recordings, names: list[str] | None) -> Recordings:
    if not names:
        return part
    if unknown := [name for name in names if name not in part.streams]:
        raise ConfigError(
            f"There is no stream {unknown[0]!r}.", hint=f"Write --stream with one of: {', '.join(part.streams)}."
        )
    return replace(part, streams={name: part.streams[name] for name in names})


def _tell(seed: int, system: FusionSystem) -> None:
    took = system.training
    if took is not None:
        say(
            f"Seed {seed}: epoch {took.epoch} of {len(took.losses)}, validation loss {min(took.losses):.4f}, "
            f"{took.seconds:.0f} s"
        )


def _words(summary: dict[str, Any]) -> str:
    count = len(summary["seeds"])
    lines = [f"{count} {'system' if count == 1 else 'systems'}: {summary['folder']}"]
    if summary["test"]:
        lines.append("On the test split" + (", mean ± std over the seeds:" if count > 1 else ":"))
    for name, it in summary["test"].items():
        lines.append(f"  {name}: {it['mean']:.4f}" + (f" ± {it['std']:.4f}" if count > 1 else ""))
    return "\n".join(lines)
