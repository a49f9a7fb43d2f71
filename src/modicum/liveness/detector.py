"""The detector: from photos to decisions, calibrated by a few genuine photos of one's own."""

from __future__ import annotations

import copy
import math
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from modicum.core.extras import quiet_transformers, require
from modicum.core.files import new_folder
from modicum.core.pretrained import open_folder
from modicum.core.progress import Progress, silent
from modicum.core.storage import Format
from modicum.errors import ConfigError, DataError, StateError
from modicum.liveness import functional as F  # noqa: N812
from modicum.liveness.backbones import MiniFAS
from modicum.liveness.configuration import FGHVConfig
from modicum.liveness.data import BONA_FIDE, Photo, read_photos
from modicum.liveness.faces import FaceDetector, Image, crop, files_below, main_face, read_image
from modicum.liveness.fit import (
    ALPHA,
    OwnScorer,
    attainable,
    calibration_rows,
    features_of,
    fit,
    halves,
    mahalanobis,
    nearest_neighbours,
    refused_when_left_out,
    updated,
)
from modicum.liveness.metrics import eer_threshold
from modicum.liveness.modeling import FGHVForLiveness

Decision = Literal["bona_fide", "attack", "unknown"]
Source: TypeAlias = "Photo | Path | str | Image"
FEWEST = 10
_HINT = "Save it again with LivenessDetector.save."
_FORMAT = Format(name="modicum.liveness", version=1, what="liveness detector", hint=_HINT)
_STRANGE = 0.1  # median p-value of a camera's photos among the others', below which it is another place


@dataclass(frozen=True, kw_only=True, slots=True)
class LivenessResult:
    """What a detector says of one image; the numbers are None where there is not exactly one face to look at.

    Args:
        score: of the rule, higher is more genuine: 0 is the median genuine face that it was measured on, -1 their 5 %
            quantile.
        decision: "bona_fide", "attack", or "unknown": no single face, or one that agrees with genuine faces and that
            the hypotheses do not agree on.
        variance: of the correlations with the real hypotheses; small for what is known.
        delta_kl: how far the latents move to explain the face. It says little beyond the variance.
        p_value: share of genuine calibration faces that score no higher.
        reason: why, in words.
    """

    score: float | None = None
    decision: Decision = "unknown"
    variance: float | None = None
    delta_kl: float | None = None
    p_value: float | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationReport:
    """What came of a calibration.

    Args:
        photos: own genuine faces that were used.
        people: how many people they show; None if nobody knows.
        level: share of genuine faces that the new threshold may refuse.
        refused: of these faces, by detector, when it is calibrated on the others; the pre-trained network has its own
            threshold.
        assumptions: under which the level holds, in words.
        warnings: what speaks against them.
        sentence: the result, for a user.
    """

    photos: int
    people: int | None
    level: float
    refused: dict[str, int]
    assumptions: tuple[str, ...]
    warnings: tuple[str, ...]
    sentence: str


@dataclass(frozen=True)
class _State:
    """What a detector needs beside its model; a document when it is saved."""

    scale: float
    threshold: float  # of the rule, from the source
    score_threshold: float  # of s alone: below it a face is an attack and not unknown
    level: float  # of p-values, at and below which a face is refused; 0 before a calibration
    calibration: list[float]  # scores of genuine faces that nothing was fitted to


class LivenessDetector:
    """Tell genuine faces from presentation attacks, and say so where it does not know.

    The default backbone is MiniFASNetV2-SE, which was trained on CelebA-Spoof, whose terms are non-commercial.

    Args:
        model: to fit, such as `FGHVForLiveness.from_backbone`, or the configuration of a new one; None is the preset
            "modicum" on MiniFASNetV2-SE.
        scale: side of the crop over that of the face; 1 is tight, and 1.5 is what MiniFASNetV2-SE was made for.

    Raises:
        ConfigError: if the scale is below 1.

    Example:
        >>> detector = LivenessDetector().fit("photos")  # doctest: +SKIP
        >>> print(detector.calibrate("my own genuine photos").sentence)  # doctest: +SKIP
        >>> detector.score(["new.jpg"])[0].decision  # doctest: +SKIP
        'bona_fide'

    Source:
        Liu et al. 2022 (arXiv:2112.14894), reconstructed from its figures; the update by own photos, the conformal
        threshold and the state "unknown" are ours.
    """

    def __init__(self, model: FGHVForLiveness | FGHVConfig | None = None, *, scale: float = 1.5) -> None:
        if not 1 <= scale < math.inf:
            raise ConfigError(f"scale is {scale}.", hint="Give 1, a tight crop, or more.")
        self._new = model or FGHVConfig()
        self.scale = scale
        self._faces = FaceDetector()
        self._model: FGHVForLiveness | None = None
        self._source: FGHVForLiveness | None = None  # before any calibration
        self._state: _State | None = None

    @property
    def model(self) -> FGHVForLiveness:
        """The fitted model.

        Raises:
            StateError: before `fit` or `load`.
        """
        if self._model is None:
            raise StateError("The detector was not fitted.", hint="Call fit(folder) first, or LivenessDetector.load.")
        return self._model

    @property
    def threshold(self) -> float:
        """Faces of the source from this score on are genuine; a calibration decides by p-values instead."""
        return self._fitted.threshold

    @property
    def _fitted(self) -> _State:
        assert self.model is not None  # noqa: S101 - it says so itself
        assert self._state is not None  # noqa: S101
        return self._state

    def fit(
        self,
        photos: Path | str | Sequence[Photo],
        *,
        steps: int = 400,
        batch: int = 96,
        seed: int = 0,
        progress: Progress = silent,
    ) -> LivenessDetector:
        """Train on genuine faces and attacks; photos that cannot be read or do not show one face are left out, by name.

        Args:
            photos: a folder or manifest as `read_photos` takes it, or its photos.
            steps: updates.
            batch: faces an update.
            seed: of the training.
            progress: called with (done, in all, what was done).

        Returns:
            The detector.

        Raises:
            DataError: if too few faces of a class are left.
        """
        photos = read_photos(photos) if isinstance(photos, Path | str) else photos
        new = self._new if isinstance(self._new, FGHVConfig) else copy.deepcopy(self._new)  # another fit starts anew
        config = new if isinstance(new, FGHVConfig) else new.config
        crops, found = self._crops(photos, config.image_size, progress)
        known = [photo for photo, reason in zip(photos, found, strict=True) if not reason]
        people = [photo.subject or "" for photo in known]
        labels = torch.tensor([int(photo.label == "bona_fide") for photo in known])
        model = fit(
            new,
            crops,
            labels,
            groups=None if "" in people else people,
            domains=[photo.domain or "" for photo in known],
            steps=steps,
            batch=batch,
            seed=seed,
            progress=progress,
        )
        held = torch.as_tensor(calibration_rows(labels.numpy(), None if "" in people else people, seed)[1])
        verified = model.verify(features_of(model, crops[held]))
        self._model = self._source = model
        box, score = verified.box, verified.sides["score"]
        self._state = _State(
            self.scale,
            *(eer_threshold(side.numpy(), labels[held].numpy()) for side in (box, score)),
            level=0.0,
            calibration=sorted(box[labels[held] == 1].tolist()),
        )
        return self

    def calibrate(
        self, photos: Path | str | Sequence[Source], *, alpha: float = ALPHA, seed: int = 0, progress: Progress = silent
    ) -> CalibrationReport:
        """Learn one's own camera and people from genuine photos of them: no attacks are needed, and nothing is trained.

        Half of the photos update the hypotheses (E4), the other half set the threshold (split conformal).

        Args:
            photos: 10 to 200 genuine ones; a folder of images, those of a person in a folder of their own; or paths,
                images and `Photo`, whose ``subject`` is the person.
            alpha: share of genuine faces that may be refused.
            seed: of the halves.
            progress: called with (done, in all, what was done).

        Returns:
            The report; the detector decides by the new threshold from now on.

        Raises:
            ConfigError: if alpha is not between 0 and 1.
            DataError: if fewer than 10 photos show one face.
            StateError: before `fit` or `load`.
        """
        source, state = self._source or self.model, self._fitted
        if not 0 < alpha < 1:
            raise ConfigError(
                f"alpha is {alpha}, expected a share between 0 and 1.",
                hint="Give the share of genuine faces that may be refused, such as .05.",
            )
        given = _own(Path(photos)) if isinstance(photos, Path | str) else [_given(photo) for photo in photos]
        if len(given) < FEWEST:  # before any of them is read
            raise DataError(
                f"There are {len(given)} photos, expected {FEWEST} to 200.",
                hint="Give more genuine photos of the camera and the people that the detector is for.",
            )
        crops, reasons = self._crops(given, source.config.image_size, progress)
        kept = [photo for photo, reason in zip(given, reasons, strict=True) if not reason]
        if len(kept) < FEWEST:
            raise DataError(
                f"{len(kept)} of {len(given)} photos show one face, expected {FEWEST} to 200.",
                hint="Give more genuine photos of the camera and the people that the detector is for.",
            )
        people = [photo.subject if isinstance(photo, Photo) else None for photo in kept]
        groups = None if None in people else [str(person) for person in people]
        inputs = features_of(source, crops)
        near, held = (torch.as_tensor(rows) for rows in halves(groups, len(kept), seed))
        self._model = updated(source, inputs[near])
        scores = self._model.verify(inputs[held]).box
        level = attainable(alpha, len(held))
        self._state = replace(state, level=level, calibration=sorted(scores.tolist()))
        refused = _refused(source, inputs, crops, groups, alpha, seed)
        cameras = [_camera(photo) for photo in kept]
        return CalibrationReport(
            photos=len(kept),
            people=None if groups is None else len(set(groups)),
            level=level,
            refused=refused,
            assumptions=_assumptions(groups, len(near), len(held), level),
            warnings=(*_warned(len(given), reasons, alpha, level), *_strange(source, inputs, cameras, seed)),
            sentence=_sentence(refused, len(kept), level),
        )

    def score(self, images: Iterable[Source]) -> list[LivenessResult]:
        """Score images; none changes the result of another.

        Args:
            images: paths, photos or uint8 arrays of shape (height, width, 3), RGB.

        Returns:
            A result each, in their order. One that cannot be read or does not show one face is unknown.

        Raises:
            DataError: if something else is given.
            StateError: before `fit` or `load`.
        """
        model, state = self.model, self._fitted
        if isinstance(images, str):
            raise DataError(f"{images!r} is one path, expected a list of images.", hint="Put it in brackets.")
        crops, reasons = self._crops([_given(image) for image in images], model.config.image_size, silent, warn=False)
        results = [LivenessResult(reason=reason) for reason in reasons]
        rows = [row for row, reason in enumerate(reasons) if not reason]
        if not rows:
            return results
        verified = model.verify(features_of(model, crops))
        p_values = F.conformal_p_values(verified.box.double(), torch.tensor(state.calibration, dtype=torch.float64))
        # The threshold of s is in units of the source; after a calibration the model measures s by one's own faces.
        source = self._source or model
        sides = F.calibrated_z(verified.score, source.medians[0], source.lows[0])
        for face, row in enumerate(rows):
            box, side, p = (float(part[face]) for part in (verified.box, sides, p_values))
            genuine = p > state.level + 1e-9 if state.level else box >= state.threshold
            known_attack = not genuine and side < state.score_threshold
            results[row] = LivenessResult(
                score=box,
                decision="bona_fide" if genuine else "attack" if known_attack else "unknown",
                variance=float(verified.variance[face]),
                delta_kl=float(verified.delta_kl[face]),
                p_value=p,
                reason="" if genuine else "as known attacks" if known_attack else "the hypotheses do not agree on it",
            )
        return results

    def save(self, folder: Path | str) -> None:
        """Write the detector to a new folder; the weights of MiniFASNetV2-SE stay in the catalogue.

        Args:
            folder: that does not exist, or is empty.
        """
        model, state = self.model, self._fitted
        with new_folder(Path(folder)) as part, quiet_transformers():
            model.save_pretrained(part / "model")
            if self._source is not None and self._source is not model:
                self._source.save_pretrained(part / "source")
            _FORMAT.write(part / "detector.json", vars(state))

    @classmethod
    def load(cls, folder: Path | str) -> LivenessDetector:
        """Read a detector that `save` wrote.

        Args:
            folder: of it.

        Returns:
            The detector.

        Raises:
            DataError: if it is none, or damaged.
        """
        folder = Path(folder)
        if not (folder / "detector.json").is_file():
            raise DataError(f"There is no liveness detector in {folder}.", hint=_HINT)
        state = _FORMAT.read(folder / "detector.json", _State)
        model = open_folder(FGHVForLiveness, folder / "model", hint=_HINT)
        detector = cls(model.config, scale=state.scale)  # another fit starts from no weights of this one
        detector._model, detector._state = model, state
        source = folder / "source"
        detector._source = open_folder(FGHVForLiveness, source, hint=_HINT) if source.is_dir() else model
        return detector

    def _crops(
        self, images: Sequence[Photo | Image], size: int, progress: Progress, *, warn: bool = True
    ) -> tuple[Tensor, list[str]]:
        """Cut the one face out of each image; the reasons are empty where there is one."""
        crops: list[Image] = []
        reasons: list[str] = []
        for done, given in enumerate(images, 1):
            reason = ""
            try:
                image, box = (read_image(given.path), given.box) if isinstance(given, Photo) else (given, None)
                box = box or main_face(self._faces.detect(image)).box
                crops.append(crop(image, box, self.scale, size))
            except DataError as error:
                reason = error.what
            reasons.append(reason)
            progress(done, len(images), "faces")
        left_out = [
            f"{given.path if isinstance(given, Photo) else 'an array'} ({reason})"
            for given, reason in zip(images, reasons, strict=True)
            if reason and warn
        ]
        if left_out:
            more = f" and {len(left_out) - 5} more" if len(left_out) > 5 else ""
            warnings.warn(f"Left out: {'; '.join(left_out[:5])}{more}.", UserWarning, stacklevel=3)
        empty = np.zeros((0, size, size, 3), np.uint8)
        return torch.from_numpy(np.stack(crops) if crops else empty), reasons


def _given(image: Source) -> Photo | Image:
    if isinstance(image, Path | str):
        return Photo(Path(image), BONA_FIDE, BONA_FIDE)
    if not isinstance(image, Photo) and (image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3):
        raise DataError(
            f"An image is an array of {image.dtype} and shape {image.shape}.",
            hint="Give uint8 of shape (height, width, 3), RGB, or the path of a file.",
        )
    return image


def _own(folder: Path) -> list[Photo]:
    """List the images of a folder of genuine photos, the first folder below it being the person."""
    files = files_below(folder)
    if not files:
        raise DataError(f"There are no images in {folder}.", hint="Name a folder of genuine photos.")
    people = [path.relative_to(folder).parts[0] if path.parent != folder else None for path in files]
    return [Photo(path, BONA_FIDE, BONA_FIDE, person) for path, person in zip(files, people, strict=True)]


def _refused(
    source: FGHVForLiveness, inputs: Tensor, crops: Tensor, groups: Sequence[str] | None, alpha: float, seed: int
) -> dict[str, int]:
    """Count how many own faces each detector refuses when calibrated on the others."""
    with torch.no_grad():
        features = source.embed(inputs)
    scorers: dict[str, OwnScorer] = {
        "FGHV": lambda own, new: updated(source, inputs[own]).verify(inputs[new]).box,
        "kNN": lambda own, new: nearest_neighbours(features[own], features[new]),
        "Mahalanobis": lambda own, new: mahalanobis(features[own], features[new]),
    }
    refused = {
        name: refused_when_left_out(score, len(inputs), groups, alpha=alpha, seed=seed)
        for name, score in scorers.items()
    }
    if isinstance(source.backbone, MiniFAS):
        margin = source.backbone.both(crops.permute(0, 3, 1, 2).float() / 255)[1]
        refused["pre-trained network"] = int((margin < 0).sum())
    return refused


def _assumptions(groups: Sequence[str] | None, near: int, held: int, level: float) -> tuple[str, ...]:
    who = "these people" if groups is None else f"people as these {len(set(groups))}, drawn as they were"
    return (
        f"The hypotheses were updated by {near} photos, as if these were draws of the place's genuine faces.",
        f"The threshold is from the other {held}: on average at most {level:.0%} of genuine faces are refused, if they "
        f"are exchangeable with those: same camera, same light, {who}. Nothing is promised of attacks.",
    )


def _warned(given: int, reasons: Sequence[str], alpha: float, level: float) -> Iterator[str]:
    if missing := Counter(filter(None, reasons)):
        words = ", ".join(f"{count} x {reason}" for reason, count in missing.items())
        yield f"{missing.total()} of {given} photos were left out: {words}."
    if level > alpha:
        enough = 2 * math.ceil(1 / alpha - 1 - 1e-9)
        yield f"So few photos allow no lower level than {level:.0%}; {alpha:.0%} takes {enough}."


def _strange(source: FGHVForLiveness, inputs: Tensor, cameras: Sequence[str], seed: int) -> Iterator[str]:
    """Look at the p-values of each camera's photos among those of the others."""
    for name, count in sorted(Counter(cameras).items()):
        if count < 5 or len(cameras) - count < FEWEST:
            continue
        mine = torch.tensor([camera == name for camera in cameras])
        others = inputs[~mine]
        near, held = (torch.as_tensor(rows) for rows in halves(None, len(others), seed))
        model = updated(source, others[near])
        p_values = F.conformal_p_values(model.verify(inputs[mine]).box, model.verify(others[held]).box)
        if (median := float(p_values.median())) < _STRANGE:
            yield (
                f"The {count} photos of {name} are strange among the others (median p-value {median:.2f}): "
                "calibrate a detector for each camera."
            )


def _camera(photo: Photo | Image) -> str:
    """Tell cameras apart by the domain, the model in the EXIF data, or the size of the image."""
    if isinstance(photo, np.ndarray):
        return f"{photo.shape[1]} x {photo.shape[0]} pixels"
    if photo.domain or photo.session:
        return " ".join(filter(None, (photo.domain, photo.session)))
    pillow: Any = require("PIL.Image", extra="liveness", purpose="Reading images")
    with pillow.open(photo.path) as opened:
        return str(opened.getexif().get(0x0110) or f"{max(opened.size)} x {min(opened.size)} pixels")


def _sentence(refused: dict[str, int], total: int, level: float) -> str:
    before = refused.get("pre-trained network")
    would = "" if before is None else f" the pre-trained network's own threshold would have refused {before}, and"
    return (
        f"Of {total} genuine faces,{would} ours refuses {refused['FGHV']} when it is calibrated on the others "
        f"(level {level:.0%}; kNN on the same features {refused['kNN']}, Mahalanobis {refused['Mahalanobis']})."
    )
