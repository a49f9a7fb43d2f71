"""What a detector looks at: the face or what is around it, colour, texture, and the traces of being taken again."""

from __future__ import annotations

import base64
import dataclasses
import io
import itertools
import json
import tempfile
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy.ndimage import laplace

from modicum.core.extras import require
from modicum.core.files import make_folder, replacing
from modicum.core.progress import Progress, silent
from modicum.core.splits import hold_out
from modicum.errors import DataError
from modicum.liveness.data import ATTACK, BONA_FIDE, Photo, check_classes, split_by_subject
from modicum.liveness.faces import Box, FaceDetector, Image, covered, crop, main_face, read_image
from modicum.liveness.fit import logistic
from modicum.liveness.metrics import pad_metrics
from modicum.liveness.simulator import contact_sheet, simulate

Array = npt.NDArray[Any]
SIMULATED_FROM = 40  # genuine photos at most, since a simulated attack takes a second
_GREY = 128


class Scorer(Protocol):
    """What can be audited: it gives a result with ``score`` and ``decision`` for each photo."""

    def score(self, images: list[Any], /) -> Iterable[Any]: ...  # noqa: D102 - photos with a path and a box


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditRow:
    """One question to a detector, and the answer."""

    name: str  # what was scored
    auc: float  # chance that the first kind scores higher than the second
    interval: tuple[float, float] | None  # 95 %, by resampling subjects; None of few of them
    passed: tuple[float, float] | None  # share of each kind that it takes for bona fide; a baseline does not decide
    counts: tuple[int, int]  # photos of each kind


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """What an audit found."""

    rows: list[AuditRow]
    findings: list[str]  # what follows from them, in words
    skipped: int  # photos without one face to look at, or damaged


def audit(
    detector: Scorer, photos: Sequence[Photo], folder: Path | str, *, seed: int = 0, progress: Progress = silent
) -> Audit:
    """Ask a detector what it looks at, and write one page with pictures, ``audit.html``, and ``audit.json``."""
    # Two fifths of the subjects are scored; on the others baselines of colours and of texture are trained.
    # Then the face is covered, or what is around it, and photos are taken again by the simulator.
    check_classes(photos, "The audit")
    make_folder(Path(folder))
    located = _located(photos, progress)
    if any(photo.subject is None for photo in located):
        labels = np.array([photo.label for photo in located])
        train, test = ([located[row] for row in rows] for rows in hold_out(len(located), 0.4, seed, labels=labels))
    else:
        train, test = split_by_subject(located, seed=seed)
    genuine = [photo for photo in test if photo.label == BONA_FIDE][:SIMULATED_FROM]
    rows: dict[str, AuditRow] = {}

    def ask(name: str, shown: Iterable[tuple[Photo, Image]]) -> None:
        progress(len(rows), 8, name)
        rows[name] = _asked(detector, name, shown)

    ask("as they are", ((photo, read_image(photo.path)) for photo in test))
    for name, face in (("face covered", True), ("surroundings covered", False)):
        ask(name, ((photo, covered(read_image(photo.path), _box(photo), _GREY, face=face)) for photo in test))
    rows["colours alone"] = _baseline("colours alone", _colours, train, test)
    rows["texture alone (LBP)"] = _baseline("texture alone (LBP)", _texture, train, test)
    near = [_surroundings(photo) for photo in genuine]
    again = {
        kind: [
            (replace(photo, label=ATTACK), simulate(image, kind, seed + at)) for at, (photo, image) in enumerate(near)
        ]
        for kind in ("null", "replay", "halftone")
    }
    null = [(replace(photo, label=BONA_FIDE), image) for photo, image in again["null"]]
    ask("genuine, and taken again (null attack)", [*near, *again["null"]])
    ask("taken again, and simulated replay", [*null, *again["replay"]])
    ask("taken again, and simulated halftone", [*null, *again["halftone"]])
    found = Audit(rows=list(rows.values()), findings=_findings(rows), skipped=len(photos) - len(located))
    _write(found, Path(folder), test, near[0][1], seed)
    return found


def _located(photos: Sequence[Photo], progress: Progress) -> list[Photo]:
    """Find the face in each photo; those without one are left out."""
    faces = FaceDetector()
    located: list[Photo] = []
    for done, photo in enumerate(photos):
        progress(done, len(photos), "faces")
        try:
            image = read_image(photo.path)
            located.append(replace(photo, box=photo.box or main_face(faces.detect(image)).box))
        except DataError as error:
            warnings.warn(f"Left out: {photo.path} ({error.what})", UserWarning, stacklevel=2)
    check_classes(located, "The part of the photos that shows one face")
    return located


def _asked(detector: Scorer, name: str, shown: Iterable[tuple[Photo, Image]]) -> AuditRow:
    """Let a detector score changed photos, through files of theirs, and compare both labels."""
    pillow: Any = require("PIL.Image", extra="liveness", purpose="An audit")
    photos: list[Photo] = []
    results: list[Any] = []
    with tempfile.TemporaryDirectory() as folder:
        given = iter(shown)
        while batch := list(itertools.islice(given, 32)):
            files: list[Photo] = []
            for at, (photo, image) in enumerate(batch):
                files.append(replace(photo, path=Path(folder) / f"{at}.png"))
                pillow.fromarray(image).save(files[-1].path, compress_level=1)
            photos += files
            results += detector.score(files)
    scores = np.array([np.nan if result.score is None else result.score for result in results])
    labels = np.array([int(photo.label == BONA_FIDE) for photo in photos])
    taken = np.array([result.decision == BONA_FIDE for result in results])
    passed = float(taken[labels == 1].mean()), float(taken[labels == 0].mean())
    return _row(name, scores, labels, photos, passed)


def _row(
    name: str, scores: Array, labels: Array, photos: Sequence[Photo], passed: tuple[float, float] | None = None
) -> AuditRow:
    metrics = pad_metrics(scores, labels, subjects=[photo.subject for photo in photos])
    counts = int(labels.sum()), int((1 - labels).sum())
    return AuditRow(name=name, auc=metrics.auc, interval=metrics.intervals.get("auc"), passed=passed, counts=counts)


def _surroundings(photo: Photo) -> tuple[Photo, Image]:
    """Cut a photo down to twice the face, of 512 pixels at most, since simulating takes time."""
    _, _, width, height = box = _box(photo)
    side = 2 * max(width, height)
    size = min(512, round(side))
    width, height = width * size / side, height * size / side
    around = crop(read_image(photo.path), box, 2, size)
    return replace(photo, box=((size - width) / 2, (size - height) / 2, width, height)), around


def _box(photo: Photo) -> Box:
    assert photo.box is not None  # noqa: S101 - of `_located`
    return photo.box


def _colours(image: Image) -> Array:
    return np.concatenate([image.mean(axis=(0, 1)), image.std(axis=(0, 1))])


def _texture(image: Image) -> Array:
    feature: Any = require("skimage.feature", extra="liveness", purpose="An audit")
    grey = image.mean(axis=2)
    patterns = (feature.local_binary_pattern(grey.astype(np.uint8), 8, radius, "uniform") for radius in (1, 2))
    shares = [np.bincount(pattern.astype(int).ravel(), minlength=10) / grey.size for pattern in patterns]
    return np.concatenate([*shares, [np.log1p(laplace(grey)[1:-1, 1:-1].std())]])


def _baseline(name: str, features: Callable[[Image], Array], train: Sequence[Photo], test: Sequence[Photo]) -> AuditRow:
    """Train a logistic regression on tight crops."""
    sides = [
        np.array([features(crop(read_image(photo.path), _box(photo), scale=1)) for photo in side])
        for side in (train, test)
    ]
    labels = [np.array([int(photo.label == BONA_FIDE) for photo in side]) for side in (train, test)]
    return _row(name, logistic(sides[0], labels[0]).decision_function(sides[1]), labels[1], test)


def _findings(rows: dict[str, AuditRow]) -> list[str]:
    own, face, around = (rows[name] for name in ("as they are", "face covered", "surroundings covered"))
    null = rows["genuine, and taken again (null attack)"]
    if not (own.interval and face.interval and around.interval and null.interval):
        return [
            "There are too few people for intervals: nothing here is more than a hint. "
            f"AUC as they are {own.auc:.3f}, with the face covered {face.auc:.3f}, with the surroundings covered "
            f"{around.auc:.3f}, of genuine photos against the same taken again {null.auc:.3f}."
        ]
    words = [
        f"With the face covered it still tells attacks from genuine photos (AUC {face.auc:.3f}): what is around the "
        "face, such as hands and the edge of a print, is enough for it."
        if face.interval[0] > 0.5
        else f"With the face covered it is not shown to tell them apart (AUC {face.auc:.3f}).",
        f"Being taken and saved again changes its scores (AUC {null.auc:.3f} and not .5): part of what it says of "
        "attacks may be blur and JPEG. Compare the rows that begin with 'taken again'."
        if not null.interval[0] <= 0.5 <= null.interval[1]
        else f"Being taken and saved again is not shown to change its scores (AUC {null.auc:.3f}).",
    ]
    if around.interval[1] < own.interval[0]:
        words.append(f"With the surroundings covered it does worse: AUC {around.auc:.3f} instead of {own.auc:.3f}.")
    for name in ("colours alone", "texture alone (LBP)"):
        verb = "is not shown to do better" if own.interval[0] <= rows[name].auc else "does better"
        words.append(f"It {verb} than a logistic regression on {name}: AUC {own.auc:.3f} and {rows[name].auc:.3f}.")
    return words


def _write(found: Audit, folder: Path, test: Sequence[Photo], genuine: Image, seed: int) -> None:
    import jinja2

    views: list[Image] = []
    for photo in (next(photo for photo in test if photo.label == label) for label in (BONA_FIDE, ATTACK)):
        image, box = read_image(photo.path), _box(photo)
        changed = (image, *(covered(image, box, _GREY, face=face) for face in (True, False)))
        views.append(np.hstack([crop(view, box, 1.5, 240) for view in changed]))
    loader = jinja2.PackageLoader("modicum.liveness", "")
    template = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    pictures = {"sample": np.vstack(views), "sheet": contact_sheet(genuine, seed)}
    page = template.get_template("audit.html.jinja").render(
        audit=found, **{name: _address(picture) for name, picture in pictures.items()}
    )
    with replacing(folder / "audit.json") as file:
        json.dump(dataclasses.asdict(found), file, indent=2)
    with replacing(folder / "audit.html") as file:
        file.write(page)


def _address(image: Image) -> str:
    pillow: Any = require("PIL.Image", extra="liveness", purpose="An audit")
    file = io.BytesIO()
    pillow.fromarray(image).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
