"""``modicum liveness``: genuine faces and presentation attacks told apart, and "unknown" said where nobody knows."""

from __future__ import annotations

import json as json_format
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from modicum.cli.common import (
    NOTHING_WRITTEN,
    Json,
    Model,
    check_least,
    check_model,
    check_new_folder,
    out,
    print_json,
    progress_bar,
    say,
    stoppable,
)
from modicum.errors import ConfigError, DataError

if TYPE_CHECKING:
    from modicum.liveness import LivenessDetector
    from modicum.liveness.data import Photo
    from modicum.liveness.metrics import PADMetrics

app = typer.Typer(
    help="Tell genuine faces from presentation attacks, and say where it is unknown.", no_args_is_help=True
)

Source = Annotated[
    Path, typer.Argument(help="Manifest, or folder: DOMAIN/{train,test}/{real,fake}, NUAA's, or FLIP's frame and txt.")
]
Real = Annotated[Literal["0", "1"] | None, typer.Option(help="Which of the labels 0 and 1 is real, if they are used.")]
Seed = Annotated[int, typer.Option(help="Of splits and draws.")]
NewFolder = Annotated[Path, typer.Option("--out", help="New folder.")]


@app.command()
def train(
    photos: Source,
    *,
    folder: NewFolder,
    test: Annotated[
        Path | None, typer.Option(help="Other photos to test on; of those of one folder its part test.")
    ] = None,
    leave_out: Annotated[str | None, typer.Option(help="Test on this alone: session=3 or domain=oulu.")] = None,
    held_out: Annotated[float, typer.Option(help="Share of subjects to test on; 0 to test on nobody.")] = 0.4,
    real: Real = None,
    preset: Annotated[
        Literal["modicum", "paper"], typer.Option(help="paper: the bare losses of its figures, which collapse.")
    ] = "modicum",
    scale: Annotated[float, typer.Option(help="Side of the crop over that of the face.")] = 1.5,
    steps: Annotated[int, typer.Option(help="Updates.")] = 800,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Train a detector on genuine faces and attacks, and judge it on other people.

    The default network, MiniFASNetV2-SE, was trained on CelebA-Spoof, whose terms are non-commercial.
    """
    check_new_folder(folder, (photos, test))
    check_least(1, steps=steps)
    from modicum.liveness import FGHVConfig, LivenessDetector

    known, judged = _parts(photos, test, leave_out, held_out, real, seed)
    with stoppable(NOTHING_WRITTEN), progress_bar("train") as progress:
        detector = LivenessDetector(FGHVConfig(preset), scale=scale)
        detector.fit(known, steps=steps, seed=seed, progress=progress)
        metrics = _judge(detector, judged) if judged else None
        detector.save(folder)
    say(f"Detector: {folder}. Its threshold is of the photos it was trained on: calibrate it on your own.")
    if json:
        print_json({"folder": str(folder), "trained_on": len(known), "test": metrics and asdict(metrics)})
    elif metrics:
        _show(metrics)


def _parts(
    source: Path, test: Path | None, leave_out: str | None, held_out: float, real: Any, seed: int
) -> tuple[list[Photo], list[Photo]]:
    """Give the photos to train on, and those to test on."""
    from modicum.liveness import data

    if test and leave_out:
        raise ConfigError("--test and --leave-out were both given.", hint="Give one of them.")
    photos = data.read_photos(source, part="train" if test else None, real=real)
    if test:
        judged = data.read_photos(test, part="test", real=real)
        data.check_split(photos, judged)
        return photos, judged
    if leave_out:
        field, _, value = leave_out.partition("=")
        if field not in {"domain", "session"} or not value:
            raise ConfigError(f"--leave-out is {leave_out!r}.", hint="Write session=3 or domain=oulu.")
        return data.leave_out(photos, "domain" if field == "domain" else "session", value, test=held_out, seed=seed)
    return data.split_by_subject(photos, held_out, seed) if held_out else (photos, [])


def _judge(detector: LivenessDetector, photos: Sequence[Photo]) -> PADMetrics:
    """Score photos by the threshold of the source; unknown is refused."""
    from modicum.liveness.metrics import pad_metrics

    scores = [float("nan") if result.score is None else result.score for result in detector.score(photos)]
    labels = [int(photo.label == "bona_fide") for photo in photos]
    species, subjects = [photo.species for photo in photos], [photo.subject for photo in photos]
    return pad_metrics(scores, labels, species, detector.threshold, subjects if any(subjects) else None)


def _show(metrics: PADMetrics) -> None:
    from rich.table import Table

    table = Table("test", "", "95 %", box=None, pad_edge=False)
    names = ("apcer_max", "bpcer", "acer", "hter", "hter_oracle", "eer", "auc", "bpcer10", "bpcer20", "bpcer100")
    rows = {f"apcer {name}": value for name, value in (metrics.apcer or {}).items()}
    for name, value in {**rows, **{name: getattr(metrics, name) for name in names}}.items():
        interval = metrics.intervals.get(name)
        table.add_row(name.replace("_", " "), f"{value:.3f}", "{:.3f} to {:.3f}".format(*interval) if interval else "")
    out().print(table)
    say("APCER: attacks that pass, BPCER: genuine faces that are refused, at the threshold of the training photos.")


@app.command()
def calibrate(
    photos: Annotated[Path, typer.Argument(help="Folder of 10 to 200 genuine photos, a folder for each person.")],
    *,
    model: Model,
    folder: NewFolder,
    alpha: Annotated[float, typer.Option(help="Share of genuine faces that may be refused.")] = 0.05,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Fit a detector to your own camera and people, by genuine photos of them alone."""
    check_model(model)
    check_new_folder(folder, (photos, model))
    if not 0 < alpha < 1:
        raise ConfigError(f"--alpha is {alpha}.", hint="Give a share between 0 and 1, such as 0.05.")
    from modicum.liveness import LivenessDetector

    with stoppable(NOTHING_WRITTEN), progress_bar("calibrate") as progress:
        detector = LivenessDetector.load(model)
        report = detector.calibrate(photos, alpha=alpha, seed=seed, progress=progress)
        detector.save(folder)
    if json:
        print_json({**asdict(report), "folder": str(folder)})
        return
    typer.echo(report.sentence)
    for sentence in (*report.assumptions, *report.warnings):
        typer.echo(f"- {sentence}")
    say(f"Detector: {folder}")


@app.command()
def score(
    images: Annotated[list[Path], typer.Argument(help="Images, videos, or folders of them.")],
    *,
    model: Model,
    every: Annotated[float, typer.Option(help="Seconds between the frames of a video; 0 for every frame.")] = 0.5,
) -> None:
    """Score images or the frames of videos: one line of JSON each, as it comes.

    The decision is bona_fide, attack or unknown, with the reason. What cannot be read is named, the rest goes on, and
    the exit status is 1.
    """
    check_model(model)
    if not every >= 0:
        raise ConfigError(f"--every is {every}.", hint="Give seconds, such as 0.5; 0 takes every frame.")
    from modicum.liveness import LivenessDetector
    from modicum.liveness.detector import LivenessResult
    from modicum.liveness.faces import read_frames

    detector, failed = LivenessDetector.load(model), 0
    with stoppable("The lines that are there are complete."):
        for path in _files(images):
            try:
                for seconds, image in read_frames(path, every):
                    line = {"image": str(path), **({} if seconds is None else {"seconds": round(seconds, 3)})}
                    typer.echo(json_format.dumps({**line, **asdict(detector.score([image])[0])}))
            except DataError as error:
                failed += 1
                say(f"modicum: {error.what}")
                typer.echo(json_format.dumps({"image": str(path), **asdict(LivenessResult(reason=error.what))}))
    if failed:
        say(f"{failed} could not be read.")
        raise typer.Exit(1)


def _files(sources: Sequence[Path]) -> list[Path]:
    from modicum.liveness.faces import IMAGE_ENDINGS, VIDEO_ENDINGS, files_below

    files: list[Path] = []
    for source in sources:
        files += files_below(source, IMAGE_ENDINGS + VIDEO_ENDINGS) if source.is_dir() else [source]
    if not files:
        raise DataError(f"There are no images or videos in {sources[0]}.", hint="Name files, or another folder.")
    return files


@app.command()
def audit(
    photos: Source,
    *,
    model: Model,
    folder: Annotated[Path, typer.Option("--out", help="Folder of the page audit.html, which shows faces.")],
    real: Real = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Find out what a detector looks at: face or surroundings, colour, texture, or that a photo was taken again.

    Give photos that it was not trained on.
    """
    check_model(model)
    check_new_folder(folder, (photos, model))
    from modicum.liveness import LivenessDetector
    from modicum.liveness.audit import audit as run
    from modicum.liveness.data import read_photos

    given = read_photos(photos, real=real)
    with stoppable("Nothing was written."), progress_bar("audit") as progress:
        found = run(LivenessDetector.load(model), given, folder, seed=seed, progress=progress)
    say(f"Page: {folder / 'audit.html'}")
    if json:
        print_json(asdict(found))
        return
    for sentence in found.findings:
        typer.echo(sentence)


@app.command()
def simulate(
    photos: Annotated[list[Path], typer.Argument(help="Genuine photos, or folders of them, one for each person.")],
    *,
    folder: NewFolder,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Make simulated attacks of genuine photos: replay on a display and print in halftone.

    The folder has the photos merely taken again (real), the attacks (fake), a contact sheet, and a manifest for train
    and audit.
    """
    check_new_folder(folder, photos)
    from modicum.core.files import new_folder
    from modicum.core.tables import write_rows
    from modicum.liveness.simulator import write_simulated

    files = [(path, root) for root in photos for path in _files([root])]
    with stoppable("Nothing was written."), progress_bar("simulate") as progress, new_folder(folder) as part:
        rows = write_simulated(files, part, seed, progress)
        write_rows(part / "manifest.csv", ("path", "label", "species", "subject"), rows)
    if json:
        print_json({"folder": str(folder), "photos": len(files), "pictures": len(rows)})
        return
    say(f"{len(files)} photos, {len(rows)} pictures: {folder}. Look at {folder / 'contact-sheet.png'} first.")
