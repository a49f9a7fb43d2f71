"""The tasks of the comparison: digits, the toy of the specification, NUAA, and folders of domains."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from modicum.core import catalogue, small
from modicum.core.method import Job
from modicum.core.seeding import numpy_generator, torch_generator
from modicum.core.splits import hold_out
from modicum.errors import ConfigError, DataError
from modicum.liveness.backbones import MiniFAS
from modicum.liveness.data import ATTACK, BONA_FIDE, Photo, read_photos
from modicum.liveness.faces import Box, FaceDetector, Image, covered, crop, main_face, read_image
from modicum.liveness.simulator import SIMULATED

OWN_PHOTOS = (10, 20, 40, 100)  # genuine ones of a new place, that calibrate where there are so many
_TRAINED = 10  # people of NUAA
_TOY_SIZE, _TOY_NOISE = 32, 0.5
_HIDDEN = ("context hidden", "face hidden")
_DRAWN = 200  # attacks in a test set of the toy, and half as many as genuine faces


@dataclass(frozen=True, eq=False)
class Faces:
    """Some faces: the backbone's features, and where there are images, what two controls look at."""

    features: Tensor  # (n, D)
    margin: Tensor = field(default_factory=lambda: torch.zeros(0))  # (n,), of the pre-trained network
    colour: Tensor = field(default_factory=lambda: torch.zeros(0))  # (n, 6)

    def __getitem__(self, rows: Tensor | list[int]) -> Faces:
        return Faces(*(part[rows] if len(part) else part for part in (self.features, self.margin, self.colour)))


@dataclass(frozen=True)
class Pair:
    """A test set."""

    genuine: Faces
    attack: Faces


@dataclass(frozen=True)
class Own(Pair):
    """Genuine faces of a new place to calibrate by, whose they are, and what is scored after it."""

    photos: Faces
    people: list[str]


@dataclass(frozen=True)
class Problem:
    """What is known, what is tested, and which test is the primary one."""

    faces: Faces
    labels: Tensor  # 1 is genuine
    tests: dict[str, Pair]
    primary: str
    groups: list[str] | None = None
    domains: list[str] | None = None
    own: dict[str, Own] = field(default_factory=dict[str, Own])


def digits(job: Job) -> Problem:
    """Make an open set of scikit-learn's digits."""
    pixels, found = small.digits()
    split = small.in_halves(pixels.flatten(1), found, job.seed)
    known = split.labels["train"] <= 6
    test, of = split.inputs["test"], split.labels["test"]
    genuine = Faces(test[of <= 4])
    return Problem(
        Faces(split.inputs["train"][known]),
        (split.labels["train"][known] <= 4).long(),
        {
            "unknown attacks": Pair(genuine, Faces(test[of >= 7])),
            "known attacks": Pair(genuine, Faces(test[(of == 5) | (of == 6)])),
        },
        "unknown attacks",
    )


def toy(job: Job) -> Problem:
    """Draw the toy of check 7.10 with the stealth attack of section 11: the mark of real faces, and something new."""
    generator = torch_generator(job.seed, "toy")
    means, new = (1.5 * torch.randn(count, _TOY_SIZE, generator=generator) for count in (3, 1))

    def draw(kind: str, count: int, centres: Tensor) -> Faces:
        cluster = torch.randint(len(centres), (count,), generator=generator)
        values = centres[cluster] + _TOY_NOISE * torch.randn(count, _TOY_SIZE, generator=generator)
        if kind in {"real", "stealth"}:
            values[:, 0] += 2
        if kind == "known":
            values[torch.arange(count), torch.randint(1, 3, (count,), generator=generator)] += 2.5
        if kind in {"unknown", "stealth"}:
            values[:, 7] += 4
        return Faces(values)

    train = [draw(kind, 2000, means).features for kind in ("real", "known")]
    tests: dict[str, Pair] = {}
    for place, centres in {"": means, ", new domain": new}.items():
        real = draw("real", 2 * _DRAWN, centres)
        for kind in ("known", "unknown", "stealth"):
            tests[f"{kind} attacks{place}"] = Pair(real, draw(kind, _DRAWN, centres))
    unseen = tests["stealth attacks, new domain"]
    own = {"40 of new domain": Own(unseen.genuine, unseen.attack, draw("real", 40, new), [])}
    return Problem(
        Faces(torch.cat(train)),
        torch.tensor([1, 0]).repeat_interleave(2000),
        tests,
        "stealth attacks",
        own=own,
    )


@cache
def _tools() -> tuple[FaceDetector, MiniFAS]:
    return FaceDetector(), MiniFAS()


# Frames whose features are computed once in a process: by path, what is done to the frame or crop, and the crop's size.
@cache
def _one(path: Path, box: Box | None, change: str, scale: float) -> tuple[Tensor, Tensor, Tensor] | None:
    box = box or _box(path)
    if box is None:
        return None
    image, box = _cut(path, box, scale)
    seed = zlib.crc32(path.name.encode())
    if change in SIMULATED:
        image = SIMULATED[change](image, seed)
    cut = crop(image, box, scale)
    if change in _HIDDEN:
        side = len(cut) / scale
        edge = (len(cut) - side) / 2
        cut = covered(cut, (edge, edge, side, side), cut.mean((0, 1)), face=change == "face hidden")
    features, margin = _tools()[1].both(torch.tensor(cut).permute(2, 0, 1)[None].float() / 255)
    pixels = torch.tensor(cut).float().flatten(0, 1) / 255
    return features, margin, torch.cat([pixels.mean(0), pixels.std(0)])[None]


@cache
def _box(path: Path) -> Box | None:
    image = read_image(path)
    with suppress(DataError):
        return main_face(_tools()[0].detect(image)).box
    return None


def _cut(path: Path, box: Box, scale: float) -> tuple[Image, Box]:
    """Give a frame around its face: what is further away is in no crop, and simulations take their time."""
    image = read_image(path)
    x, y, width, height = box
    reach = max(width, height) * (scale / 2 + 0.1)
    left, top = max(0, int(x + width / 2 - reach)), max(0, int(y + height / 2 - reach))
    around = image[top : int(y + height / 2 + reach) + 1, left : int(x + width / 2 + reach) + 1]
    return np.ascontiguousarray(around), (x - left, y - top, width, height)


def faces_of(photos: Sequence[Photo], scale: float, change: str = "") -> tuple[Faces, list[int]]:
    """Give the faces of photos, and which of the photos have one; changed as a control or an attack would."""
    found = [_one(photo.path, photo.box, change, scale) for photo in photos]
    rows = [row for row, face in enumerate(found) if face is not None]
    if not rows:
        raise DataError(f"None of {len(photos)} photos shows a face.", hint="Give photos with faces.")
    return Faces(*(torch.cat(part) for part in zip(*(face for face in found if face is not None), strict=True))), rows


def nuaa(job: Job) -> Problem:
    """Train on ten people of NUAA in two sessions, and test on others in the third."""
    photos = read_photos(catalogue.fetch("nuaa-sample"))
    people = numpy_generator(job.seed, "people").permutation(sorted({str(each.subject) for each in photos}))
    trained = set(people[:_TRAINED].tolist())
    known = [each for each in photos if each.subject in trained and _session(each) < 3]
    third = [each for each in photos if _session(each) == 3]
    tested = [each for each in third if each.subject not in trained]
    earlier = [each for each in photos if each.subject not in trained and _session(each) < 3]
    problem = _problem(job, known, tested, {"other people": [each for each in third if each.subject in trained]})
    problem.tests["known attacks, other session"] = _pair(earlier, job.settings.scale)
    return problem


def _session(photo: Photo) -> int:
    return int(photo.session or 0)


def domains(job: Job) -> Problem:
    """Train on all domains of a folder but one, and test on that one."""
    if job.data is None:
        raise ConfigError("task=mcio reads data of your own.", hint="Add --data with a folder for each domain.")
    photos = read_photos(job.data)
    names = sorted({str(each.domain) for each in photos})
    if len(names) < 2:
        raise DataError(f"{job.data} has one domain, expected two or more.", hint="Give a folder for each domain.")
    left = names[job.seed % len(names)]
    known, tested = ([each for each in photos if (str(each.domain) == left) is here] for here in (False, True))
    return _problem(job, known, tested, {})


def _by_label(photos: Sequence[Photo]) -> tuple[list[Photo], list[Photo]]:
    genuine, attack = ([each for each in photos if each.label == label] for label in (BONA_FIDE, ATTACK))
    return genuine, attack


def _pair(photos: Sequence[Photo], scale: float, change: str = "") -> Pair:
    return Pair(*(faces_of(part, scale, change)[0] for part in _by_label(photos)))


def _problem(job: Job, known: Sequence[Photo], tested: Sequence[Photo], others: dict[str, list[Photo]]) -> Problem:
    scale: float = job.settings.scale
    faces, rows = faces_of(known, scale)
    kept = [known[row] for row in rows]
    genuine, attacks = _by_label(tested)
    # Most of the tested genuine photos are there to calibrate by, and are in no test.
    rest, near = hold_out(len(genuine), 0.6, job.seed, "own")
    test = [genuine[row] for row in rest]
    plain, null = faces_of(test, scale)[0], faces_of(test, scale, "null")[0]
    pair = Pair(plain, faces_of(attacks, scale)[0])
    tests = {
        # A frame that is taken again is blurred: genuine frames are, too, where attacks are simulated.
        "unknown attacks": Pair(null, faces_of(test, scale, "replay")[0]),
        "halftone": Pair(null, faces_of(test, scale, "halftone")[0]),
        "null attack": Pair(plain, null),
        "known attacks": pair,
        **{f"known attacks, {hidden}": _pair([*test, *attacks], scale, hidden) for hidden in _HIDDEN},
    }
    own: dict[str, Own] = {}
    pools = {"same people": [genuine[row] for row in near], **others}
    for who, pool in pools.items():
        photos = _by_label(pool)[0]
        order = numpy_generator(job.seed, "draw").permutation(len(photos))
        for count in OWN_PHOTOS:
            drawn = [photos[row] for row in order[:count]]
            if len(drawn) == count:
                found, rows = faces_of(drawn, scale)
                people = [str(drawn[row].subject) for row in rows]
                own[f"{count} of {who}"] = Own(pair.genuine, pair.attack, found, people)
    return Problem(
        faces,
        torch.tensor([int(each.label == BONA_FIDE) for each in kept]),
        tests,
        "unknown attacks",
        groups=None if any(each.subject is None for each in kept) else [str(each.subject) for each in kept],
        domains=[f"{each.domain} {each.session}" for each in kept],
        own=own,
    )
