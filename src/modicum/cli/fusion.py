"""``modicum fusion``: several modalities, one prediction."""

from __future__ import annotations

import json as json_format
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from modicum.cli.common import (
    NOTHING_WRITTEN,
    Device,
    Json,
    Model,
    check_least,
    check_model,
    check_new_folder,
    logged,
    print_json,
    say,
    stoppable,
)
from modicum.core.devices import check_device
from modicum.core.files import check_picture, check_target
from modicum.errors import ConfigError, DataError, UnsafeFileError

if TYPE_CHECKING:
    from modicum.fusion.degradation import SubsetScore
    from modicum.fusion.readers.opening import Opened
    from modicum.fusion.recordings import Recordings
    from modicum.fusion.system import FusionEnsemble


app = typer.Typer(help="Predict from text, audio, video and other streams together.", no_args_is_help=True)

Source = Annotated[
    Path,
    typer.Argument(
        help="What convert wrote; a pickle of MMSA, MulT, MISA or CubeMLP, .csd files, AVEC; or mosi-features."
    ),
]
Split = Annotated[str | None, typer.Option(help="Split of the source; test, or the only one.")]
Gigabytes = Annotated[float, typer.Option("--max-gigabytes", help="The largest file that is read.")]
ClipLabels = Annotated[bool, typer.Option("--clip-labels", help="Clip sentiments beyond -3 and 3, as older MOSEI has.")]
Format = Annotated[str, typer.Option("--format", help="Of the source; auto recognises it.")]

_CATALOGUE = ("mosi-features",)
_SILENT = {"mosi", "modicum"}  # the notes of the other readers name the values that they replace
_RATES = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


@app.command()
def convert(
    source: Source,
    *,
    file: Annotated[Path, typer.Option("--out", help="File that ends in .safetensors or .npz.")],
    form: Format = "auto",
    gigabytes: Gigabytes = 1.0,
    clip_labels: ClipLabels = False,
    json: Json = False,
) -> None:
    """Read recordings in the format of another project, and write them without a pickle."""
    from modicum.fusion.storage import check_suffix, save_recordings

    check_suffix(file)
    check_target(file, option="--out", inputs=(source,))
    found = _opened(source, form, gigabytes, clip=clip_labels)
    save_recordings(file, found.splits)
    splits = {name: part.describe() for name, part in found.splits.items()}
    if json:
        print_json({"file": str(file), "format": found.format, "splits": splits})
        return
    typer.echo(f"{file}, from {found.format}:")
    for name, part in splits.items():
        labels = ", ".join(part["classes"]) or ("targets" if part["labelled"] else "no labels")
        typer.echo(f"  {name}: {part['samples']:,} samples, {labels}" + (", words" if part["words"] else ""))
        for stream, facts in part["streams"].items():
            absent = f", absent in {facts['absent']:,}" if facts["absent"] else ""
            frames = " to ".join(f"{number:,}" for number in sorted(set(facts["frames"])))
            frames += " frame" if facts["frames"] == [1, 1] else " frames"
            typer.echo(f"    {stream}: {frames} of {facts['size']} values{absent}")


@app.command()
def train(  # noqa: PLR0913 - one argument an option
    source: Source,
    *,
    folder: Annotated[Path, typer.Option("--out", help="New folder of the systems.")],
    seeds: Annotated[int, typer.Option(help="Trainings; their mean predicts, and their spread is reported.")] = 3,
    text: Annotated[
        str | None, typer.Option(help="Encoder of the words: hub id, folder, or offline (MiniLM, English).")
    ] = None,
    frozen: Annotated[int, typer.Option(help="Layers of it that are not trained; -1 for all.")] = -1,
    stream: Annotated[list[str] | None, typer.Option(help="A stream to use; may be repeated. All, if not given.")] = (
        None
    ),
    per_word: Annotated[list[str] | None, typer.Option(help="A stream with a frame for each word.")] = None,
    encoder: Annotated[Literal["gru", "lstm", "conv", "linear"], typer.Option(help="Of the streams.")] = "gru",
    channels: Annotated[int, typer.Option(help="Of the cube.")] = 128,
    loss: Annotated[Literal["mae", "mse", "ccc"], typer.Option(help="Of targets; classes have cross-entropy.")] = "mae",
    task: Annotated[
        Literal["sentiment", "depression"] | None,
        typer.Option(help="How targets are scored: sentiment from -3 to 3, or depression; by the loss, if not given."),
    ] = None,
    modality_dropout: Annotated[float, typer.Option(help="Share of training samples that lose a stream.")] = 0.1,
    epochs: Annotated[int, typer.Option(help="Of which the best on validation is kept.")] = 70,
    batch: Annotated[int, typer.Option(help="Samples an update.")] = 128,
    rate: Annotated[float, typer.Option(help="Learning rate; the text encoder has a hundredth.")] = 4e-3,
    form: Format = "auto",
    gigabytes: Gigabytes = 1.0,
    clip_labels: ClipLabels = False,
    seed: Annotated[int, typer.Option(help="The first of the seeds.")] = 0,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Train on the train split; choose one epoch by valid, or by a part of train; score test once, at the end."""
    check_least(0, seed=seed)
    check_least(1, seeds=seeds, epochs=epochs, batch=batch)
    check_least(2, channels=channels)
    if not 0 <= modality_dropout < 1:
        raise ConfigError(f"--modality-dropout is {modality_dropout}.", hint="Give a share from 0 on and below 1.")
    if not 0 < rate < math.inf:
        raise ConfigError(f"--rate is {rate}.", hint="Give a number above 0.")
    check_new_folder(folder, (source, text))
    check_device(device)
    import numpy as np

    from modicum.fusion.recordings import by_role

    splits = {
        name: _chosen(part, stream) for name, part in _opened(source, form, gigabytes, clip=clip_labels).splits.items()
    }
    training, validation, test = by_role(splits)
    if len(training.streams) == 1 and text is None:
        raise ConfigError(
            f"There is nothing to mix: the only stream is {', '.join(training.streams)}.",
            hint="Name two or more by --stream, or add the words by --text.",
        )
    # Torch takes seconds to import: what is wrong in the arguments and the source is said before.
    from modicum.fusion.fitting import configure, fit_seeds
    from modicum.fusion.training import Recipe

    targets = np.asarray(training.labels).dtype.kind not in "iu"
    settings: dict[str, Any] = {"loss": loss} if targets else {}
    if text is not None:
        settings["frozen_layers"] = frozen
    with stoppable(NOTHING_WRITTEN), logged():
        ensemble = fit_seeds(
            training,
            validation,
            config=configure(
                training,
                text=text,
                encoder=encoder,
                channels=channels,
                per_word=per_word or (),
                modality_dropout=modality_dropout,
                **settings,
            ),
            seeds=range(seed, seed + seeds),
            recipe=Recipe(epochs=epochs, batch=batch, rate=rate),
            task=task if targets else None,
            text=text,
            device=device,
        )
        scores = ensemble.score(test) if test is not None and test.labels is not None else {}
        ensemble.save(folder)
    if json:
        spreads = {name: asdict(spread) for name, spread in scores.items()}
        print_json({"folder": str(folder), "seeds": list(ensemble.systems), "test": spreads})
        return
    typer.echo(f"{seeds} {'system' if seeds == 1 else 'systems'}: {folder}")
    if scores:
        typer.echo("On the test split" + (", mean ± std over the seeds:" if seeds > 1 else ":"))
    for name, spread in scores.items():
        typer.echo(f"  {name}: {spread.mean:.4f}" + (f" ± {spread.std:.4f}" if seeds > 1 else ""))


@app.command()
def predict(
    source: Source,
    *,
    model: Model,
    file: Annotated[Path | None, typer.Option("--out", help="CSV file; standard output.")] = None,
    split: Split = None,
    without: Annotated[list[str] | None, typer.Option(help="A stream to leave out; may be repeated.")] = None,
    form: Format = "auto",
    gigabytes: Gigabytes = 1.0,
    clip_labels: ClipLabels = False,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Give the mean of the systems for each sample; a stream that a sample lacks is absent, not zero."""
    from modicum.core.tables import write_rows

    if file is not None:
        check_target(file, option="--out", inputs=(source, model))
    check_model(model)
    check_device(device)
    chosen = _split_of(_opened(source, form, gigabytes, clip=clip_labels), split)
    ensemble, recordings = _loaded(model, device, chosen)
    rows = _rows(ensemble, recordings, without or [])
    if file is not None:
        write_rows(file, list(rows[0]) if rows else ["id"], rows, form="csv")
        say(f"{len(rows):,} rows: {file}")
        if json:
            print_json({"file": str(file), "rows": len(rows)})
    elif json:
        typer.echo("\n".join(json_format.dumps(row, ensure_ascii=False) for row in rows))
    else:
        write_rows("-", list(rows[0]) if rows else ["id"], rows)


@app.command()
def degrade(
    source: Source,
    *,
    model: Model,
    file: Annotated[Path, typer.Option("--out", help="Picture of the curve: .png, .svg or .pdf.")],
    metric: Annotated[str | None, typer.Option(help="Score that is drawn; the first, if not given.")] = None,
    stream: Annotated[list[str] | None, typer.Option(help="A stream that may be missing; all, if not given.")] = None,
    draws: Annotated[int, typer.Option(help="Draws of what is missing, at each rate.")] = 5,
    split: Split = None,
    form: Format = "auto",
    gigabytes: Gigabytes = 1.0,
    clip_labels: ClipLabels = False,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Score with streams taken away at random, from none to nine in ten, and with each subset of the streams alone."""
    check_least(1, draws=draws)
    check_picture(file)
    check_target(file, option="--out", inputs=(source, model))
    check_model(model)
    check_device(device)
    chosen = _split_of(_opened(source, form, gigabytes, clip=clip_labels), split)
    import numpy as np

    from modicum.fusion.degradation import all_subsets, degradation_curve, draw_degradation

    ensemble, recordings = _loaded(model, device, chosen)
    if metric is not None and metric not in (known := next(iter(ensemble.systems.values())).score(recordings)):
        raise ConfigError(f"The model has no score {metric!r}.", hint=f"Use one of: {', '.join(known)}.")
    curves = {
        f"seed {seed}": degradation_curve(system, recordings, _RATES, range(draws), modalities=stream)
        for seed, system in ensemble.systems.items()
    }
    drawn = metric or next(iter(next(iter(curves.values())).scores))
    draw_degradation(file, curves, metric=drawn)
    say(f"{drawn} over the probability that a stream is missing: {file}")
    by_rate = np.mean([curve.scores[drawn].mean(axis=1) for curve in curves.values()], axis=0)
    missing = [{"probability": rate, "score": float(score)} for rate, score in zip(_RATES, by_rate, strict=True)]
    alone = _alone([all_subsets(system, recordings) for system in ensemble.systems.values()], drawn)
    if json:
        print_json({"metric": drawn, "missing": missing, "alone": alone})
        return
    typer.echo(f"{drawn}, mean of the systems\nEach stream missing with probability")
    for row in missing:
        typer.echo(f"  {row['probability']:.1f}: {row['score']:.4f}")
    typer.echo("With these streams alone")
    for row in alone:
        typer.echo(f"  {', '.join(row['streams'])}: {row['score']:.4f} of {row['samples']:,}")


def _opened(source: Path, form: str, gigabytes: float, *, clip: bool) -> Opened:
    """Read a source, and say what its reader found; a data set of the catalogue is fetched by its name."""
    from modicum.core.safeload.limits import check_size
    from modicum.fusion.readers.opening import open_recordings

    if not 0 < gigabytes < math.inf:
        raise ConfigError(f"--max-gigabytes is {gigabytes}.", hint="Give a number above 0.")
    max_bytes = int(gigabytes * 2**30)
    if not source.exists() and str(source) in _CATALOGUE:
        from modicum.core import catalogue

        source = catalogue.fetch(str(source))
    try:
        if source.is_file():
            check_size(source, source.stat().st_size, max_bytes=max_bytes)
        found = open_recordings(source, form, max_bytes=max_bytes, clip_labels=clip)  # type: ignore[arg-type]
    except UnsafeFileError as error:
        if "max_bytes" not in error.hint:
            raise
        raise UnsafeFileError(error.what, hint="If you trust the file, write a larger --max-gigabytes.") from error
    for note in found.notes:
        say(note)
    for name, recordings in found.splits.items() if found.format in _SILENT else ():
        for stream, count in recordings.replaced.items():
            if count:
                say(f"{name}, {stream}: {count:,} values were not finite and are 0.")
    return found


def _chosen(part: Recordings, names: list[str] | None) -> Recordings:
    if not names:
        return part
    if unknown := [name for name in names if name not in part.streams]:
        raise ConfigError(
            f"There is no stream {unknown[0]!r}.", hint=f"Write --stream with one of: {', '.join(part.streams)}."
        )
    return replace(part, streams={name: part.streams[name] for name in names})


def _split_of(found: Opened, name: str | None) -> Recordings:
    splits = found.splits
    chosen = name or ("test" if "test" in splits else next(iter(splits)) if len(splits) == 1 else None)
    if chosen is None or chosen not in splits:
        raise ConfigError(
            f"There is no split {chosen!r}." if chosen else "The source has several splits.",
            hint=f"Write --split with one of: {', '.join(splits)}.",
        )
    if not len(splits[chosen]):
        raise DataError(f"The split {chosen} has no sample.", hint="Choose another with --split.")
    return splits[chosen]


def _loaded(model: Path, device: str, recordings: Recordings) -> tuple[FusionEnsemble, Recordings]:
    """Load the systems; leave out, and say, the streams that they were not trained on."""
    from modicum.fusion.system import FusionEnsemble  # torch takes seconds to import

    ensemble = FusionEnsemble.load(model, device=device)
    scaled = next(iter(ensemble.systems.values())).scaling.means
    for name in (name for name in recordings.streams if name not in scaled):
        say(f"The model was trained without the features {name}: they are not used.")
    known = {name: stream for name, stream in recordings.streams.items() if name in scaled}
    return ensemble, replace(recordings, streams=known)


def _rows(ensemble: FusionEnsemble, recordings: Recordings, without: list[str]) -> list[dict[str, Any]]:
    import numpy as np

    system = next(iter(ensemble.systems.values()))
    names = [stream.name for stream in system.config.modalities]
    if unknown := [name for name in without if name not in names]:
        raise ConfigError(f"The model has no stream {unknown[0]!r}.", hint=f"It has: {', '.join(names)}.")
    present = np.tile([name not in without for name in names], (len(recordings), 1))
    columns = ensemble.predict(recordings, present=present).reshape(len(recordings), -1)
    count = columns.shape[1]
    # Classes that have no names are integers from 0 on.
    classes = list(system.classes) or (list(map(str, range(count))) if system.task == "classes" else [])
    heads = classes or ["estimate", *(f"estimate {number}" for number in range(2, count + 1))]
    rows: list[dict[str, Any]] = []
    for name, values in zip(recordings.ids, columns.tolist(), strict=True):
        chosen = {"predicted": heads[int(np.argmax(values))]} if classes else {}
        rows.append({"id": name, **chosen, **dict(zip(heads, (round(value, 6) for value in values), strict=True))})
    return rows


def _alone(subsets: list[list[SubsetScore]], metric: str) -> list[dict[str, Any]]:
    return [
        {
            "streams": list(same[0].modalities),
            "samples": same[0].samples,
            "score": sum(subset.scores[metric] for subset in same) / len(same),
        }
        for same in zip(*subsets, strict=True)
        if all(metric in subset.scores for subset in same)
    ]
