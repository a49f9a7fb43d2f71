"""Which of the splits of a source is trained on, chosen by and scored."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from modicum.errors import ConfigError, DataError
from modicum.fusion.recordings import Recordings

_SPELLINGS = {
    "train": ("train", "training"),
    "valid": ("valid", "val", "validation", "dev", "devel", "development"),
    "test": ("test", "testing"),
}
_SPLITS = {spelling: split for split, spellings in _SPELLINGS.items() for spelling in spellings}


def split_called(name: str) -> str | None:
    """Tell of which split "train", "valid" or "test" a name is a spelling; None if of none."""
    return _SPLITS.get(name.strip().lower())


def by_role(splits: Mapping[str, Recordings]) -> tuple[Recordings, Recordings | None, Recordings | None]:
    """Tell what to train on, to choose the epoch by, and to score."""
    named: dict[str, Recordings] = {}
    for name, part in splits.items():
        role = "train" if len(splits) == 1 else split_called(name) or name
        if role in named:
            raise DataError(f"There are two splits of {role}, and one of them is {name}.", hint="Keep one of them.")
        named[role] = part
    if "train" in named and (unused := [name for name in splits if len(splits) > 1 and split_called(name) is None]):
        warnings.warn(
            f"Not used, since they are no split to train, choose or score by: {', '.join(unused)}.", stacklevel=2
        )
    if "train" not in named:
        raise DataError(
            f"There are the splits {', '.join(named) or 'none'}, and which to train on is not given.",
            hint="Name one of them train.",
        )
    for name in ("train", "valid", "test"):
        if name in named:
            _check(name, named[name], named["train"])
    return named["train"], named.get("valid"), named.get("test")


def _check(name: str, part: Recordings, training: Recordings) -> None:
    if not len(part):
        raise DataError(f"The split {name} has no sample.", hint="Leave it out, or give it samples.")
    if part.labels is None and name != "test":
        raise DataError(f"The split {name} has no labels to learn from.", hint="Give one for each sample.")
    sizes = [{stream: it.size for stream, it in recordings.streams.items()} for recordings in (part, training)]
    if sizes[0] != sizes[1]:
        raise ConfigError(
            f"The split {name} has the streams {_words(sizes[0])}, and train {_words(sizes[1])}.",
            hint="Give all splits the same streams; one that a sample lacks has 0 frames there.",
        )
    if part.labels is not None and part.classes != training.classes:
        raise ConfigError(
            f"The classes of {name} are {', '.join(part.classes) or 'none'}, those of train "
            f"{', '.join(training.classes) or 'none'}.",
            hint="Give labels of the same classes in the same order.",
        )


def _words(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name} of {size} values" for name, size in sizes.items()) or "none"
