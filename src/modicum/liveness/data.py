"""Labelled photos: the layouts in which people have them, and splits in which nobody is on both sides."""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from modicum.core.splits import hold_out
from modicum.core.tables import read_records, read_text
from modicum.errors import DataError
from modicum.liveness.faces import Box, files_below

Label: TypeAlias = Literal["bona_fide", "attack"]
BONA_FIDE: Label = "bona_fide"
ATTACK: Label = "attack"

_WORDS: dict[str, Label] = {
    **dict.fromkeys(("bona_fide", "bonafide", "real", "live", "genuine", "client"), BONA_FIDE),
    **dict.fromkeys(("attack", "fake", "spoof", "imposter"), ATTACK),
}
_COLUMNS = ("path", "label", "species", "subject", "domain", "session", "x", "y", "w", "h")
_PARTS = ("train", "test")
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo and what is known of it.

    Args:
        path: the file.
        label: "bona_fide" or "attack".
        species: kind of attack (print, replay, ...), "bona_fide" for none.
        subject: who is shown; None if nobody knows.
        session: when it was taken.
        domain: data set or camera.
        box: x, y, width and height of the face in pixels; None to have it detected.
    """

    path: Path
    label: Label
    species: str
    subject: str | None = None
    session: str | None = None
    domain: str | None = None
    box: Box | None = None


def read_photos(
    source: Path | str, *, part: Literal["train", "test"] | None = None, real: Literal["0", "1"] | None = None
) -> list[Photo]:
    """Read the list of the photos of a data set; the photos themselves are not opened.

    Four layouts are known by what lies there:

    - a CSV, TSV or JSON lines file with the columns path and label, and if known species, subject, domain, session, x,
      y, w, h (the face's box); paths are those from its own folder;
    - a folder of NUAA, with ``ClientRaw`` and ``ImposterRaw``;
    - a folder with ``txt`` and ``frame`` as FLIP lays out MSU, CASIA, Replay-Attack and OULU:
      ``txt/oulu_real_train.txt`` lists files below ``frame``;
    - folders ``DOMAIN/train/real``, ``DOMAIN/test/fake/SPECIES``, ...; domain, train or test, and species may be
      missing. Images elsewhere are left out, and a logged warning counts them.

    Args:
        source: the file or folder.
        part: photos of this part alone, where there are parts.
        real: which of 0 and 1 is a bona fide photo. Data sets differ, so that a label of 0 or 1 is an error without it;
            words (real, live, genuine, bona_fide; fake, spoof, attack) need none.

    Returns:
        The photos, in the order of their paths or of the file.

    Raises:
        DataError: if nothing is there, a class is empty, a label is unknown or a listed file is missing.
    """
    source = Path(source)
    if source.is_file():
        photos = _manifest(source, real)
    elif not source.is_dir():
        raise DataError(f"There is no file or folder {source}.", hint="Give a manifest or a folder of photos.")
    elif (source / "ClientRaw").is_dir() or (source / "ImposterRaw").is_dir():
        photos = _nuaa(source)
    elif (source / "txt").is_dir() and (source / "frame").is_dir():
        photos = _flip(source, part)
    else:
        photos = _folders(source, part)
    check_classes(photos, str(source))
    return photos


def split_by_subject(photos: Sequence[Photo], test: float = 0.4, seed: int = 0) -> tuple[list[Photo], list[Photo]]:
    """Split photos so that a share of the subjects is tested on, and none of them trained on."""
    unknown = [photo for photo in photos if photo.subject is None]
    if unknown:
        raise DataError(
            f"Nobody says who is shown on {unknown[0].path} and {len(unknown) - 1} other photos.",
            hint="Give a manifest with the column subject, or photos for training and for the test apart.",
        )
    subjects = [str(photo.subject) for photo in photos]
    if not 0 < test < 1 or len(set(subjects)) < 2:
        raise DataError(
            f"{len(set(subjects))} subjects cannot be split with {test} of them held out.",
            hint="Give two subjects or more, and a share between 0 and 1.",
        )
    kept, held = ([photos[row] for row in sorted(rows)] for rows in hold_out(len(photos), test, seed, groups=subjects))
    check_split(kept, held)
    return kept, held


def leave_out(
    photos: Sequence[Photo], field: Literal["domain", "session"], value: str, *, test: float = 0.4, seed: int = 0
) -> tuple[list[Photo], list[Photo]]:
    """Split off the photos of one domain or session; where subjects are on both sides, a share of them is tested."""
    found = sorted({str(getattr(photo, field)) for photo in photos})
    if value not in found or len(found) < 2:
        raise DataError(
            f"To leave out the {field} {value} takes photos of it and of another; there is {', '.join(found)}.",
            hint=f"Name one of several, or give photos of another {field}.",
        )
    kept = [photo for photo in photos if getattr(photo, field) != value]
    held = [photo for photo in photos if getattr(photo, field) == value]
    if _shared(kept, held):
        stay, go = split_by_subject(photos, test, seed)
        kept, held = [photo for photo in kept if photo in set(stay)], [photo for photo in held if photo in set(go)]
    check_split(kept, held)
    return kept, held


def check_split(train: Sequence[Photo], test: Sequence[Photo]) -> None:
    """Refuse parts with a subject in common, or with one class alone."""
    if shared := _shared(train, test):
        raise DataError(
            f"The subject {shared[0]} is in both parts"
            + (f", and so are {len(shared) - 1} others." if shared[1:] else "."),
            hint="Test on other people than you train on: a detector may know who, and not whether.",
        )
    if twice := {photo.path for photo in train} & {photo.path for photo in test}:
        raise DataError(f"{min(twice)} is in both parts.", hint="Give other photos to test on.")
    check_classes(train, "The part to train on")
    check_classes(test, "The part to test on")


def check_classes(photos: Iterable[Photo], source: str) -> None:
    """Refuse photos of one class alone, or none."""
    counts = Counter(photo.label for photo in photos)
    for label in (BONA_FIDE, ATTACK):
        if not counts[label]:
            raise DataError(
                f"{source} has {counts.total()} photos, none of which is {label}.",
                hint="Both classes are needed: folders real and fake, or a manifest with the columns path and label.",
            )


def _shared(one: Sequence[Photo], other: Sequence[Photo]) -> list[str]:
    return sorted({str(p.subject) for p in one if p.subject} & {str(p.subject) for p in other if p.subject})


def _label(text: object, real: str | None, where: str) -> Label:
    word = re.sub(r"[\s-]", "_", str(text).strip().lower())
    if word in {"0", "1"}:
        if real is None:
            raise DataError(
                f"{where} has the label {word}, and nobody said whether 0 or 1 is real.",
                hint="Say so (--real 1, read_photos(..., real='1')), or write bona_fide and attack.",
            )
        return BONA_FIDE if word == real else ATTACK
    if word not in _WORDS:
        raise DataError(f"{where} has the label {text!r}.", hint=f"Write one of {', '.join(_WORDS)}.")
    return _WORDS[word]


def _manifest(path: Path, real: str | None) -> list[Photo]:
    columns, records = read_records(path)
    if missing := [name for name in ("path", "label") if name not in columns]:
        raise DataError(
            f"{path} has no column {missing[0]}.", hint=f"The columns are {', '.join(_COLUMNS)}; two are enough."
        )
    photos: list[Photo] = []
    for record in records:
        where = f"{path}, line {record.line}"
        cells = {name: str(value).strip() for name, value in record.cells.items() if value is not None and value != ""}
        label = _label(cells.get("label", ""), real, where)
        file = path.parent / cells.get("path", "")
        if not file.is_file():
            raise DataError(f"{where} names {file}, which is no file.", hint="Paths start at the file's own folder.")
        sides = [cells[side] for side in "xywh" if side in cells]
        try:
            box = tuple(map(float, sides))
        except ValueError:
            box = ()
        if sides and not (len(box) == 4 and all(map(math.isfinite, box))):
            raise DataError(f"{where} has no complete box: {', '.join(sides)}.", hint="Give x, y, w and h, or none.")
        species = BONA_FIDE if label == BONA_FIDE else cells.get("species", ATTACK)
        subject, session, domain = map(cells.get, ("subject", "session", "domain"))
        known: Any = box or None
        photos.append(Photo(file, label, species, subject, session, domain, known))
    return photos


def _nuaa(folder: Path) -> list[Photo]:
    # ClientRaw/0001/0001_00_07_03_12.jpg: subject, glasses, place, session and number of the frame.
    photos: list[Photo] = []
    folders: tuple[tuple[str, Label, str], ...] = (
        ("ClientRaw", BONA_FIDE, BONA_FIDE),
        ("ImposterRaw", ATTACK, "print"),
    )
    for name, label, species in folders:
        for path in files_below(folder / name):
            if not (found := re.fullmatch(r"(\d+)_\d+_\d+_0*(\d+)_\d+", path.stem)):
                raise DataError(f"{path} has no name of NUAA.", hint="Names are as 0001_00_07_03_12.jpg.")
            photos.append(Photo(path, label, species, found[1], found[2], "nuaa"))
    return photos


def _folders(root: Path, part: str | None) -> list[Photo]:
    photos: list[Photo] = []
    outside: list[Path] = []
    for path in files_below(root):
        above = path.relative_to(root).parts[:-1]
        at = next((at for at, name in enumerate(above) if name.lower() in _WORDS), None)
        if at is None:
            outside.append(path)
            continue
        before = [name for name in above[:at] if name not in _PARTS]
        if part and part not in above[:at] and any(name in _PARTS for name in above[:at]):
            continue
        label = _WORDS[above[at].lower()]
        kind = "/".join(above[at + 1 :]) if label == ATTACK else BONA_FIDE
        photos.append(Photo(path, label, kind or ATTACK, domain="/".join(before) or None))
    if outside:
        _LOG.warning("%d images are in no folder real or fake and were left out, such as %s.", len(outside), outside[0])
    return photos


# Who is shown, by the names that FLIP lists. CASIA counts its persons anew in each part.
_SUBJECTS = {"casia": r"(\d+)_", "msu": r".*client(\d+)", "replay": r".*client(\d+)", "oulu": r"\d_\d_(\d+)_"}


def _flip(root: Path, part: str | None) -> list[Photo]:
    photos: list[Photo] = []
    for path in sorted((root / "txt").glob("*.txt")):
        name, _, rest = path.stem.partition("_")
        word, _, which = rest.partition("_")
        if word not in {"real", "fake"} or which not in _PARTS or (part and which != part):
            continue  # the lists named shot are some of those named train
        for line, text in enumerate(read_text(path).splitlines(), start=1):
            file = root / "frame" / text.strip()
            if text.strip() and not file.is_file():
                raise DataError(f"{path}, line {line} names {file}, which is no file.", hint="Extract the frames.")
            if text.strip():
                photos.append(_listed(file, name, which, _WORDS[word]))
    return photos


def _listed(file: Path, domain: str, part: str, label: Label) -> Photo:
    subject = None
    if domain in _SUBJECTS:
        if not (found := re.match(_SUBJECTS[domain], file.name)):
            raise DataError(f"{file} has no name of {domain}.", hint="Keep the names of FLIP's lists.")
        subject = f"{domain}/{part}/{found[1]}" if domain == "casia" else f"{domain}/{found[1]}"
    return Photo(file, label, label, subject, None, domain)
